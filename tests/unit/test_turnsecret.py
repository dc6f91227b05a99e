"""The secret for relayed calls is made once, for chatmail-turn alone."""

from pathlib import Path

import pytest
from chatmail_relay import turnsecret
from chatmail_relay.tree import Found, Tree

from tests.unit.fakes import settings

SETTINGS = settings()


def test_first_secret(tmp_path: Path) -> None:
    """Random, long enough, and nobody else's to read."""
    [file] = turnsecret.secret_files(SETTINGS, Tree(tmp_path))
    assert str(file.path) == "/var/lib/chatmail-relay/turn/secret"
    assert (file.owner, file.group, file.mode) == ("_chatmail-turn", "_chatmail-turn", 0o600)
    assert len(bytes.fromhex(file.content.decode())) == turnsecret.BYTES
    assert turnsecret.secret_files(SETTINGS, Tree(tmp_path))[0].content != file.content


@pytest.mark.parametrize(("present", "stays"), [(b"s" * 32, True), (b"short\n", False)])
def test_secret_stays(tmp_path: Path, present: bytes, stays: bool) -> None:
    """The secret there is stays, unless chatmail-turn would not take it."""
    tree = Tree(tmp_path)
    tree.put(turnsecret.PATH, Found(present, None, *tree.ids("root", "root"), 0o600))
    [file] = turnsecret.secret_files(SETTINGS, tree)
    assert (file.content == present) is stays


def test_no_calls_no_secret(tmp_path: Path) -> None:
    """Where no calls are relayed there is none."""
    assert turnsecret.secret_files(settings(turn_enabled="no"), Tree(tmp_path)) == ()
