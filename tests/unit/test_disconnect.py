"""Closing connections of users who are about to be deleted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from chatmail_relay import disconnect
from chatmail_relay.errors import OperatorError

WHO = """username\tservice\tpid\tip
abcdefghi@_alpha.lab\timap\t11\t192.0.2.1
stays@_alpha.lab\timap\t12\t192.0.2.1
abcdefghi@_alpha.lab\timap\t13\t192.0.2.1
"""


class Dovecot:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.kicked: list[str] = []

    def __call__(self, argv: Sequence[str]) -> str:
        if argv[1] == "kick":
            self.kicked.append(argv[2])
            return "kicked connections from the following users"
        return WHO


def test_only_who_is_connected() -> None:
    """Of those who go, the connected ones, once each."""
    dovecot = Dovecot()
    disconnect.disconnect({"abcdefghi@_alpha.lab", "absent@_alpha.lab"}, dovecot)
    assert dovecot.kicked == ["abcdefghi@_alpha.lab"]


@pytest.mark.parametrize("shown", ["", "username\tservice\n", "\n\n"])
def test_nobody_connected(shown: str) -> None:
    """An empty answer names nobody one could mean."""
    assert not disconnect.connected(shown) - {""}


def test_read(tmp_path: Path) -> None:
    """Only addresses become arguments: no options, no wildcards."""
    file = tmp_path / "disconnect"
    file.write_text("abc@_a.lab\nx@[192.0.2.1]\n-f\n*\n*@_a.lab\na b@_a.lab\n\n@x\nA@_a.lab\n")
    assert disconnect.read(file) == {"abc@_a.lab", "x@[192.0.2.1]"}


def test_no_such_file(tmp_path: Path) -> None:
    """What is no file of the expiry's is refused."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    for name in ("none", "folder", "link"):
        with pytest.raises(OperatorError):
            disconnect.read(tmp_path / name)


def test_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is gone when it is done, and also when that fails."""
    file = tmp_path / "disconnect"
    monkeypatch.setattr(disconnect, "REQUEST", file)
    dovecot = Dovecot()
    monkeypatch.setattr(disconnect, "_output", dovecot)
    file.write_text("abcdefghi@_alpha.lab\n")
    assert disconnect.main() == 0
    assert dovecot.kicked == ["abcdefghi@_alpha.lab"]
    assert not file.exists()

    def fail(_argv: Sequence[str]) -> str:
        raise OperatorError("Dovecot does not answer")

    monkeypatch.setattr(disconnect, "_output", fail)
    file.write_text("abcdefghi@_alpha.lab\n")
    assert disconnect.main() == 1
    assert not file.exists()
