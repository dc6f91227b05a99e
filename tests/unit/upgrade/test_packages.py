"""What dpkg says of our packages, and whether it is at work."""

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from chatmail_relay.upgrade import packages
from chatmail_relay.upgrade.packages import (
    Package,
    dpkg_locked,
    is_at_work,
    parse,
    seen,
    wait_for_dpkg,
)

US, THEM = "chatmail-relay maintainers <us@example.org>", "Debian Foo Team <foo@debian.org>"


def line(name: str, status: str = "installed", maker: str = US) -> str:
    return f"{name}\t0.1.0\tall\t{status}\t{maker}\n"


LISTED: dict[str, tuple[str, set[str]]] = {
    "ours": (line("chatmail-relay") + line("chatmaild") + line("nginx", maker=THEM), {"chatmaild"}),
    "the key stays": (line("chatmail-relay") + line("chatmail-archive-keyring"), set()),
    "half there": (line("chatmail-relay") + line("chatmaild", "half-installed"), {"chatmaild"}),
    "gone": (line("chatmail-relay") + line("chatmaild", "config-files"), set()),
}


@pytest.mark.parametrize(("listed", "others"), LISTED.values(), ids=LISTED)
def test_ours(listed: str, others: set[str]) -> None:
    """Ours have the relay's maintainer, are there, and can be taken back."""
    assert parse(listed).keys() == {"chatmail-relay", *others}


@pytest.mark.parametrize("status", ["config-files", "not-installed"])
def test_without_the_relay(status: str) -> None:
    """There are none when the relay itself is not there."""
    assert parse(line("chatmail-relay", status) + line("chatmaild")) == {}
    assert parse("") == {}


@pytest.mark.parametrize("status", ["unpacked", "half-configured", "triggers-awaited"])
def test_not_whole(status: str) -> None:
    """A package with which dpkg is not done is not whole."""
    assert not Package("chatmaild", "1", "all", status).whole


def elsewhere(question: Callable[[], bool]) -> bool:
    """The answer of another process."""
    child = os.fork()
    if not child:
        os._exit(int(question()))
    return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_lock(tmp_path: Path) -> None:
    """Who asks sees the lock of another process, and does not take it."""
    lock = tmp_path / "lock-frontend"
    assert not is_at_work(lock)
    with dpkg_locked(lock):
        assert elsewhere(lambda: is_at_work(lock))
    assert not elsewhere(lambda: is_at_work(lock))


def test_waiting_for_dpkg(tmp_path: Path) -> None:
    """It is waited until another process lets go of the lock, which nobody finds taken by us."""
    lock = tmp_path / "lock-frontend"
    wait_for_dpkg(lock, lambda _seconds: pytest.fail("there is nobody to wait for"))
    held = dpkg_locked(lock)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            os.write(let_go, b".")
            os.waitpid(child, 0)

    taken, ready = os.pipe()
    asked, let_go = os.pipe()
    child = os.fork()
    if not child:
        with held:
            os.write(ready, b".")
            os.read(asked, 1)
            os._exit(0)
    os.read(taken, 1)
    wait_for_dpkg(lock, pause)
    assert len(waits) == 3
    assert not elsewhere(lambda: is_at_work(lock))


def test_seen(tmp_path: Path) -> None:
    """A file that was written anew is another."""
    status = tmp_path / "status"
    status.write_text("Package: a\n")
    before = seen(status)
    assert seen(status) == before
    (tmp_path / "new").write_text("Package: b\n")
    (tmp_path / "new").replace(status)
    assert seen(status) != before


SIMULATED: dict[str, tuple[int, str, bool]] = {
    "alone": (0, "Inst dovecot-instant [2] (1 local)\nConf dovecot-instant (1 local)\n", True),
    "with another": (0, "Inst dovecot-core [2]\nInst dovecot-instant [2] (1 local)\n", False),
    "not at all": (100, "dovecot-instant : Depends: dovecot-abi-2.3.abiv20\n", False),
}


@pytest.mark.parametrize(("code", "said", "can"), SIMULATED.values(), ids=SIMULATED)
def test_can_be_installed(code: int, said: str, can: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nothing else has to change for."""

    def run(argv: Any, **_options: Any) -> "CompletedProcess[str]":
        return CompletedProcess(argv, code, said, "")

    monkeypatch.setattr(packages, "run", run)
    assert packages.can_be_installed(Path("/x/dovecot-instant_1_all.deb")) == can
