"""Kernel settings of sysctl.d(5): which a file names, what they are, and loading them."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from chatmail_relay.command import run

PROC = Path("/proc/sys")


def assignments(content: bytes) -> dict[str, str]:
    """What a file of sysctl.d with this CONTENT sets, and to which values."""
    text = content.decode(errors="replace")
    found = re.findall(r"(?m)^-?([a-z0-9_./-]+)[ \t]*=[ \t]*(.*?)[ \t]*$", text)
    return {name.replace(".", "/"): value for name, value in found}


def names(content: bytes) -> list[str]:
    """The settings which a file of sysctl.d with this CONTENT sets."""
    return list(assignments(content))


def values(wanted: list[str], place: Path = PROC) -> dict[str, str]:
    """What the settings are now; those which this machine does not have are left out."""
    found = {}
    for name in wanted:
        path = place / name
        if path.is_file():
            found[name] = path.read_text(encoding="ascii").strip()
    return found


def put_back(old: Mapping[str, str], place: Path = PROC) -> None:
    """Set what `values` has read; raises OSError."""
    for name, value in old.items():
        path = place / name
        if path.read_text(encoding="ascii").strip() != value:
            path.write_text(f"{value}\n", encoding="ascii")


def load(path: PurePosixPath) -> str:
    """Load the file PATH; what the kernel did not take, or nothing."""
    done = run(["/usr/lib/systemd/systemd-sysctl", str(path)], check=False)
    words = done.stderr.strip().splitlines()
    return words[0] if words else ""
