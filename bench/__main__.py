"""Run every benchmark, or those named: `python -m bench [NAME…]`, NAME being `accounts` for
bench_accounts.py. Each runs in a process of its own, one after the other.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
PREFIX = "bench_"


def known() -> list[str]:
    """The names of the benchmarks there are."""
    return sorted(path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.py"))


def main(names: Sequence[str] = ()) -> int:
    """Run benchmarks; 1 when one of them failed or broke a promise, 2 for an unknown name."""
    unknown = set(names) - set(known())
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(sorted(unknown))}: {', '.join(known())}\n")
        return 2
    status = 0
    for name in names or known():
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        start = f"import sys; from bench import {PREFIX}{name} as it; sys.exit(it.main())"
        done = subprocess.run([sys.executable, "-c", start], cwd=FOLDER.parent, check=False)
        status = status or int(done.returncode != 0)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
