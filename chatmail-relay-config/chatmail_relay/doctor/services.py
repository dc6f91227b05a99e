"""The files as they were applied, and each unit: does it run, and does it answer?"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay import domain, history, journal, systemctl
from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.doctor.world import World
from chatmail_relay.errors import OperatorError
from chatmail_relay.probes import Prober
from chatmail_relay.settings import CERTIFICATE, DEFAULT_PATH
from chatmail_relay.systemctl import journal_hint
from chatmail_relay.tree import Tree
from chatmail_relay.units import Unit

ETC = PurePosixPath("/etc")
SHOWN_LINES = 3


@dataclass(frozen=True)
class Edit:
    """A file that is not as it was applied, with the first lines that differ."""

    path: str
    lines: tuple[str, ...] = ()


def configuration(world: World) -> Finding:
    """Compare the files with those that all units have answered with."""
    entry = history.latest(world.tree)
    if entry is None:
        raise OperatorError("the relay has not been applied yet", "chatmail-relay apply")
    if journal.running(world.tree) or journal.committed(world.tree):
        return _interrupted()
    files = (file for file in entry.files if file.path.is_relative_to(ETC))
    wanted = {str(file.path): (file.content, file.mode) for file in files}
    ini = (world.tree.look(PurePosixPath(DEFAULT_PATH)).content or b"").decode("utf-8", "replace")
    return judge_files(edits(wanted, world.tree), unapplied=ini != entry.ini)


def edits(wanted: dict[str, tuple[bytes, int]], tree: Tree) -> Iterator[Edit]:
    """Those of the files that somebody has changed since."""
    for path, (content, mode) in wanted.items():
        # Dovecot's is reached through a link that the packaging makes.
        real = tree.real(path)
        present = real.read_bytes() if real.is_file() else None
        if present is None:
            yield Edit(path, ("it is gone",))
        elif present != content:
            yield Edit(path, tuple(_changed(content, present)) if mode & 0o004 else ())


def _changed(before: bytes, after: bytes) -> Iterator[str]:
    old, new = (text.decode("utf-8", "replace").splitlines() for text in (before, after))
    lines = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
    marked = [line for line in lines if not line.startswith("@@")]
    yield from marked[:SHOWN_LINES]
    if marked[SHOWN_LINES:]:
        yield f"and {len(marked) - SHOWN_LINES} more lines"


def judge_files(found: Iterable[Edit], *, unapplied: bool) -> Finding:
    """Whether the daemons have the configuration that was applied."""
    changed = list(found)
    if not changed:
        return fine(
            "as applied; chatmail.ini has edits which `chatmail-relay apply` puts into effect"
            if unapplied
            else "as applied"
        )
    what = "; ".join(
        f"{edit.path}{': ' if edit.lines else ''}{', '.join(edit.lines)}" for edit in changed
    )
    return fault(
        f"changed by hand since it was applied: {what}",
        meaning="the daemon that reads it may do something else than the relay needs, or not start",
        cause="somebody edited a file that is made from chatmail.ini",
        command="chatmail-relay apply --diff, then chatmail-relay apply, which puts it right",
    )


def _interrupted() -> Finding:
    return fault(
        "an apply was interrupted and has not been ended",
        meaning="the files are neither those from before nor those that were wanted",
        cause="the process was killed, or the machine lost power",
        command="chatmail-relay apply",
    )


def unit(world: World, one: Unit) -> Finding:
    """Ask whether a unit runs, and as its clients would whether it answers."""
    if systemctl.inactive([one.name]):
        [(_name, _enabled, state)] = systemctl.states([one.name])
        # On Debian 12 Postfix's unit is active also when what it stands for is not.
        return judge_unit(one, "inactive" if state == "active" else state, "")
    prober = Prober(domain.applied(world.tree), world.tree.real(CERTIFICATE), patience=0.0)
    try:
        prober.ask(one)
    except OperatorError as error:
        return judge_unit(one, "active", error.problem)
    return judge_unit(one, "active", "")


def judge_unit(one: Unit, state: str, problem: str) -> Finding:
    """Whether a unit in STATE does its work; PROBLEM is what it did not answer."""
    if state == "active" and not problem:
        return fine("runs and answers" if one.probes else "runs")
    if state == "active":
        return fault(
            problem,
            meaning=meaning_of(one.name),
            cause="it hangs, is overloaded, or something else took its place",
            command=f"{_journal_of(one)}; then systemctl restart {one.name}",
        )
    failed = state == "failed"
    return fault(
        f"{one.name} does not run: systemd says it {'has ' if failed else 'is '}{state}",
        meaning=meaning_of(one.name),
        cause="it ended with an error" if failed else "somebody stopped it",
        command=f"{_journal_of(one)}; then systemctl restart {one.name}"
        if failed
        else f"systemctl start {one.name}",
    )


def _journal_of(one: Unit) -> str:
    return journal_hint(one.name).partition("`")[2].rpartition("`")[0]


_MEANINGS = {
    "chatmail-resolver.service": "no other server is found: mail to and from others waits",
    "doveauth.service": "nobody gets a new account, and mail to every address is refused for now",
    "lastlogin.service": "logins are not noted, so accounts in use may seem idle",
    "chatmail-turn.service": "calls fail where two apps cannot reach each other",
    "chatmail-metadata.service": "phones are not woken up by new mail, and apps learn nothing of "
    "calls and streams",
    "newemail.service": "no addresses are handed out over HTTPS",
    "filtermail.service": "no mail is accepted, neither from users nor from other servers",
    "chatmail-mxdeliv.service": "relays that cannot reach port 25 cannot deliver",
    "chatmail-deliver.service": "mail to servers whose port 25 cannot be reached waits",
    "chatmail-mta-sts.service": "mail to other domains waits",
    "chatmail-iroh-relay.service": "apps cannot find each other for streams, as in games",
    "chatmail-mtail.service": "Prometheus is not told what is in the relay's logs",
    "dovecot.service": "nobody can log in, and no mail is delivered to mailboxes",
    "opendkim.service": "nothing is signed, so nothing is sent",
    "postfix.service": "no mail is accepted, delivered or sent",
    "nginx.service": "the web page, /new, and all that comes in on port 443 do not work",
}


def meaning_of(name: str) -> str:
    """What it means for users when a unit does not work."""
    return _MEANINGS.get(name, "what it does for the relay is not done")
