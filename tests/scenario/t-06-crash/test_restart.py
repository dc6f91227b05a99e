"""Purpose: what dies is back as soon as its unit says, and what cannot start does not spin.

All daemons die at the same moment. Then none of them can start, for a reason outside of it and
for one in its settings; when the reason is gone they come back without help.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from chatmail_relay.units import units_of

from tests.clients.relay import Relay
from tests.unit.fakes import HOST, settings

DAEMONS = [unit for unit in units_of(settings(), HOST) if unit.probes]
NAMES = tuple(unit.name for unit in DAEMONS)
WITH_SETTINGS = tuple(unit.name.removesuffix(".service") for unit in DAEMONS if unit.settings)
SETTINGS = "/var/lib/chatmail-relay/settings"
START = 10.0  # seconds that a daemon may take to start, with all others, on a busy host
WINDOW = 9.0  # seconds in which starts are counted
POLL = 0.1


def running(relay: Relay, name: str) -> str:
    """The unit in which the daemon really is: Debian 12 has Postfix's in an instance."""
    instance = name.replace(".service", "@-.service")
    main = relay.properties(instance, "MainPID").get("MainPID", "0") if "@" not in name else "0"
    return instance if main != "0" else name


@pytest.fixture
def units(relay: Relay) -> Iterator[list[str]]:
    """The units of all daemons, which run before and afterwards."""
    found = [running(relay, name) for name in NAMES]
    yield found
    for unit in found:
        wait_active(relay, unit, 0, restart_delay(relay, unit) + 4 * START)


def restart_delay(relay: Relay, unit: str) -> float:
    """The seconds after which the unit says that it is started again."""
    shown = relay.properties(unit, "RestartUSec")["RestartUSec"]
    match = re.fullmatch(r"(?:([0-9]+)s)? ?(?:([0-9]+)ms)?", shown)
    assert match, f"{unit}: {shown}"
    return int(match[1] or 0) + int(match[2] or 0) / 1000


def kill(relay: Relay, units: list[str]) -> float:
    """Kill the main process of each unit; when that was, as systemd counts."""
    for unit in units:
        assert relay.properties(unit, "MainPID")["MainPID"] != "0", unit
    mains = [f"$(systemctl show --property=MainPID --value {unit})" for unit in units]
    relay.machine.run(f"kill -9 {' '.join(mains)}")
    return time.monotonic()


def wait_active(relay: Relay, unit: str, since: float, patience: float) -> float:
    """Wait until a unit became active after a moment; when it did."""
    deadline = time.monotonic() + patience
    while True:
        seen = relay.properties(unit, "ActiveState", "ActiveEnterTimestampMonotonic", "MainPID")
        entered = int(seen["ActiveEnterTimestampMonotonic"]) / 1_000_000
        if seen["ActiveState"] == "active" and entered > since:
            assert seen["MainPID"] != "0", unit
            return entered
        assert time.monotonic() < deadline, f"{unit} is {seen['ActiveState']}"
        time.sleep(POLL)


def works(relay: Relay) -> None:
    """Somebody joins and a message goes from one to another; the page is there."""
    sender, receiver = relay.signup(), relay.signup()
    relay.wait_for_mail(receiver, relay.send(sender, receiver.address))
    assert relay.web("POST", "/new").status == 200


def test_back_within_the_delay(relay: Relay, units: list[str]) -> None:
    """Killed all at once, each daemon runs again after its unit's delay, and all works."""
    killed = kill(relay, units)
    for unit in units:
        delay = restart_delay(relay, unit)
        back = wait_active(relay, unit, killed, delay + START) - killed
        assert delay - 0.5 < back < delay + START, f"{unit}: {back:.1f} s"
    works(relay)


@contextmanager
def unable(relay: Relay, units: list[str]) -> Iterator[None]:
    """Have these units' programs do nothing but fail."""
    for unit in units:
        drop_in = f"/run/systemd/system/{unit}.d/99-unable.conf"
        relay.machine.write(drop_in, "[Service]\nExecStart=\nExecStart=/bin/false\n")
    try:
        relay.machine.run("systemctl daemon-reload")
        yield
    finally:
        for unit in units:
            relay.machine.run(f"rm /run/systemd/system/{unit}.d/99-unable.conf")
        relay.machine.run("systemctl daemon-reload")


def restarts(relay: Relay, unit: str) -> int:
    """How often systemd has started the unit again."""
    return int(relay.properties(unit, "NRestarts")["NRestarts"])


def is_tried(relay: Relay, unit: str) -> bool:
    """Whether systemd is about to start a unit, or does so; it looks failed before, for as long as
    it waits for the other units that are tried."""
    deadline = time.monotonic() + 2 * START
    while relay.properties(unit, "ActiveState")["ActiveState"] != "activating":
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def test_a_daemon_that_cannot_start(relay: Relay, units: list[str]) -> None:
    """It is tried again with a pause in between, for ever, with a line in the log each time."""
    with unable(relay, units):
        began = kill(relay, units)
        before = {unit: restarts(relay, unit) for unit in units}
        time.sleep(WINDOW)
        for unit in units:
            tried = restarts(relay, unit) - before[unit]
            # One that is tried again has those which it wants tried, too.
            wanted = set(relay.properties(unit, "WantedBy")["WantedBy"].split()) & set(units)
            most = ((time.monotonic() - began) / restart_delay(relay, unit) + 1) * (1 + len(wanted))
            assert 2 <= tried <= most, f"{unit}: {tried} times"
            assert is_tried(relay, unit), unit
            log = relay.machine.run(f"journalctl -q -o cat -u {unit} -n {20 * tried}").stdout
            assert log.count("code=exited, status=1/FAILURE") >= tried - 1, log
    gone = time.monotonic()
    for unit in units:
        wait_active(relay, unit, gone, restart_delay(relay, unit) + 2 * START)
    works(relay)


def test_broken_settings(relay: Relay, units: list[str]) -> None:
    """A daemon says which line of which file is in its way, and starts when it is mended."""
    position = relay.log_position()
    relay.machine.run(f"cp -a {SETTINGS} /root/settings")
    try:
        for name in WITH_SETTINGS:
            relay.machine.run(f"echo nonsense >>{SETTINGS}/{name}.ini")
        killed = kill(
            relay, [unit for unit in units if unit.removesuffix(".service") in WITH_SETTINGS]
        )
        for name in WITH_SETTINGS:
            relay.wait_for_log(position, rf"{name}\[[0-9]+\]: .*chatmail\.ini:[0-9]+: ", START * 2)
    finally:
        relay.machine.run(f"cp -a /root/settings/. {SETTINGS}/ && rm -r /root/settings")
    for name in WITH_SETTINGS:
        unit = f"{name}.service"
        wait_active(relay, unit, killed, restart_delay(relay, unit) + 2 * START)
    works(relay)
