"""Applying is all or nothing: each step fails, and each is the last thing before the power goes."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chatmail_relay import dkim, history, journal
from chatmail_relay.errors import OperatorError
from chatmail_relay.units import DOVECOT, NGINX, POSTFIX, units_of

from tests.unit.fakes import HOST, settings
from tests.unit.relayroot import INI, RelayRoot, killed_at_step, killed_at_tick

DOMAIN = "mail_domain = _alpha.lab\n"
# Reaches Postfix, Dovecot, nginx's page and the filter, and adds a file and a unit's drop-in.
CHANGED = f"{DOMAIN}max_message_size = 20000000\nimap_compress = yes\nmailboxes_dir = /srv/mail\n"


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote, so that nobody waits for a disk here."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)


@pytest.fixture(autouse=True, scope="module")
def _one_key() -> Iterator[None]:
    """All relays here have the same key for signatures, so that their files can be compared."""
    key = dkim.generate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dkim, "generate", lambda: key)
        yield


@pytest.fixture
def fresh(tmp_path: Path) -> RelayRoot:
    """A machine on which nothing was ever applied; its ini is written."""
    made = RelayRoot(tmp_path / "fresh")
    made.edit(DOMAIN)
    old = made.root / "etc/postfix/main.cf"
    old.parent.mkdir(parents=True)
    old.write_text("# Debian's\n", encoding="utf-8")
    (made.root / "etc/dovecot").mkdir()
    (made.root / "etc/dovecot/dovecot.conf").symlink_to("dovecot.conf.distrib")
    made.system.units()
    return made


@pytest.fixture
def changed(fresh: RelayRoot) -> RelayRoot:
    """A relay whose ini was edited after the last apply."""
    fresh.apply()
    fresh.edit(CHANGED)
    return fresh


def walk(
    start: RelayRoot, killed: Callable[[int, Callable[[], object]], bool]
) -> Iterator[tuple[int, RelayRoot]]:
    """A copy of START for each place at which its apply can be killed, killed there."""
    start.plan()
    for number in itertools.count():
        victim = start.copy("victim")
        if not killed(number, victim.apply):
            assert number > 10
            return
        yield number, victim


@pytest.mark.parametrize("start", ["fresh", "changed"])
def test_killed_before_and_after_every_step(start: str, request: pytest.FixtureRequest) -> None:
    """The configuration is the old one or, when committed, the new one, after boot as after
    recovery, and the next apply ends as if nothing had happened."""
    before: RelayRoot = request.getfixturevalue(start)
    old = before.files()
    wanted = before.copy("wanted")
    wanted.apply()
    new = wanted.files()
    ran = start == "changed"
    seen = set()
    for number, victim in walk(before, killed_at_step):
        committed = journal.committed(victim.tree)
        for way in ("recover", "boot"):
            case = victim.copy("case")
            case.recover() if way == "recover" else case.boot()
            outcome = without_places(case.files())
            forward = committed or outcome == without_places(new)
            assert outcome == without_places(new if forward else old), (number, way)
            case.assert_units_fit(ran=ran or forward)
            seen.add((way, forward))
        victim.apply()
        assert without_places(victim.files()) == without_places(new), number
        victim.assert_units_fit(ran=True)
    assert seen == set(itertools.product(("recover", "boot"), (False, True)))


def without_places(files: dict[str, tuple[int, bytes | str]]) -> dict[str, tuple[int, bytes | str]]:
    """All but what is random, and so another each time, and the journal's empty folder."""
    random = ("var/lib/chatmail-relay/tls/", "var/lib/chatmail-relay/turn/secret")
    ours = ("var", "var/lib", "var/lib/chatmail-relay", "var/lib/chatmail-relay/apply")
    return {
        path: (found if not path.startswith(random) else (found[0], b""))
        for path, found in files.items()
        if path not in (*ours, "var/lib/chatmail-relay/history")
    }


def test_killed_in_the_middle_of_every_write(changed: RelayRoot) -> None:
    """Between any two of the system calls that count, and nothing half-written is left."""
    old = changed.files()
    wanted = changed.copy("wanted")
    wanted.apply()
    new = wanted.files()
    for number, victim in walk(changed, killed_at_tick):
        victim.recover()
        assert victim.files() in (old, new), number
        victim.assert_units_fit(ran=True)


def test_recovery_killed_everywhere(changed: RelayRoot) -> None:
    """Recovery that is killed too is taken up again, wherever both were killed."""
    old = changed.files()
    steps = sum(1 for _each in walk(changed, killed_at_step))
    commit = steps - 3
    assert killed_at_step(commit, changed.apply)
    assert journal.running(changed.tree)
    for number in itertools.count():
        victim = changed.copy("victim")
        if not killed_at_tick(number, victim.recover):
            break
        victim.recover()
        assert victim.files() == old, number
        victim.assert_units_fit(ran=True)
    assert number > 20


@pytest.mark.parametrize("unit", [unit.name for unit in units_of(settings(), HOST)])
def test_unit_that_does_not_answer(changed: RelayRoot, unit: str) -> None:
    """Everything is as it was, and the error says so."""
    old = changed.files()
    applier = changed.applier([], broken=(unit,))
    with pytest.raises(OperatorError, match=f"{unit} does not answer") as caught:
        applier.carry_out(applier.decide(forced=[unit]), changed.entry())
    assert "Everything is as it was" in caught.value.hint
    assert changed.files() == old
    changed.assert_units_fit(ran=True)


def test_first_apply_that_fails(fresh: RelayRoot) -> None:
    """Our units neither run nor start with the machine; the others have their own files again."""
    old = fresh.files()
    with pytest.raises(OperatorError):
        fresh.apply(broken=(NGINX,))
    assert without_places(fresh.files()) == without_places(old)
    fresh.assert_units_fit(ran=False)


def test_nothing_to_do(changed: RelayRoot) -> None:
    """A second apply writes nothing."""
    changed.apply()
    before = changed.files()
    times = {path: path.stat().st_mtime_ns for path in changed.root.rglob("*")}
    changed.apply()
    assert changed.files() == before
    assert {path: path.stat().st_mtime_ns for path in changed.root.rglob("*")} == times


def test_full_disk_in_a_step(changed: RelayRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails puts everything back, and names the file."""
    old = changed.files()
    put = type(changed.tree).put

    def full(tree: object, path: object, found: object) -> None:
        if str(path) == "/etc/postfix/master.cf" and not full_again:
            full_again.append(True)
            raise OSError(28, "No space left on device", str(path))
        put(tree, path, found)  # type: ignore[arg-type]

    full_again: list[bool] = []
    monkeypatch.setattr(type(changed.tree), "put", full)
    with pytest.raises(OperatorError, match=r"/etc/postfix/master\.cf cannot be written: No space"):
        changed.apply()
    assert changed.files() == old


def test_disk_that_stays_full(changed: RelayRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be put back now is put back by the next apply, and the error says so."""
    old = changed.files()
    steps = sum(1 for _each in walk(changed, killed_at_step))
    assert killed_at_step(steps - 3, changed.apply)
    with monkeypatch.context() as patched:
        patched.setattr(type(changed.tree), "_fill", _full)
        with pytest.raises(OperatorError, match="cannot be put back: No space") as caught:
            changed.recover()
    assert "putting back the rest" in caught.value.hint
    assert changed.recover() == "what was there before is back"
    assert changed.files() == old


def _full(_tree: object, _handle: int, _found: object) -> None:
    raise OSError(28, "No space left on device")


def test_history_and_back(changed: RelayRoot) -> None:
    """Each good configuration is kept with what changed; its plan makes it true again."""
    first = changed.files()
    changed.apply()
    kept = history.entries(changed.tree)
    assert [entry.number for entry in kept] == [1, 2]
    assert "max_message_size = 20000000 (was 31457280)" in kept[1].what
    assert history.find(changed.tree, None).number == 1
    plan = kept[0].plan()
    for file in plan.files:
        assert first[str(file.path).lstrip("/")][1] == file.content
    assert plan.settings.max_message_size == 31457280
    assert DOVECOT in plan.units
    assert POSTFIX in plan.units


def test_ten_are_kept_for_root_only(fresh: RelayRoot) -> None:
    """The oldest go; secrets are in files which only root reads, and not in what is listed."""
    for number in range(1, 13):
        token = f"secret-{number:04}"
        fresh.edit(f"{DOMAIN}registration = invite\ninvite_token = {token}\n")
        fresh.apply()
    kept = history.entries(fresh.tree)
    assert [entry.number for entry in kept] == list(range(3, 13))
    assert kept[-1].what == ("invite_token",)
    for path in (fresh.root / "var/lib/chatmail-relay/history").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (fresh.root / "var/lib/chatmail-relay/history").stat().st_mode & 0o777 == 0o700


def test_comments_are_part_of_a_configuration(changed: RelayRoot) -> None:
    """An edit that changes no file is kept too, without touching a unit."""
    changed.apply()
    with (changed.root / INI).open("a", encoding="utf-8") as file:
        file.write("# Carol's\n")
    before = changed.system.units()
    changed.apply()
    assert history.entries(changed.tree)[-1].what == ("comments in chatmail.ini",)
    assert changed.system.units() == before


def test_no_such_configuration(fresh: RelayRoot) -> None:
    """What is not there is said with what is."""
    with pytest.raises(OperatorError, match="no earlier"):
        history.find(fresh.tree, None)
    fresh.apply()
    with pytest.raises(OperatorError, match="no configuration 7") as caught:
        history.find(fresh.tree, 7)
    assert "Kept are 1;" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b'{"changes": 3}', b"[]", b'{"changes": [{}]}'])
def test_journal_that_is_damaged(fresh: RelayRoot, content: bytes) -> None:
    """An operator is told which file, and nothing is guessed."""
    journal.write(fresh.tree, journal.RUNNING, content)
    with pytest.raises(OperatorError, match="apply/running cannot be read"):
        fresh.recover()


@pytest.mark.parametrize("content", [b"", b"gzip", b"\x1f\x8b", b"\x1f\x8b\x08\x00" + b"\0" * 20])
def test_history_that_is_damaged(fresh: RelayRoot, content: bytes) -> None:
    """An operator is told which file."""
    fresh.apply()
    (fresh.root / "var/lib/chatmail-relay/history/1.json.gz").write_bytes(content)
    with pytest.raises(OperatorError, match=r"history/1\.json\.gz cannot be read"):
        history.latest(fresh.tree)
