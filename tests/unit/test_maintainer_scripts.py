"""The package's scripts: what it brings to a machine, they take away."""

import re
import subprocess
from pathlib import Path

import pytest

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


DOVECOT, NGINX = "/usr/sbin/dovecot", "/usr/sbin/nginx"
REPLACED = {
    "Dovecot, restarted by its package": (DOVECOT, [DOVECOT], ""),
    "Dovecot, still the one before": (DOVECOT, [f"{DOVECOT} (deleted)"], "dovecot"),
    "both": (DOVECOT, [DOVECOT, f"{DOVECOT}.dpkg-tmp (deleted)"], "dovecot"),
    "none": (DOVECOT, [NGINX, "/usr/sbin/dovecot-other"], "dovecot"),
    "one that nobody restarts": ("/usr/sbin/unbound", ["/usr/sbin/unbound"], "chatmail-resolver"),
    "nginx, which goes on with whom it had": (NGINX, [f"{NGINX} (deleted)", NGINX], ""),
    "nginx, still the one before": (NGINX, [f"{NGINX} (deleted)"], "nginx"),
    "several": (f"{NGINX} {DOVECOT}", [NGINX], "dovecot"),
    "Python": ("/usr/bin/python3.13", ["/usr/bin/python3.13"], "doveauth"),
}


@pytest.mark.parametrize("case", REPLACED)
def test_only_who_runs_what_is_gone_is_restarted(case: str, tmp_path: Path) -> None:
    """A daemon that its own package has restarted is left alone when dpkg's trigger comes."""
    replaced, running, expected = REPLACED[case]
    for number, program in enumerate(running, start=1):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "exe").symlink_to(program)
    script = (DEBIAN / "chatmail-relay.postinst").read_text(encoding="utf-8")
    functions = script[: script.index("\n# Handled before debconf")]
    command = f'{functions}\nproc=$1\nunits_of "$2"\n'
    words = ["sh", "-c", command, "sh", str(tmp_path), replaced]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:1] == expected.split()
