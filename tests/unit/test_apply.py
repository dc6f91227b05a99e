"""apply: writes what differs, tells whom it concerns, and puts everything back on failure."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.apply import Applier
from chatmail_relay.changes import APPLIED, ORIGINALS
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import make_plan
from chatmail_relay.settings import Settings
from chatmail_relay.system import Absent, Running
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import (
    ACME_TIMER,
    CERTIFICATE_PATH,
    DOVEAUTH,
    DOVECOT,
    FILTERMAIL,
    NEWEMAIL,
    NGINX,
    POSTFIX,
    REDIRECTOR,
    UNITS,
    units_of,
)
from chatmail_relay.withdraw import LEFT, withdraw
from chatmail_relay.work import Work

from tests.unit.fakes import HOST, FakeSystemd, SystemTree, install, settings

OVER_HTTPS = {unit.name for unit in units_of(settings(), HOST)} - {
    unit.name for unit in units_of(settings(deliver_over_https="no"), HOST)
}
MAIN = PurePosixPath("/etc/postfix/main.cf")


class FakeSystem(Running):
    """Units answer at once, but for the SILENT ones."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree, sleep=lambda _seconds: None)
        self.silent: set[str] = set()
        self.asked: list[str] = []

    def ask(self, unit: str) -> None:
        self.asked.append(unit)
        if unit in self.silent:
            raise OperatorError(f"{unit} does not answer", "See the journal.")


class Relay:
    """A machine with a Postfix of its own, on which a relay can be applied."""

    def __init__(self, root: Path) -> None:
        self.tree = SystemTree(root)
        self.systemd = FakeSystemd(active={DOVECOT, POSTFIX}, enabled={DOVECOT, POSTFIX})
        self.system = FakeSystem(self.tree)
        self.said: list[str] = []
        self.tree.put(
            MAIN, Found(b"theirs\n", mode=0o644, uid=root.stat().st_uid, gid=root.stat().st_gid)
        )

    def applier(self, wanted: Settings) -> Applier:
        plan = make_plan(wanted, HOST)
        return Applier(plan, self.tree, self.system, self.said.append)

    def apply(self, *forced: str, **values: str) -> Work:
        self.systemd.calls.clear()
        self.system.asked.clear()
        applier = self.applier(settings(**values))
        work = applier.decide(forced)
        applier.check(work)
        if not work.nothing:
            applier.carry_out(work)
        return work

    def contents(self) -> dict[str, bytes]:
        root = self.tree.root
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A machine before the first apply."""
    machine = Relay(tmp_path)
    install(machine.systemd, monkeypatch)
    return machine  # type: ignore[return-value]


def test_first_apply_starts_everything(relay: Relay) -> None:
    """All units run and are enabled, in order, and each was asked."""
    relay.apply()
    names = [unit.name for unit in UNITS if unit.needed(settings(), HOST)]
    assert relay.systemd.verbs("restart") == names
    assert relay.systemd.enabled == relay.systemd.active == set(names)
    assert relay.system.asked == names
    assert "daemon-reload" in relay.systemd.calls


def test_second_apply_does_nothing(relay: Relay) -> None:
    """Nothing is written, no unit is touched."""
    relay.apply()
    stamps = {path: path.stat().st_mtime_ns for path in relay.tree.root.rglob("*")}
    work = relay.apply()
    assert work.nothing
    assert not relay.systemd.calls
    assert not relay.system.asked
    assert {path: path.stat().st_mtime_ns for path in relay.tree.root.rglob("*")} == stamps


CONCERNED = [
    ({"max_user_send_burst": "11"}, [FILTERMAIL], []),
    ({"max_mailbox_size_mib": "7"}, [], [DOVECOT]),
    ({"registration": "closed"}, [DOVEAUTH, NEWEMAIL], []),
    ({"create_max_load": "9"}, [DOVEAUTH], []),
]


@pytest.mark.parametrize(("values", "restarted", "reloaded"), CONCERNED)
def test_exactly_the_units_concerned(
    relay: Relay, values: dict[str, str], restarted: list[str], reloaded: list[str]
) -> None:
    """A setting disturbs those who read it and nobody else."""
    relay.apply()
    relay.apply(**values)
    assert relay.systemd.verbs("restart") == restarted
    assert relay.systemd.verbs("reload") == reloaded
    assert relay.system.asked == restarted + reloaded


def test_unit_that_is_not_wanted(relay: Relay) -> None:
    """It is stopped for good, and comes back with the setting that wants it."""
    relay.apply()
    work = relay.apply(deliver_over_https="no")
    assert set(work.end) == OVER_HTTPS
    assert not OVER_HTTPS & (relay.systemd.active | relay.systemd.enabled)
    assert not OVER_HTTPS & set(relay.system.asked)
    assert relay.apply(deliver_over_https="no").nothing
    relay.apply()
    assert relay.systemd.active & relay.systemd.enabled >= OVER_HTTPS


def test_unwanted_unit_is_back_after_a_failure(relay: Relay) -> None:
    """What was stopped runs as before when something else went wrong."""
    relay.apply()
    relay.system.silent.add(POSTFIX)
    with pytest.raises(OperatorError):
        relay.apply(deliver_over_https="no")
    assert relay.systemd.active & relay.systemd.enabled >= OVER_HTTPS


def test_port_80_changes_hands(relay: Relay) -> None:
    """acmetool's redirector is stopped before nginx listens there, and is back in mode acme."""
    domain = "chat.example.org"
    relay.apply(mail_domain=domain)
    assert REDIRECTOR in relay.systemd.active
    relay.apply(mail_domain=domain, tls_mode="self-signed")
    calls = relay.systemd.calls
    stop = calls.index(f"stop {REDIRECTOR}")
    assert stop < len(calls) - 1 - calls[::-1].index(f"reload {NGINX}")
    assert not {REDIRECTOR, ACME_TIMER, CERTIFICATE_PATH} & relay.systemd.active
    relay.apply(mail_domain=domain)
    assert {REDIRECTOR, ACME_TIMER, CERTIFICATE_PATH} <= relay.systemd.active


def test_mail_elsewhere_needs_a_drop_in_and_loses_it(relay: Relay) -> None:
    """doveauth may write where the mail is, and only there."""
    relay.apply()
    relay.apply(mailboxes_dir="/srv/mail")
    drop_in = relay.tree.real("/etc/systemd/system/doveauth.service.d/50-chatmail-relay.conf")
    assert "/srv/mail" in drop_in.read_text()
    assert relay.tree.real("/srv/mail/_alpha.lab").stat().st_mode & 0o777 == 0o700
    relay.apply()
    assert not drop_in.exists()
    assert DOVEAUTH in relay.systemd.verbs("restart")


def test_a_stopped_unit_is_started(relay: Relay) -> None:
    """What should run runs after apply, even if no file changed."""
    relay.apply()
    relay.systemd.active.remove(NEWEMAIL)
    relay.apply()
    assert relay.systemd.verbs("restart") == [NEWEMAIL]


def test_forced_restart(relay: Relay) -> None:
    """An upgraded daemon is restarted although its configuration is the same."""
    relay.apply()
    relay.apply(POSTFIX)
    assert relay.systemd.verbs("restart") == [POSTFIX]


def test_original_is_kept_once(relay: Relay) -> None:
    """The file from before, not our own one of the second time."""
    relay.apply()
    relay.tree.put(MAIN, Found(b"edited by hand\n"))
    relay.apply()
    assert relay.tree.look(ORIGINALS / "etc/postfix/main.cf").content == b"theirs\n"


@pytest.mark.parametrize("trouble", ["does not start", "does not answer"])
def test_failure_puts_everything_back(relay: Relay, trouble: str) -> None:
    """The bytes from before, the units with them, and one error that says what failed."""
    relay.apply()
    before = relay.contents()
    if trouble == "does not start":
        relay.systemd.failing = {FILTERMAIL}
    else:
        relay.system.silent = {FILTERMAIL}
    with pytest.raises(OperatorError, match=r"filtermail\.service") as caught:
        relay.apply(max_user_send_burst="11")
    assert "Everything is as it was" in caught.value.hint
    assert relay.contents() == before
    assert relay.systemd.verbs("restart").count(FILTERMAIL) == 2
    relay.systemd.failing = relay.system.silent = set()
    assert relay.apply().nothing


def test_first_apply_that_fails_leaves_no_relay(relay: Relay) -> None:
    """Ours are off again, and what ran before has its own configuration again."""
    relay.system.silent = {POSTFIX}
    before = relay.contents()
    with pytest.raises(OperatorError):
        relay.apply()
    assert relay.contents() == before
    assert relay.systemd.active == relay.systemd.enabled == {DOVECOT, POSTFIX}
    assert relay.systemd.verbs("restart")[-2:] == [DOVECOT, POSTFIX]


def test_interrupt_puts_everything_back(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C half-way is a failure like another."""
    relay.apply()
    before = relay.contents()

    def interrupted(unit: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(relay.system, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        relay.apply(max_user_send_burst="11")
    assert relay.contents() == before


def test_unwritable_place_is_named(relay: Relay) -> None:
    """A folder where a file should be: nothing changes, and the message says where."""
    relay.apply()
    path = relay.tree.real("/etc/unbound/chatmail.conf")
    path.unlink()
    path.mkdir()
    with pytest.raises(OperatorError, match=r"unbound/chatmail\.conf"):
        relay.apply()


def test_keys_of_other_selectors_stay(relay: Relay) -> None:
    """Who goes back to the selector before has its key again."""
    relay.apply()
    relay.apply(dkim_selector="second")
    keys = {path for path in relay.contents() if path.endswith(".private")}
    folder = "var/lib/chatmail-relay/dkim"
    assert keys == {f"{folder}/opendkim.private", f"{folder}/second.private"}


def test_withdraw_gives_everything_back(relay: Relay) -> None:
    """After removal Postfix has its own file, and only keys and mail are left of ours."""
    relay.apply()
    withdraw(relay.tree)
    assert relay.tree.look(MAIN).content == b"theirs\n"
    state = {path for path in relay.contents() if path.startswith("var/lib/chatmail-relay/")}
    kept = {"tls/relay.pem", "dkim/opendkim.private", "before/left"}
    assert state == {f"var/lib/chatmail-relay/{name}" for name in kept}
    assert relay.tree.look(LEFT).exists
    assert not relay.tree.real("/etc/postfix/chatmail").exists()
    assert not relay.tree.look(APPLIED).exists


def test_another_root_is_left_alone_but_for_files(tmp_path: Path) -> None:
    """With --root no unit is asked or told anything."""
    plan = make_plan(settings(), HOST)
    applier = Applier(plan, Tree(tmp_path), Absent(), lambda line: None)
    work = applier.decide()
    applier.check(work)
    applier.carry_out(work)
    assert (tmp_path / "etc/postfix/main.cf").exists()
    assert not work.units
    assert Applier(plan, Tree(tmp_path), Absent(), lambda line: None).decide().nothing
