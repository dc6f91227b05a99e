"""What is fetched by a registry's own client: its surroundings, the cache, the failure."""

import io
from pathlib import Path

import pytest

from devtools import fetched
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure
from devtools.sources import Fetch, Job, Source

FETCH = Fetch(("packaging/a/Cargo.lock",), "cargo vendor $FETCHED")
SOURCE = Source("a", ("a",), ("packaging/a",), "true", once_in="bookworm", fetch=FETCH)
JOB = Job(SOURCE, "trixie", {"packaging/a/Cargo.lock": b"1", "packaging/a/b": b"2"}, frozenset())


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Progress that nobody sees, a cache of our own, and nobody whose files are given away."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("os.chown", lambda *_: None)
    return Progress("test", output=io.StringIO())


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that would have been run."""
    said: list[list[str]] = []
    monkeypatch.setattr(fetched, "stream", lambda command, *_args, **_: said.append(command))
    monkeypatch.setattr(fetched, "run", lambda *_args, **_: None)
    return said


def test_who_needs_nothing_gets_nothing(tmp_path: Path, progress: Progress) -> None:
    """A source without a registry has no folder."""
    source = Source("a", ("a",), (), "true")
    assert fetched.fetched(Job(source, "trixie", {}, frozenset()), tmp_path, progress) is None


def test_the_client_has_network_and_no_privileges(
    tmp_path: Path,
    progress: Progress,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It trusts whom this machine trusts, and goes where it is told to."""
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/our-authorities.pem")
    fetched.fetched(JOB, tmp_path, progress)
    (words,) = commands
    assert "--net" not in words
    assert "--userspec=1000:1000" in words
    assert "https_proxy=http://proxy.example:3128" in words
    place = words.index("/etc/our-authorities.pem")
    assert words[place + 1] == "/etc/ssl/certs/ca-certificates.crt"


def test_only_what_names_it_is_looked_at(
    tmp_path: Path, progress: Progress, commands: list[list[str]]
) -> None:
    """Another file of the source changes nothing, another lock is fetched anew."""
    first = fetched.fetched(JOB, tmp_path, progress)
    other = Job(SOURCE, "bookworm", {**JOB.files, "packaging/a/b": b"3"}, frozenset())
    assert fetched.fetched(other, tmp_path, progress) == first
    assert len(commands) == 1
    relocked = Job(SOURCE, "bookworm", {"packaging/a/Cargo.lock": b"2"}, frozenset())
    assert fetched.fetched(relocked, tmp_path, progress) != first


def test_a_failed_fetch_says_what_the_client_said(
    tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines are shown, with what to look at."""

    def fail(command: list[str], *_args: object, **_: object) -> None:
        raise CommandFailed(command, 101, "error: failed to get `bytes`\n  could not resolve\n")

    monkeypatch.setattr(fetched, "stream", fail)
    monkeypatch.setattr(fetched, "run", lambda *_args, **_: None)
    with pytest.raises(
        Failure, match=r"wanted for a cannot be fetched:\n.*\n.*not resolve\n.*proxy"
    ):
        fetched.fetched(JOB, tmp_path, progress)
