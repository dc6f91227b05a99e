"""The checks that ask nobody else: which they are, and how they differ from the others."""

from pathlib import Path

import pytest
from chatmail_relay.doctor import account, signing
from chatmail_relay.doctor.checks import checks
from chatmail_relay.doctor.finding import Finding, fine
from chatmail_relay.doctor.local import NOT_BY_UPGRADES, local_checks
from chatmail_relay.doctor.world import Identity, World
from chatmail_relay.tree import Tree

from tests.unit.doctor.worlds import world
from tests.unit.fakes import settings

ASK_OTHERS = {
    *("versions", "clock", "resolver", "dns", "notifications", "pushes", "queue"),
    *("port-25-out", "peer", "port-25-in"),
}


def names(one: World) -> set[str]:
    return {check.name for check in local_checks(one)}


def test_what_needs_others_is_left_out(tmp_path: Path) -> None:
    """Every check is either among them, or known to ask somebody else."""
    one = world(settings(), Tree(tmp_path))
    every = {check.name for check in checks(one)}
    assert names(one) == every - ASK_OTHERS
    assert every > ASK_OTHERS
    assert names(one) > NOT_BY_UPGRADES


def test_streams_of_somebody_else(tmp_path: Path) -> None:
    """A relay for streams elsewhere is not asked."""
    elsewhere = settings(iroh_relay="https://streams.example.org")
    assert "streams" not in names(world(elsewhere, Tree(tmp_path)))


def test_signature_by_the_key_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenDKIM is asked as always, and its signature is verified without DNS."""
    asked: list[list[str]] = []

    def look(_world: World, texts: signing.Texts) -> Finding:
        asked.append(list(texts("opendkim._domainkey._alpha.lab")))
        return fine("signed")

    monkeypatch.setattr(signing, "look", look)
    monkeypatch.setattr("chatmail_relay.dkim.dns_record", lambda *_: "v=DKIM1;p=own")
    [check] = [
        check for check in local_checks(world(settings(), Tree(tmp_path))) if check.name == "dkim"
    ]
    assert check.look().state == "fine"
    assert asked == [["v=DKIM1;p=own"]]


@pytest.mark.parametrize(("had", "asked"), [(False, ["remove"]), (True, [])])
def test_account_is_left_as_it_was(
    had: bool, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that was made for the examination goes with it; one of the daily one stays."""
    said: list[str] = []

    def ask(_path: str, line: str, _timeout: float) -> str:
        said.append(line)
        return "ok"

    monkeypatch.setattr(account, "ask", ask)
    one = world(settings(), Tree(tmp_path))
    mailbox = tmp_path / "var/lib/chatmail/mail/_alpha.lab/doctor@_alpha.lab"
    if had:
        mailbox.mkdir(parents=True)
    with account.left_as_it_was(one):
        one.identity = Identity("doctor@_alpha.lab", "secret")
    assert said == asked


def test_account_that_could_not_be_had(tmp_path: Path) -> None:
    """Where doveauth does not answer there is nothing to delete, and no error."""
    with account.left_as_it_was(world(settings(), Tree(tmp_path))):
        pass
