"""The command line, in a folder that has a relay's files and no system that runs."""

from pathlib import Path

import pytest
from chatmail_relay import cli, commands, earlier, journal
from chatmail_relay.earlier import Earlier
from chatmail_relay.host import Host

from tests.golden import TRIXIE
from tests.unit.relayroot import INI, RelayRoot

SMALL = "mail_domain = _alpha.lab\nmax_message_size = 100000\n"


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RelayRoot:
    """A machine with an ini."""

    def host(_root: Path) -> Host:
        return TRIXIE

    monkeypatch.setattr(commands, "read_host", host)
    made = RelayRoot(tmp_path / "relay")
    made.edit("mail_domain = _alpha.lab\n")
    return made


def run(relay: RelayRoot, *words: str) -> int:
    """Run a command on it; the exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main([*words, "--root", str(relay.root)])
    return int(caught.value.code or 0)


def main_cf(relay: RelayRoot) -> str:
    return (relay.root / "etc/postfix/main.cf").read_text(encoding="utf-8")


def test_an_earlier_ini_is_carried_over_and_comes_back(
    relay: RelayRoot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """apply writes it with the names of today, says so once, and a rollback returns it as it was.

    So packages of an earlier version, put back, find an ini that they can read.
    """
    assert run(relay, "apply") == 0
    relay.edit("mail_domain = _alpha.lab\noperator_name = Carol\n")
    assert run(relay, "apply") == 0
    with monkeypatch.context() as patched:
        later = {"operator_name": Earlier("0.2.0", "operator_address")}
        patched.setattr(earlier, "EARLIER", later)
        relay.edit("mail_domain = _alpha.lab\noperator_name = Dave\n")
        before = (relay.root / INI).read_bytes()
        capsys.readouterr()
        assert run(relay, "apply", "--check") == 1
        assert (relay.root / INI).read_bytes() == before
        capsys.readouterr()
        assert run(relay, "apply") == 0
        said = capsys.readouterr().out
        assert "chatmail.ini: operator_name is operator_address since version 0.2.0;" in said
        assert "operator_address = Dave\n" in (relay.root / INI).read_text(encoding="utf-8")
        assert run(relay, "apply") == 0
        assert "operator_name" not in capsys.readouterr().out
        assert run(relay, "rollback") == 0
    assert "operator_name = Carol\n" in (relay.root / INI).read_text(encoding="utf-8")


def test_history_and_rollback(relay: RelayRoot, capsys: pytest.CaptureFixture[str]) -> None:
    """The ini and the files return; --diff changes nothing; the way back is kept too."""
    assert run(relay, "history") == 0
    assert "no configuration" in capsys.readouterr().out
    assert run(relay, "apply") == 0
    first = main_cf(relay)
    relay.edit(SMALL)
    assert run(relay, "apply") == 0
    assert run(relay, "rollback", "--diff") == 0
    assert "+message_size_limit = 31457280" in capsys.readouterr().out
    assert main_cf(relay) != first
    assert run(relay, "rollback") == 0
    assert main_cf(relay) == first
    assert "100000" not in (relay.root / INI).read_text(encoding="utf-8")
    capsys.readouterr()
    assert run(relay, "history") == 0
    shown = capsys.readouterr().out
    assert "*    3" in shown
    assert "rollback to 1" in shown
    assert "max_message_size = 100000 (was 31457280)" in shown


def test_edits_that_were_not_applied(relay: RelayRoot, capsys: pytest.CaptureFixture[str]) -> None:
    """A rollback keeps them beside the ini, for root only, and says so."""
    run(relay, "apply")
    relay.edit(f"{SMALL}# mine\n")
    assert run(relay, "rollback", "1") == 0
    kept = relay.root / f"{INI}.unapplied"
    assert "# mine" in kept.read_text(encoding="utf-8")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "never applied" in capsys.readouterr().out


def test_nothing_to_return_to(relay: RelayRoot, capsys: pytest.CaptureFixture[str]) -> None:
    """Said in words, exit code 1."""
    run(relay, "apply")
    assert run(relay, "rollback") == 1
    assert run(relay, "rollback", "9") == 1
    assert "Kept are 1;" in capsys.readouterr().err


def test_domain_is_kept(relay: RelayRoot, capsys: pytest.CaptureFixture[str]) -> None:
    """With accounts and nobody to ask, another domain is refused; --diff and the option work."""
    run(relay, "apply")
    mailbox = relay.root / "var/lib/chatmail/mail/_alpha.lab/abcdefghi@_alpha.lab"
    mailbox.mkdir(parents=True)
    (mailbox / "password").touch()
    relay.edit("mail_domain = _beta.lab\n")
    before = relay.files()
    assert run(relay, "apply") == 1
    assert "--change-domain" in capsys.readouterr().err
    assert relay.files() == before
    assert run(relay, "apply", "--diff") == 0
    assert run(relay, "apply", "--change-domain") == 0
    assert "_beta.lab" in main_cf(relay)


def test_interrupted(relay: RelayRoot, capsys: pytest.CaptureFixture[str]) -> None:
    """apply says that it ends another one first, --check only that there is one."""
    run(relay, "apply")
    journal.save(relay.tree, journal.Before(changes=()))
    assert run(relay, "apply", "--check") == 0
    assert journal.running(relay.tree)
    assert run(relay, "apply") == 0
    assert "what was there before is back" in capsys.readouterr().out
    assert journal.running(relay.tree) is None
    assert run(relay, "recover") == 0
    assert "no apply was interrupted" in capsys.readouterr().out
