"""The key of the lab's DNS root: made once, by Knot's keymgr, kept in the cache."""

from __future__ import annotations

from pathlib import Path

from devtools.roots import overlay
from devtools.run import Failure, run

ALGORITHM = "ecdsap256sha256"
CONFIG = f"""\
database:
    storage: /var/lib/lab
policy:
  - id: lab
    algorithm: {ALGORITHM}
    single-type-signing: on
    manual: on
zone:
  - domain: .
    dnssec-signing: on
    dnssec-policy: lab
"""


def generate(programs: Path, to: Path) -> None:
    """Make a key in the directory `to`: `keys/` for Knot, `root.key` for those who trust it."""
    with overlay(programs, "dnskey") as tree:
        (tree / "var/lib/lab").mkdir()
        (tree / "etc/lab.conf").write_text(CONFIG, encoding="ascii")
        _keymgr(tree, "generate", f"algorithm={ALGORITHM}", "ksk=yes", "zsk=yes")
        record = _keymgr(tree, "dnskey").strip().splitlines()
        if len(record) != 1:
            raise Failure(f"keymgr said {record} where one DNSKEY record was expected")
        fields = record[0].split()
        data = " ".join(fields[fields.index("DNSKEY") + 1 :])
        (to / "root.key").write_text(f". 172800 IN DNSKEY {data}\n", encoding="ascii")
        run(["cp", "-a", tree / "var/lib/lab/keys", to / "keys"])


def _keymgr(tree: Path, *words: str) -> str:
    return run(["chroot", tree, "keymgr", "-c", "/etc/lab.conf", ".", *words]).stdout
