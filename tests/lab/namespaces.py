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
def entered(network: Path, process: int | None = None) -> Iterator[None]:
    """Put the calling thread into a network namespace, and back at the end.

    Sockets opened meanwhile stay in it. Threads started meanwhile start in it, too. With
    `process`, files are seen as that process sees them; the thread's working directory is its
    own from then on.
    """
    with ExitStack() as stack:
        home = _opened(stack, Path("/proc/thread-self/ns/net"))
        there = _opened(stack, network)
        files = _Files(stack, process) if process is not None else None
        try:
            if files is not None:
                files.enter()
            _call("setns", there, CLONE_NEWNET)
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
            if files is not None:
                files.leave()


class _Files:
    """The calling thread's view of files, and another process's: mount namespace and root."""

    def __init__(self, stack: ExitStack, process: int) -> None:
        own, other = Path("/proc/thread-self"), Path(f"/proc/{process}")
        self._home = _opened(stack, own / "ns/mnt"), _opened(stack, Path("/"))
        self._there = _opened(stack, other / "ns/mnt"), _opened(stack, other / "root")
        self._directory = _opened(stack, Path.cwd())

    def enter(self) -> None:
        """Take the other's view; the kernel wants a thread that shares its root with none."""
        _call("unshare", CLONE_FS)
        self._take(self._there)

    def leave(self) -> None:
        """Take the own view again."""
        self._take(self._home)
        os.fchdir(self._directory)

    def _take(self, view: tuple[int, int]) -> None:
        mounts, root = view
        _call("setns", mounts, CLONE_NEWNS)
        os.fchdir(root)
        os.chroot(".")


def _opened(stack: ExitStack, file: Path) -> int:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
