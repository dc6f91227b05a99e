"""Whether somebody has edited what packages brought, by the checksums of dpkg and ucf(1)."""

import hashlib
import re
from pathlib import Path


def edited_conffile(root: Path, path: str) -> bool:
    """Whether the conffile PATH below ROOT is there and not as its package brought it."""
    known = _text(root / "var/lib/dpkg/status")
    return _differs(root / path.lstrip("/"), rf"(?m)^ {re.escape(path)} ([0-9a-f]{{32}})", known)


def edited_by_ucf(root: Path, folder: str) -> list[str]:
    """The files in FOLDER that ucf keeps for packages, and somebody has edited."""
    known = _text(root / "var/lib/ucf/hashfile")
    paths = re.findall(rf"(?m)^[0-9a-f]{{32}}  ({re.escape(folder)}/\S+)$", known)
    return [
        path
        for path in sorted(set(paths))
        if _differs(
            _aside(root / path.lstrip("/")), rf"(?m)^([0-9a-f]{{32}})  {re.escape(path)}$", known
        )
    ]


def _aside(path: Path) -> Path:
    """Where the relay's diversion has moved it."""
    diverted = path.with_name(f"{path.name}.distrib")
    return diverted if diverted.exists() else path


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
