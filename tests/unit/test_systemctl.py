"""What systemctl is asked, and what its answers mean."""

from collections.abc import Sequence
from subprocess import CompletedProcess

import pytest
from chatmail_relay import systemctl
from chatmail_relay.units import DOVECOT, POSTFIX, POSTFIX_INSTANCE

RUNNING = {"is-active": "active", "is-enabled": "enabled"}
STOPPED = {"is-active": "failed", "is-enabled": "enabled"}
DEBIAN_12 = {"is-enabled": "enabled-runtime"}
DEBIAN_13 = {"is-active": "inactive", "is-enabled": "disabled"}


@pytest.mark.parametrize(
    ("units", "inactive"),
    [
        ({DOVECOT: RUNNING, POSTFIX: RUNNING, POSTFIX_INSTANCE: DEBIAN_13}, []),
        ({DOVECOT: STOPPED, POSTFIX: STOPPED, POSTFIX_INSTANCE: DEBIAN_13}, [DOVECOT, POSTFIX]),
        ({DOVECOT: RUNNING, POSTFIX: RUNNING, POSTFIX_INSTANCE: RUNNING | DEBIAN_12}, []),
        ({DOVECOT: RUNNING, POSTFIX: RUNNING, POSTFIX_INSTANCE: STOPPED | DEBIAN_12}, [POSTFIX]),
    ],
)
def test_inactive(
    units: dict[str, dict[str, str]], inactive: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where postfix.service stands for its instance, it runs when that one does."""

    def run(words: Sequence[str], *, check: bool = True) -> "CompletedProcess[str]":
        _, question, *names = words
        answers = "".join(f"{units[name][question]}\n" for name in names)
        return CompletedProcess(words, 3, answers, "")

    monkeypatch.setattr("chatmail_relay.systemctl.run", run)
    assert systemctl.inactive([DOVECOT, POSTFIX]) == inactive


def test_the_journal_of_postfix() -> None:
    """A hint finds what Postfix says, whichever unit is Postfix."""
    assert "-u 'postfix*' -n" in systemctl.journal_hint(POSTFIX)
    assert f"-u {DOVECOT} -n" in systemctl.journal_hint(DOVECOT)


@pytest.mark.parametrize(
    ("unit", "kind", "forgotten"),
    [
        (POSTFIX, "disabled", [[POSTFIX], [POSTFIX_INSTANCE]]),
        (POSTFIX, "enabled-runtime", [[POSTFIX]]),
        (DOVECOT, "disabled", [[DOVECOT]]),
    ],
)
def test_restart(
    unit: str, kind: str, forgotten: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an upgrade from Debian 12 leaves of Postfix makes room, and is no failure."""
    said: list[list[str]] = []

    def run(words: Sequence[str], *, check: bool = True) -> "CompletedProcess[str]":
        said.append(list(words))
        return CompletedProcess(words, 0, f"{kind}\n", "")

    monkeypatch.setattr("chatmail_relay.systemctl.run", run)
    systemctl.restart(unit)
    assert [words[2:] for words in said if words[1] == "reset-failed"] == forgotten
    assert said[-1] == ["systemctl", "--quiet", "restart", unit]
    stopped = [words[3] for words in said if words[2] == "stop"]
    assert stopped == [words[0] for words in forgotten[1:]]
