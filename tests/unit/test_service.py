"""What every daemon does alike."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from chatmail_relay.settings import Settings
from chatmaild.errors import StartError

from chatmaild import service


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """A settings file."""
    path = tmp_path / "chatmail.ini"
    path.write_text("[params]\nmail_domain = _alpha.lab\n")
    return path


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Whatever `run` does to the root logger is undone."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers, root.level = before


@pytest.fixture
def notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of the notices."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(os.fspath(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "notify"))
        yield sock


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        ([], "/etc/chatmail-relay/chatmail.ini"),
        (["--config", "/x"], "/x"),
        (["--config=/x=y"], "/x=y"),
    ],
)
def test_config_path(argv: list[str], path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are where the arguments say."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert service.config_path("d", "Does.", argv) == Path(path)


def test_config_path_of_a_unit(ini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's credential comes before the file in /etc."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.fspath(ini.parent))
    assert service.config_path("d", "Does.", []) == ini


@pytest.mark.parametrize("word", ["--help", "-h", "--version"])
def test_help_and_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both go to stdout, and that is success."""
    with pytest.raises(SystemExit) as left:
        service.config_path("daemon", "Does things.", [word])
    assert left.value.code == 0
    assert "daemon" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["--bogus"], ["file"], ["--config"], ["--config="], ["-c", "x"]])
def test_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake is told on stderr, with the status for it."""
    with pytest.raises(SystemExit) as left:
        service.config_path("daemon", "Does things.", argv)
    assert left.value.code == service.EX_USAGE
    assert "daemon: " in capsys.readouterr().err


@pytest.mark.usefixtures("quiet_logging")
def test_run_until_sigterm(ini: Path, notices: socket.socket) -> None:
    """Ready is told when the sockets are bound, stopping at the signal, and the end is orderly."""
    steps: list[str] = []

    @asynccontextmanager
    async def serve(settings: Settings) -> AsyncIterator[None]:
        steps.append(f"bound for {settings.mail_domain}")
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        yield
        steps.append("finished")

    assert service.run("d", "Does.", serve, ["--config", os.fspath(ini)]) == 0
    assert steps == ["bound for _alpha.lab", "finished"]
    assert [notices.recv(99), notices.recv(99)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.usefixtures("quiet_logging")
def test_run_without_settings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that is missing or wrong is one line and a status of its own."""
    (tmp_path / "bad.ini").write_text("[params]\nmail_domain = _alpha.lab\nbogus = 1\n")
    for name in ("missing.ini", "bad.ini"):
        status = service.run("d", "Does.", _never, ["--config", os.fspath(tmp_path / name)])
        assert status == service.EX_CONFIG
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1
        assert name in lines[0]


@pytest.mark.usefixtures("quiet_logging")
def test_run_that_cannot_start(ini: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No socket, no traceback."""

    @asynccontextmanager
    async def serve(settings: Settings) -> AsyncIterator[None]:
        service.listen_unix(ini)
        yield

    assert service.run("d", "Does.", serve, ["--config", os.fspath(ini)]) == 1
    assert "is in the way" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("level", "journal", "line"),
    [
        (logging.DEBUG, True, "<7>a\\nb"),
        (logging.INFO, True, "<6>a\\nb"),
        (logging.WARNING, True, "<4>a\\nb"),
        (logging.ERROR, True, "<3>a\\nb"),
        (logging.CRITICAL, True, "<2>a\\nb"),
        (logging.WARNING, False, "WARNING name: a\\nb"),
    ],
)
def test_log_line(level: int, journal: bool, line: str) -> None:
    """A record is one line whatever is in it; the journal gets its priority."""
    record = logging.LogRecord("name", level, "", 0, "a%sb", ("\n",), None)
    assert service.OneLine(journal).format(record) == line


def test_log_of_an_exception() -> None:
    """Its kind, its words and its place, no traceback."""
    try:
        raise ValueError("odd\x1b[31m")
    except ValueError:
        record = logging.LogRecord("name", 40, "", 0, "it broke", (), sys.exc_info())
    text = service.OneLine(journal=False).format(record)
    assert text.startswith("ERROR name: it broke: ValueError: odd\\x1b[31m (test_service.py:")


def test_notify_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody to tell is no error, nor is somebody who went away."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "@no-such-socket-of-chatmaild")
    service.notify("READY=1")


def test_listen(tmp_path: Path) -> None:
    """A socket of mode 0660, also over a dead one; the umask is as before."""
    path, umask = tmp_path / "socket", os.umask(0o027)
    try:
        service.listen_unix(path).close()
        with service.listen_unix(path):
            assert path.stat().st_mode & 0o777 == 0o660
            with pytest.raises(StartError, match="another process"):
                service.listen_unix(path)
    finally:
        assert os.umask(umask) == 0o027


@pytest.mark.parametrize("name", ["file", "folder", "link"])
def test_listen_over_something_else(tmp_path: Path, name: str) -> None:
    """Only sockets are removed."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(StartError, match="in the way"):
        service.listen_unix(tmp_path / name)
    assert (tmp_path / "file").read_text() == "precious"


def test_listen_nowhere(tmp_path: Path) -> None:
    """A missing folder, or a path too long, is told in a sentence."""
    with pytest.raises(StartError, match="No such file"):
        service.listen_unix(tmp_path / "nowhere" / "socket")


@asynccontextmanager
async def _never(settings: Settings) -> AsyncIterator[None]:
    raise AssertionError
    yield


def test_placed_below_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With $CHATMAIL_ROOT, absolute paths lie below it and folders of sockets are made."""
    path = Path("/run/chatmail/x.sock")
    monkeypatch.delenv("CHATMAIL_ROOT", raising=False)
    assert service.placed(path) == path
    monkeypatch.setenv("CHATMAIL_ROOT", os.fspath(tmp_path))
    assert service.placed(path) == tmp_path / "run/chatmail/x.sock"
    assert service.placed(Path("x")) == Path("x")
    with service.listen_unix(path):
        assert (tmp_path / "run/chatmail/x.sock").is_socket()


def test_a_root_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon says which folder it cannot make."""
    (tmp_path / "run").write_text("")
    monkeypatch.setenv("CHATMAIL_ROOT", os.fspath(tmp_path))
    with pytest.raises(StartError, match=r"cannot make .*/run/chatmail"):
        service.listen_unix(Path("/run/chatmail/x.sock"))
