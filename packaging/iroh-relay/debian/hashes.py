#!/usr/bin/python3
"""Says whether crates are what the lock names; cargo looks only while it downloads them.

hashes.py CARGO.LOCK FILE.crate…
"""

import hashlib
import sys
import tomllib
from pathlib import Path


def main(lock: Path, crates: list[Path]) -> str:
    """Nothing, or what is wrong."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    known = {f"{one['name']}-{one['version']}.crate": one.get("checksum") for one in packages}
    for path in crates:
        if hashlib.sha256(path.read_bytes()).hexdigest() != known.get(path.name):
            return f"{path} is not what {lock} names"
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]]) or 0)
