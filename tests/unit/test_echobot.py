"""The echo bot around its rules: settings, account, page, core."""

from __future__ import annotations

import logging
import socket
import stat
import sys
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from chatmail_echobot import core, doveauth, web
from chatmail_echobot.config import Places, default_path, load
from chatmail_echobot.errors import NotNowError, StartError
from chatmail_echobot.main import forget, main
from chatmail_echobot.service import OneLine, notify

from tests.unit.daemons import answering

NOON = 1_800_000_000.0
LINK = 'https://i.delta.chat/#AB&a=echo%40_alpha.lab&n="<Echo>'


# --- settings ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("chat.example.org", "echo@chat.example.org"),
        ("_Alpha.lab", "echo@_alpha.lab"),
        ("192.0.2.1", "echo@[192.0.2.1]"),
    ],
)
def test_address(tmp_path: Path, domain: str, address: str) -> None:
    """It is of the relay's domain, or of its address."""
    ini = tmp_path / "chatmail.ini"
    ini.write_text(f"[params]\nmail_domain = {domain}\nmax_user_send_burst = 5\n")
    settings = load(ini)
    assert settings.address == address
    assert (settings.max_user_send_per_minute, settings.max_user_send_burst) == (60, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "it is not UTF-8 text"),
        (b"mail_domain = x", "has no section"),
        (b"[params]\n", "mail_domain is missing"),
        (b"[params]\nmail_domain = x.org\nmax_user_send_burst = 0\n", "'0' is not allowed"),
        (b"[params]\nmail_domain = x.org\nmax_user_send_burst = many\n", "'many' is not allowed"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: bytes | None, words: str) -> None:
    """Whatever is wrong is said, with the file."""
    ini = tmp_path / "chatmail.ini"
    if text is not None:
        ini.write_bytes(text)
    with pytest.raises(StartError, match=words) as caught:
        load(ini)
    assert str(ini) in str(caught.value)


def test_default_path(tmp_path: Path) -> None:
    """systemd's credential comes first."""
    assert default_path({}) == Path("/etc/chatmail-relay/chatmail.ini")
    (tmp_path / "chatmail.ini").touch()
    assert default_path({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == tmp_path / "chatmail.ini"


def test_wrong_settings_are_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The command says what is wrong and ends as a program with a wrong configuration does."""
    monkeypatch.setattr("chatmail_echobot.main.set_up_logging", lambda: None)
    assert main(["--config", str(tmp_path / "none.ini")]) == 78
    assert "none.ini cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("journal", "line"),
    [(True, "<4>no\\nline: OSError: x"), (False, "WARNING no\\nline: OSError: x")],
)
def test_log(journal: bool, line: str) -> None:
    """One line for each record, whatever is in it."""
    try:
        raise OSError("x")
    except OSError:
        info = sys.exc_info()
    record = logging.LogRecord("echobot", logging.WARNING, "", 1, "no\nline", (), info)
    assert OneLine(journal).format(record) == line


def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd gets the states in one message; without it, or when it is gone, nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notify("READY=1", "STATUS=starting")
        assert systemd.recv(100) == b"READY=1\nSTATUS=starting"


# --- the account -------------------------------------------------------------


def test_password(tmp_path: Path) -> None:
    """It is random, for the bot alone, and stays."""
    path = tmp_path / "password"
    first = doveauth.password(path)
    assert len(first) >= 40
    assert doveauth.password(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("\n")  # cut off by a full disk
    assert doveauth.password(path) not in ("", first)


def test_account(tmp_path: Path) -> None:
    """The bot asks for its account, and may have it deleted twice."""
    path = tmp_path / "socket"
    with answering(path, "ok", "ok", "unknown") as asked:
        doveauth.make(path, "secret")
        doveauth.remove(path)
        doveauth.remove(path)
    assert asked == ["account\t736563726574\n", "remove\n", "remove\n"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [("refused\tthe account is blocked", "blocked"), ("later\tno space", "no space"), ("", "no")],
)
def test_account_refused(tmp_path: Path, answer: str, words: str) -> None:
    """Why is said."""
    with answering(tmp_path / "socket", answer), pytest.raises(NotNowError, match=words):
        doveauth.make(tmp_path / "socket", "secret")


def test_doveauth_is_down(tmp_path: Path) -> None:
    """That is something to wait for."""
    with pytest.raises(NotNowError, match="does not answer"):
        doveauth.make(tmp_path / "socket", "secret")


@pytest.mark.parametrize("is_up", [True, False])
def test_forget(tmp_path: Path, is_up: bool) -> None:
    """With the account goes all the bot knew, also where doveauth does not answer."""
    places = Places(tmp_path / "state", tmp_path / "web", tmp_path / "socket")
    for folder in (places.accounts, places.web):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    if is_up:
        with answering(places.doveauth, "ok") as asked:
            assert forget(places) == 0
        assert asked == ["remove\n"]
    else:
        assert forget(places) == 1
    assert not places.state.exists()
    assert list(places.web.iterdir()) == []
    assert forget(places) == 0  # nothing left to ask for


# --- the page ----------------------------------------------------------------


def test_page(tmp_path: Path) -> None:
    """Link and code are there, for nginx to read, and what they say is only text."""
    code = '<svg xmlns="http://www.w3.org/2000/svg"><rect style="fill:#ffffff"/></svg>'
    for _ in range(2):
        web.publish(tmp_path, "echo@_alpha.lab", LINK, code)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"index.html", "style.css", "link.txt", "qr.svg"}
    page = (tmp_path / "index.html").read_text()
    assert f'href="{escape(LINK)}"' in page
    assert LINK not in page
    assert "<script" not in page
    assert "style=" not in page
    assert (tmp_path / "link.txt").read_text() == f"{LINK}\n"
    assert ElementTree.parse(tmp_path / "qr.svg").getroot()[0].attrib == {"fill": "#ffffff"}
    assert stat.S_IMODE((tmp_path / "qr.svg").stat().st_mode) == 0o640


# --- the core ----------------------------------------------------------------


def test_core(tmp_path: Path) -> None:
    """The real core keeps the profile of the address, and gives it an invitation."""
    address = "echo@_alpha.lab"
    for _ in range(2):
        with core.running(core.command(), tmp_path / "core") as chats:
            profile = core.Profile(chats, address, 64)
            [account] = chats.get_all_accounts()
            if not account.is_configured():
                account.add_pseudo_transport(address)
                account.set_config("configured_addr", address)
            link, code = profile.invite()
            assert "echo%40_alpha.lab" in link
            assert ElementTree.fromstring(code).tag.endswith("svg")
            assert account.get_config("bot") == "1"
            assert profile.left_over() == []
            assert not profile.is_online()
            assert profile.forget(NOON) == 0
            with pytest.raises(NotNowError, match="cannot be read"):
                profile.hear(4711)
    (tmp_path / "link").write_text(link)
    with core.running(core.command(), tmp_path / "core") as chats:
        before = chats.get_all_accounts()
        core.Profile(chats, "echo@_beta.lab", 64)
        assert len(chats.get_all_accounts()) == 1
        assert chats.get_all_accounts() != before


def test_core_does_not_start(tmp_path: Path) -> None:
    """What is in its way is said."""
    (tmp_path / "core").write_text("no folder")
    with (
        pytest.raises(StartError, match="the core does not start"),
        core.running(core.command(), tmp_path / "core"),
    ):
        pass
