"""An upgrade stays or is taken back, also when the power goes in the middle."""

from collections.abc import Callable

import pytest
from chatmail_relay.upgrade.gate import COMPLAINT, PAUSES
from chatmail_relay.upgrade.state import Good

from tests.unit.upgrade.machines import (
    EACH_TIME,
    NEW,
    OLD,
    WORKS,
    FakeMachine,
    pending,
    upgraded,
)

Make = Callable[[], FakeMachine]

NEW_FILTER = {("chatmaild", "2")}
EDITED = "changed by hand: /etc/postfix/main.cf"


def test_a_good_upgrade_stays() -> None:
    """It becomes the state to go back to; nobody is told, nothing is touched, no mail waits."""
    machine = upgraded()
    assert machine.run()
    assert machine.remembered == [NEW]
    assert (machine.state, machine.outcome, machine.held, machine.waits) == (None, None, False, [])
    assert machine.configuration == WORKS + 1
    assert machine.deliveries == 1


def test_nothing_to_judge() -> None:
    """Without an upgrade nothing is done."""
    machine = FakeMachine()
    assert machine.run()
    assert (machine.steps, machine.deliveries) == (0, 0)


def test_daemons_may_be_slow() -> None:
    """What works after a while has no fault."""
    machine = upgraded(slow=2)
    assert machine.run()
    assert machine.waits == list(PAUSES)
    assert machine.remembered == [NEW]


def test_files_that_a_maintainer_script_changed() -> None:
    """They are made again, which counts as the upgrade's doing, and it stays."""
    machine = upgraded(edited=EDITED)
    assert machine.run()
    assert (machine.edited, machine.configuration, machine.held) == ("", WORKS + 1, False)
    assert machine.remembered == [NEW]


def test_power_loss_while_files_are_made_again() -> None:
    """Killed at any step, the next boot ends it the same way."""
    whole = upgraded(edited=EDITED)
    whole.run()
    for step in range(1, whole.steps + 1):
        machine = upgraded(edited=EDITED, dies_at=step)
        assert machine.run_until_done(), step
        assert (machine.edited, machine.remembered, machine.outcome) == ("", [NEW], None), step


def test_what_was_broken_before_is_no_reason() -> None:
    """A fault that was known before the upgrade is passed over."""
    machine = upgraded(always={"turn": "calls are not relayed"}, state=pending(known=("turn",)))
    assert machine.run()
    assert machine.remembered == [NEW]


def test_another_run_of_dpkg() -> None:
    """When dpkg works while it is judged, it is judged again, and that counts."""
    machine = upgraded(interruptions=2)
    assert machine.run()
    assert machine.remembered == [NEW]


def mended(machine: FakeMachine) -> None:
    """Another release that works is installed."""
    machine.runs += 1
    machine.versions["chatmaild"] = "3"


def configured(machine: FakeMachine) -> None:
    """Somebody has dpkg end what it had begun."""
    machine.runs += 1
    machine.unfinished.clear()


def applied(machine: FakeMachine) -> None:
    """A configuration which works is applied."""
    machine.configuration = WORKS
    machine.state = pending(edited=False, number=WORKS + 2)


MEANWHILE: dict[str, Make] = {
    "another release": lambda: upgraded(broken=NEW_FILTER, meanwhile=[mended]),
    "a configuration": lambda: upgraded(broken_configuration=True, meanwhile=[applied]),
    "the end of it": lambda: upgraded(unfinished={"chatmaild"}, meanwhile=[configured]),
}


@pytest.mark.parametrize("make", MEANWHILE.values(), ids=MEANWHILE)
def test_others_mend_it(make: Make) -> None:
    """What was seen before somebody else did something is no reason to go back."""
    machine = make()
    assert machine.run()
    assert machine.remembered == [machine.versions]
    assert (machine.state, machine.outcome, machine.held) == (None, None, False)


def test_others_do_not_mend_it() -> None:
    """What does not work after that, either, is taken back."""
    machine = upgraded(broken={*NEW_FILTER, ("chatmaild", "3")}, meanwhile=[mended])
    assert not machine.run()
    assert (machine.versions, machine.held) == (OLD, True)


def test_what_dpkg_needed_was_another_attempt() -> None:
    """It is looked at as a whole after that, and stays."""
    machine = upgraded(unfinished={"chatmaild"}, attempts=1)
    assert machine.run()
    assert machine.remembered == [NEW]


def test_a_relay_that_was_removed() -> None:
    """Nothing is judged, nothing comes back."""
    machine = upgraded(versions={}, broken=NEW_FILTER)
    assert machine.run()
    assert (machine.state, machine.versions, machine.held) == (None, {}, False)
    assert machine.deliveries == 0


def test_the_first_state_of_all() -> None:
    """Where nothing is known to have worked, there is nothing to go back to, and it is said."""
    machine = upgraded(broken=NEW_FILTER, state=pending(good=None))
    assert machine.run()
    assert (machine.state, machine.outcome, machine.versions) == (None, None, NEW)
    assert any("nothing to go back to" in line for line in machine.said)


TAKEN_BACK: dict[str, Make] = {
    "a daemon": lambda: upgraded(broken=NEW_FILTER),
    "a template, and all units answer": lambda: upgraded(broken_configuration=True),
    "a template that is refused, after an edit": lambda: upgraded(
        broken_configuration=True, edited=EDITED
    ),
    "a template that is refused": lambda: upgraded(
        unfinished={"chatmail-relay"}, configuration=WORKS
    ),
    "another package of ours": lambda: upgraded(
        versions={**OLD, "iroh-relay": "8"}, broken={("iroh-relay", "8")}
    ),
    "a package that comes anew": lambda: upgraded(
        versions={**NEW, "chatmail-more": "2"}, broken=NEW_FILTER
    ),
    "a package that goes": lambda: upgraded(
        versions={name: version for name, version in NEW.items() if name != "iroh-relay"},
        broken=NEW_FILTER,
    ),
}


@pytest.mark.parametrize("make", TAKEN_BACK.values(), ids=TAKEN_BACK)
def test_taken_back(make: Make) -> None:
    """Packages and configuration are those from before, no more comes, and the operator knows."""
    machine = make()
    bad = {name for name, version in machine.versions.items() if OLD.get(name) != version}
    assert not machine.run()
    assert machine.versions == OLD
    assert machine.configuration == WORKS
    assert machine.held
    assert machine.outcome is not None
    assert machine.outcome.result == "packages"
    assert machine.outcome.found
    assert machine.outcome.bad.keys() >= bad
    assert machine.told == [machine.outcome]
    assert (machine.state, machine.remembered, machine.locked) == (None, [], False)
    assert machine.deliveries == 1


def test_what_the_configurator_said() -> None:
    """Where dpkg could not finish, the reason is told."""
    machine = upgraded(unfinished={"chatmail-relay"})
    machine.run()
    assert machine.outcome is not None
    assert machine.outcome.found == {
        "packages": "dpkg could not finish chatmail-relay (postfix: fatal: bad parameter)"
    }


@pytest.mark.parametrize(
    "problem",
    [
        "`dpkg` failed: chatmail-relay: it is refused\n  See this.\ndpkg: error processing",
        "`dpkg` failed: Setting up\nchatmail-relay: it is refused\ndpkg: error processing",
    ],
)
def test_where_the_configurator_says_it(problem: str) -> None:
    """In the first line of what dpkg said, or in another."""
    found = COMPLAINT.search(problem)
    assert found is not None
    assert found["said"] == "it is refused"


def test_edits_that_the_upgrade_put_into_effect() -> None:
    """When they are what does not work, the packages stay and nothing is held."""
    machine = upgraded(broken_configuration=True, state=pending(edited=True))
    assert not machine.run()
    assert (machine.versions, machine.configuration, machine.held) == (NEW, WORKS, False)
    assert machine.outcome is not None
    assert machine.outcome.result == "configuration"


def test_edits_are_not_always_the_reason() -> None:
    """When it works no better without them, the packages come back, too."""
    machine = upgraded(broken=NEW_FILTER, state=pending(edited=True))
    assert not machine.run()
    assert (machine.versions, machine.held) == (OLD, True)


def test_daemons_of_the_distribution() -> None:
    """Without packages of ours the configuration is all that comes back, and nothing is held."""
    machine = upgraded(versions=dict(OLD), broken_configuration=True)
    assert not machine.run()
    assert (machine.configuration, machine.held) == (WORKS, False)
    assert machine.outcome is not None
    assert (machine.outcome.result, machine.outcome.bad) == ("configuration", {})


def test_what_is_only_recommended_needs_no_copy() -> None:
    """Without a copy it stays as it is."""
    instant = {"dovecot-instant": "1"}
    before = pending(good=Good({**OLD, **instant}, "trixie"))
    machine = upgraded(versions={**NEW, "dovecot-instant": "2"}, broken=NEW_FILTER, state=before)
    machine.run()
    assert machine.versions == {**OLD, "dovecot-instant": "2"}


HELPLESS: dict[str, tuple[Make, str]] = {
    "a daemon of the distribution": (
        lambda: upgraded(versions=dict(OLD), always={"dovecot": "it crashes"}),
        "it crashes",
    ),
    "something else": (
        lambda: upgraded(broken=NEW_FILTER, always={"dovecot": "it crashes"}),
        "it crashes",
    ),
    "an edit that comes again": (lambda: upgraded(edited=EACH_TIME), "again and again"),
    "no copy": (
        lambda: upgraded(broken=NEW_FILTER, kept={"chatmail-relay": "1"}),
        "no copy of chatmail-relay-config, chatmaild",
    ),
    "another release of Debian": (
        lambda: upgraded(broken=NEW_FILTER, codename="forky"),
        "the distribution itself",
    ),
}


@pytest.mark.parametrize(("make", "reason"), HELPLESS.values(), ids=HELPLESS)
def test_what_cannot_be_helped(make: Make, reason: str) -> None:
    """It ends, what is left is told, and packages of ours are held when they were upgraded."""
    machine = make()
    upgraded_ours = machine.versions != OLD
    assert not machine.run()
    assert machine.outcome is not None
    assert machine.outcome.result == "helpless"
    assert reason in machine.outcome.reason
    assert machine.held == upgraded_ours
    assert machine.told
    assert machine.state is None


def test_another_release_of_debian() -> None:
    """What was made for the one before is not tried on it."""
    machine = upgraded(broken=NEW_FILTER, codename="forky")
    machine.run()
    assert (machine.versions, machine.configuration) == (NEW, WORKS + 1)


def test_mail_that_cannot_be_sent() -> None:
    """It is said in the journal, and the rest is done."""
    machine = upgraded(broken=NEW_FILTER, mail_fails=True)
    assert not machine.run()
    assert (machine.versions, machine.held, machine.state) == (OLD, True, None)
    assert any("could not be told" in line for line in machine.said)


@pytest.mark.parametrize("make", TAKEN_BACK.values(), ids=TAKEN_BACK)
def test_power_loss_anywhere(make: Make) -> None:
    """Killed at any step, the next boot ends it the same way."""
    whole = make()
    whole.run()
    for step in range(1, whole.steps + 1):
        machine = make()
        machine.dies_at = step
        machine.run_until_done()
        assert machine.versions == OLD, step
        assert machine.configuration == WORKS, step
        assert (machine.held, machine.state) == (True, None), step
        assert machine.outcome is not None
        assert machine.outcome.result == "packages", step
        assert machine.told


def test_power_loss_while_a_good_one_is_remembered() -> None:
    """It is judged again and stays."""
    machine = upgraded(dies_at=1)
    assert machine.run_until_done()
    assert machine.remembered == [NEW]
