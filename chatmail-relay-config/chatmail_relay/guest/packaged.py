"""Whether somebody has edited what packages brought, by the checksums of dpkg and ucf(1)."""

import hashlib
import re
from pathlib import Path


def edited_conffile(root: Path, path: str) -> bool:
    """Whether the conffile PATH below ROOT is there and not as its package brought it."""
    known = _text(root / "var/lib/dpkg/status")
    return _differs(root / path.lstrip("/"), rf"(?m)^ {re.escape(path)} ([0-9a-f]{{32}})", known)


def edited_by_ucf(root: Path, folder: str) -> list[str]:
    """The files in FOLDER that ucf keeps for packages, and somebody has edited.

    One that the relay's diversion has moved aside ucf knows by that name, too, and keeps it there.
    """
    known = _text(root / "var/lib/ucf/hashfile")
    paths = set(re.findall(rf"(?m)^[0-9a-f]{{32}}  ({re.escape(folder)}/\S+)$", known))
    found = []
    for path in sorted(paths - {_aside(path) for path in paths}):
        aside = _aside(path)
        place = aside if (root / aside.lstrip("/")).exists() else path
        name = place if place in paths else path
        if _differs(root / place.lstrip("/"), rf"(?m)^([0-9a-f]{{32}})  {re.escape(name)}$", known):
            found.append(path)
    return found


def _aside(path: str) -> str:
    """Where the relay's diversion moves it."""
    return f"{path}.distrib"


def _differs(path: Path, pattern: str, known: str) -> bool:
    original = re.search(pattern, known)
    try:
        content = path.read_bytes()
    except OSError:
        return False
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return original is not None and checksum != original[1]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
