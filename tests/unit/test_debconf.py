"""Answers become the ini, an admin's own text stays, and a wrong answer changes nothing."""

from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay import earlier
from chatmail_relay.debconf import NO_DOMAIN, SYNCED, carry_over, new_ini
from chatmail_relay.debconf_templates import asked
from chatmail_relay.earlier import Earlier
from chatmail_relay.errors import SettingsError
from chatmail_relay.settings import DEFAULT_PATH, Settings, default_text
from chatmail_relay.tree import Found, Tree

INI = PurePosixPath(DEFAULT_PATH)


class Debconf:
    """debconf's database."""

    def __init__(self, **answers: str) -> None:
        self.answers = {key: default_text(key) or "" for key in asked()} | answers

    def get(self, question: str) -> str:
        return self.answers[question.removeprefix("chatmail-relay/")]

    def set(self, question: str, value: str) -> None:
        self.answers[question.removeprefix("chatmail-relay/")] = value


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A machine without an ini."""
    return Tree(tmp_path)


def ini(tree: Tree) -> str:
    """The ini's text."""
    return (tree.look(INI).content or b"").decode()


def test_first_answers(tree: Tree) -> None:
    """A domain is enough; only root reads the file."""
    assert carry_over(Debconf(mail_domain="_alpha.lab"), tree, print) == 0
    assert Settings.from_text(ini(tree)).mail_domain == "_alpha.lab"
    assert tree.look(INI).mode == 0o600
    assert b"mail_domain = _alpha.lab\n" in (tree.look(SYNCED).content or b"")


def test_no_domain(tree: Tree) -> None:
    """Nobody answered: nothing is written."""
    assert carry_over(Debconf(), tree, print) == NO_DOMAIN
    assert not tree.look(INI).exists


def test_what_is_not_asked_stays(tree: Tree) -> None:
    """Comments and settings that debconf knows nothing of survive."""
    text = "# mine\n[params]\nmail_domain = _alpha.lab\nmax_user_send_burst = 12\n"
    tree.put(INI, Found(text.encode(), None, 0, 0, 0o644))
    assert carry_over(Debconf(mail_domain="_alpha.lab"), tree, print) == 0
    assert ini(tree) == text
    assert tree.look(INI).mode == 0o600
    assert carry_over(Debconf(mail_domain="_alpha.lab", registration="closed"), tree, print) == 0
    assert ini(tree).startswith(text)
    assert Settings.from_text(ini(tree)).registration == "closed"


def test_token_is_made_when_needed() -> None:
    """An invite needs a token; one that is there stays."""
    text = new_ini({"mail_domain": "a.b", "registration": "invite"}, None, lambda: "x" * 16)
    assert Settings.from_text(text).invite_token == "x" * 16
    again = new_ini({"registration": "invite"}, text, lambda: "y" * 16)
    assert Settings.from_text(again).invite_token == "x" * 16


def test_made_tokens_differ_and_are_allowed() -> None:
    """Random, and of characters that may stand in the file."""
    answers = {"mail_domain": "a.b", "registration": "invite"}
    made = {Settings.from_text(new_ini(answers, None)).invite_token for _ in range(20)}
    assert len(made) == 20


def test_wrong_answer_is_forgotten(tree: Tree) -> None:
    """It would stop every later upgrade; the ini stays, and debconf agrees with it again."""
    carry_over(Debconf(mail_domain="_alpha.lab"), tree, print)
    before = ini(tree)
    debconf = Debconf(mail_domain="a/b")
    with pytest.raises(SettingsError, match="a/b") as caught:
        carry_over(debconf, tree, print)
    assert "dpkg-reconfigure" in caught.value.hint
    assert ini(tree) == before
    assert debconf.answers["mail_domain"] == "_alpha.lab"


def test_broken_ini_is_not_overwritten(tree: Tree) -> None:
    """An admin's mistake is told with its line, not repaired by guessing."""
    tree.put(INI, Found(b"[params]\nmail_domain = a.b\nbogus = 1\n", None, 0, 0, 0o600))
    with pytest.raises(SettingsError, match=r"chatmail\.ini:3: bogus"):
        carry_over(Debconf(mail_domain="a.b"), tree, print)
    assert "bogus" in ini(tree)


@pytest.fixture
def _renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    later = {"operator": Earlier("0.2.0", "operator_name")}
    monkeypatch.setattr(earlier, "EARLIER", later)


@pytest.mark.usefixtures("_renamed")
def test_earlier_names_are_left_to_apply(tree: Tree) -> None:
    """An upgrade that changes no answer leaves the file alone; an answer carries names over."""
    text = "[params]\nmail_domain = _alpha.lab\n# us\noperator = Carol\n"
    tree.put(INI, Found(text.encode(), None, 0, 0, 0o600))
    said: list[str] = []
    assert carry_over(Debconf(mail_domain="_alpha.lab"), tree, said.append) == 0
    assert (ini(tree), said) == (text, [])
    answers = Debconf(mail_domain="_alpha.lab", registration="closed")
    assert carry_over(answers, tree, said.append) == 0
    assert "# us\n# operator is operator_name since version 0.2.0.\noperator_name = Carol\n" in ini(
        tree
    )
    assert len(said) == 1
