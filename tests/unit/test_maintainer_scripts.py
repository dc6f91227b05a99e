"""The package's scripts: what it brings to a machine, they take away."""

import re
from pathlib import Path

DEBIAN = Path(__file__).parents[2] / "debian"


def lines(name: str) -> list[list[str]]:
    """The words of a file of the package, comments left out."""
    text = (DEBIAN / f"chatmail-relay.{name}").read_text(encoding="utf-8")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_every_user_goes_with_a_purge() -> None:
    """Each user of sysusers.d is named in postrm."""
    removed = set(re.findall(r"_chatmail[a-z-]*", (DEBIAN / "chatmail-relay.postrm").read_text()))
    assert removed == {words[1] for words in lines("sysusers")}


def test_every_folder_in_the_queue_goes_with_the_package() -> None:
    """Each folder of tmpfiles.d in Postfix's queue is named in prerm, or is Postfix's own."""
    script = (DEBIAN / "chatmail-relay.prerm").read_text()
    removed = set(re.findall(r"\$spool/([a-z-]+)", script.replace('"$spool/pid/unix..."', "")))
    spool = "/var/spool/postfix/"
    made = {words[1].removeprefix(spool) for words in lines("tmpfiles") if spool in words[1]}
    assert removed == {name for name in made if name.partition("/")[0] not in ("private", "pid")}
