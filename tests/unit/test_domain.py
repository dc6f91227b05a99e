"""A change of the domain that loses accounts is agreed to, or does not happen."""

from pathlib import Path

import pytest
from chatmail_relay import domain
from chatmail_relay.debconf import CHANGE_DOMAIN, DOMAIN_CHANGES, carry_over
from chatmail_relay.domain import Change
from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

from tests.unit.relayroot import INI, RelayRoot

ALPHA = "mail_domain = _alpha.lab\n"
BETA = Settings.from_text("[params]\nmail_domain = _beta.lab\n")
CHANGE = Change("_alpha.lab", "_beta.lab", 1)


@pytest.fixture
def relay(tmp_path: Path) -> RelayRoot:
    """A relay with one account."""
    made = RelayRoot(tmp_path / "relay")
    made.edit(ALPHA)
    made.apply()
    mailbox = made.root / "var/lib/chatmail/mail/_alpha.lab/abcdefghi@_alpha.lab"
    mailbox.mkdir(parents=True)
    (mailbox / "password").touch()
    return made


def test_seen(relay: RelayRoot) -> None:
    """Only another domain, and only where there are accounts."""
    assert domain.applied(relay.tree) == "_alpha.lab"
    assert domain.change(relay.plan().settings, relay.tree) is None
    assert domain.change(BETA, relay.tree) == CHANGE
    next(relay.root.glob("var/lib/chatmail/mail/*/*/password")).unlink()
    assert domain.change(BETA, relay.tree) is None


def test_before_the_first_apply(tmp_path: Path) -> None:
    """There is nothing to lose."""
    assert domain.change(BETA, Tree(tmp_path)) is None
    assert domain.applied(Tree(tmp_path)) == ""


@pytest.mark.parametrize("answer", [False, None])
def test_refused(answer: bool | None) -> None:
    """By whom was asked, or because nobody can be."""
    ask = None if answer is None else lambda _question: False
    with pytest.raises(OperatorError, match="1 account has an address of _alpha") as caught:
        domain.consent(CHANGE, allowed=False, ask=ask, warn=print)
    assert "back to _alpha.lab" in caught.value.hint
    assert "--change-domain" in caught.value.hint


def test_agreed() -> None:
    """By an option beforehand, or when asked."""
    said: list[str] = []
    domain.consent(CHANGE, allowed=True, ask=None, warn=said.append)
    assert "their mail stays on disk" in said[0]
    domain.consent(CHANGE, allowed=False, ask=lambda question: "[y/N]" in question, warn=print)


class Answers(dict[str, str]):
    """debconf, as far as it is used."""

    def get(self, question: str) -> str:  # type: ignore[override]
        return self[question.removeprefix("chatmail-relay/")]

    def set(self, question: str, value: str) -> None:
        self[question.removeprefix("chatmail-relay/")] = value


@pytest.mark.parametrize("agreed", ["true", "false"])
def test_debconf(relay: RelayRoot, agreed: str) -> None:
    """Without an answer of its own the domain stays, in the ini and in debconf."""
    settings = relay.plan().settings
    answers = Answers({**settings.values(), "mail_domain": "_beta.lab", "change_domain": agreed})
    said: list[str] = []
    code = carry_over(answers, relay.tree, said.append)
    text = (relay.root / INI).read_text(encoding="utf-8")
    now = Settings.from_text(text).mail_domain
    if agreed == "true":
        assert (code, now, said) == (DOMAIN_CHANGES, "_beta.lab", [])
    else:
        assert (code, now) == (0, "_alpha.lab")
        assert answers["mail_domain"] == "_alpha.lab"
        assert "mail_domain stays _alpha.lab" in said[0]
    assert answers.get(CHANGE_DOMAIN) == "false"
