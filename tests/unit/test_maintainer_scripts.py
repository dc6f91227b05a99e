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
    processes(tmp_path, running)
    assert postinst('units_of "$2"', tmp_path, replaced)[:1] == expected.split()


def test_what_is_gone_and_still_runs_is_restarted_with_an_upgrade(tmp_path: Path) -> None:
    """Programs whose triggers dpkg has dropped are found by what runs; others are left alone."""
    running = ["/usr/sbin/unbound (deleted)", "/usr/bin/mtail.dpkg-tmp (deleted)", DOVECOT]
    processes(tmp_path, running)
    assert postinst("outdated", tmp_path) == ["/usr/bin/mtail", "/usr/sbin/unbound"]
    units = postinst('units_of "$(outdated)"', tmp_path)
    assert units == ["chatmail-mtail", "chatmail-resolver"]


def test_each_program_with_a_trigger_is_looked_for(tmp_path: Path) -> None:
    """All but those in Python, whose process is Python's, and which an upgrade restarts anyway."""
    triggers = {words[1] for words in lines("triggers")}
    in_python = {path for path in triggers if "python3" in path}
    in_python |= {"/usr/bin/mta-sts-daemon", "/usr/lib/chatmail-echobot"}
    processes(tmp_path, [f"{path} (deleted)" for path in triggers])
    assert set(postinst("outdated", tmp_path)) == triggers - in_python
    assert {"chatmail-mta-sts", "chatmail-echobot"} <= set(postinst("echo $OURS", tmp_path))


def processes(folder: Path, running: list[str]) -> None:
    """Let FOLDER be /proc where these programs run."""
    for number, program in enumerate(running, start=1):
        (folder / f"{number}").mkdir()
        (folder / f"{number}" / "exe").symlink_to(program)


def postinst(command: str, proc: Path, *arguments: str) -> list[str]:
    """The words that a COMMAND with functions of postinst prints, where /proc is PROC."""
    script = (DEBIAN / "chatmail-relay.postinst").read_text(encoding="utf-8")
    functions = script[: script.index("\n# Handled before debconf")]
    words = ["sh", "-c", f"{functions}\nproc=$1\n{command}\n", "sh", str(proc), *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
