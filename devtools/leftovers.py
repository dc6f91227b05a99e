"""Keep for some days what a repository had before: clients may have read its lists already.

apt reads lists now and fetches packages hours later, and a list it was told of in one moment may be
replaced in the next. So packages, and lists under their hash, stay where they were for a
week after the repository no longer names them. Since when they are left over is recorded beside the
repository.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

KEEP = timedelta(days=7)


def carry_over(old: Path, new: Path, record: Path, now: datetime) -> None:
    """Lay into the repository `new` what of `old` it does not have, but for what is too old.

    `record` is a file that says since when; it need not exist.
    """
    since = _read(record)
    left: dict[str, str] = {}
    for name in _names(old):
        if (new / name).exists():
            continue
        began = since.get(name, now)
        if now - began < KEEP:
            left[name] = began.isoformat()
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old / name, new / name)
    record.write_text(json.dumps(left, indent=1) + "\n", encoding="utf-8")


def _read(record: Path) -> dict[str, datetime]:
    if not record.exists():
        return {}
    kept: dict[str, str] = json.loads(record.read_text(encoding="utf-8"))
    return {name: datetime.fromisoformat(text) for name, text in kept.items()}


def _names(folder: Path) -> Iterator[str]:
    """Yield packages and what is found by its hash, as paths in the repository."""
    for pattern in ("pool/**/*", "dists/**/by-hash/*/*"):
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                yield str(path.relative_to(folder))
