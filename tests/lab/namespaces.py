"""Enter and make network namespaces; setns(2) and unshare(2) for one thread.

Python has `os.setns` from 3.12 on only, so the C library is called here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devtools.run import run

CLONE_FS = 0x0000_0200
CLONE_NEWNS = 0x0002_0000
CLONE_NEWNET = 0x4000_0000

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


def path(name: str) -> Path:
    """Return the file that stands for the network namespace `name`."""
    return Path("/run/netns") / name


def names(prefix: str) -> list[str]:
    """Return the network namespaces whose names start with `prefix`."""
    folder = Path("/run/netns")
    return sorted(p.name for p in folder.glob(f"{prefix}*")) if folder.is_dir() else []


def add(name: str) -> None:
    """Make the network namespace `name`, with its loopback up."""
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])


def delete(name: str) -> None:
    """Remove the name `name`; the namespace goes with its last process."""
    run(["ip", "netns", "delete", name], check=False)


@contextmanager
def entered(network: Path, mounts: Path | None = None) -> Iterator[None]:
    """Put the calling thread into the namespaces of these files, and back at the end.

    Sockets opened meanwhile stay in `network`. Threads started meanwhile start in there too.
    With `mounts`, files are seen as in that mount namespace; the thread's working directory is
    its own from then on.
    """
    with ExitStack() as stack:
        home = [_opened(stack, Path("/proc/thread-self/ns/net"))]
        there = [_opened(stack, network)]
        kinds = [CLONE_NEWNET]
        if mounts is not None:
            _call("unshare", CLONE_FS)
            home.append(_opened(stack, Path("/proc/thread-self/ns/mnt")))
            there.append(_opened(stack, mounts))
            kinds.append(CLONE_NEWNS)
        directory = Path.cwd()
        try:
            for descriptor, kind in zip(there, kinds, strict=True):
                _call("setns", descriptor, kind)
            yield
        finally:
            for descriptor, kind in zip(home, kinds, strict=True):
                _call("setns", descriptor, kind)
            if mounts is not None:
                os.chdir(directory)


def _opened(stack: ExitStack, file: Path) -> int:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
