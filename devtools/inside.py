"""Run a command inside a root file system, cut off from this machine's network and processes.

The root has a /proc of its own, no network interface but a loopback that is down (unless `network`
is wanted, as for fetching), and sees of this machine only what is bound into it. Its processes end
with the command, background ones included.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from devtools.run import Argument

BUILDER = 1000
"""Numeric user and group of a command that runs without privileges."""

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# In a chroot "/" is no mount point, whose propagation could be changed; what may leak from there is
# unmounted with the overlay it lies in.
SETUP = """\
set -eu
tree=$1; shift
mount --make-rprivate / 2>/dev/null || :
mount -t proc proc "$tree/proc"
mount --bind /dev "$tree/dev"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$tree$2"; else : >"$tree$2"; fi
    mount --rbind "$1" "$tree$2"
    shift 2
done
shift
exec "$@"
"""


def inside(
    tree: Path,
    command: Sequence[Argument],
    *,
    cwd: str = "/",
    env: Mapping[str, str] | None = None,
    binds: Mapping[Path, str] | None = None,
    unprivileged: bool = False,
    network: bool = False,
    builder: int = BUILDER,
) -> list[str]:
    """Return the command line that runs `command` inside the root at `tree`.

    `binds` maps paths of this machine to paths inside; `env` is the whole environment there but
    for PATH, HOME and the locale. `builder` is who is without privileges.
    """
    variables = {"PATH": PATH, "HOME": cwd, "LC_ALL": "C.UTF-8", **(env or {})}
    user = f"--userspec={builder}:{builder}" if unprivileged else "--userspec=0:0"
    bound = [str(word) for pair in (binds or {}).items() for word in pair]
    script = f"cd {shlex.quote(cwd)} && exec {shlex.join(str(word) for word in command)}"
    return [
        *("unshare", *(() if network else ("--net",))),
        *("--mount", "--propagation", "unchanged", "--ipc", "--uts", "--pid"),
        *("--fork", "--kill-child"),
        *("sh", "-c", SETUP, "sh", str(tree), *bound, "--"),
        *("chroot", user, str(tree), "/usr/bin/env", "-i"),
        *(f"{name}={value}" for name, value in variables.items()),
        *("/bin/sh", "-c", script),
    ]
