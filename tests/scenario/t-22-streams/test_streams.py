"""Purpose: apps play with each other over the relay's own iroh-relay, and nobody else needs it.

Two people with the real core, each at a home behind a router, share an app and its realtime
channel; between the homes no packet passes. The rest is asked as any client can.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.core import Core, Person
from tests.clients.relay import Relay, User
from tests.clients.streams import Channel, Upgrade, app, passes, share
from tests.lab import Lab

UNIT = "chatmail-iroh-relay.service"
CONFIG = "/etc/chatmail-relay/iroh-relay.toml"
KEY = "/shared/vendor/deltachat/irohrelay"
RESTART = 20.0  # seconds until members of a channel hear each other again
QUIET = 5.0  # seconds in which nothing may pass
FEW = 3


@pytest.fixture(scope="module")
def channel(
    lab: Lab, relay: Relay, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Channel, Channel]]:
    """The ends of a channel, each at a home of its own; no packet passes between the homes."""
    folder = tmp_path_factory.mktemp("streams")
    with ExitStack() as stack:
        homes = [stack.enter_context(lab.home(number)) for number in (1, 2)]
        stack.enter_context(lab.apart(*homes))
        people: list[Person] = []
        for name, home in zip(("alice", "bob"), homes, strict=True):
            core = stack.enter_context(Core(home, folder / name))
            people.append(core.join(relay.domain, name))
        alice, bob = people
        alice.befriend(bob)
        yield share(alice, bob, app(folder))


def metadata(relay: Relay, user: User, *names: str) -> dict[str, str]:
    """What the relay tells an app of itself."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        answer = imap.command(f'GETMETADATA "" ({" ".join(names)})')
    assert answer.ok, answer
    words = b"\r\n".join(answer.untagged).decode()
    found = {
        name: re.search(rf"{name} (?:\{{\d+\}}\r\n)?([^)]*?)(?: /|\))", words) for name in names
    }
    shown = {name: match[1].strip('"') for name, match in found.items() if match}
    return {name: value for name, value in shown.items() if value != "NIL"}


def restart(relay: Relay) -> None:
    """Restart the service, and wait until it answers."""
    relay.machine.run(f"systemctl restart {UNIT}")
    relay.apply()  # nothing to do but to ask every unit


def test_data_passes_both_ways(channel: tuple[Channel, Channel]) -> None:
    """Each hears the other, small and large."""
    alice, bob = channel
    assert passes(alice, bob), alice.person.log
    assert passes(bob, alice), bob.person.log
    assert passes(alice, bob, size=100_000)


def test_only_over_the_relay(relay: Relay, channel: tuple[Channel, Channel]) -> None:
    """Without the service nothing is heard; when it is back, the channel goes on by itself."""
    alice, bob = channel
    before = relay.log_position()
    relay.machine.run(f"systemctl stop {UNIT}")
    assert not passes(alice, bob, patience=QUIET)
    relay.machine.run(f"systemctl start {UNIT}")
    assert passes(alice, bob, patience=RESTART), alice.person.log
    assert passes(bob, alice, patience=RESTART), bob.person.log
    said = [line for line in relay.log_since(before).splitlines() if "iroh-relay[" in line]
    assert not [line for line in said if "10.83." in line], said


def test_what_apps_are_told(relay: Relay) -> None:
    """The URL, the number of recipients and the contact come from METADATA."""
    user = relay.signup()
    names = (KEY, "/shared/vendor/deltachat/maxsmtprecipients", "/shared/admin")
    assert metadata(relay, user, *names) == {
        KEY: f"http://{relay.domain}",
        "/shared/vendor/deltachat/maxsmtprecipients": "1000",
    }
    versions = '{"android": "2.0"}'
    relay.machine.write("/srv/versions.json", versions + "\n")
    with relay.changed(
        iroh_relay="https://streams.example",
        admin_contact="admin@example.org",
        appversions_file="/srv/versions.json",
    ):
        assert metadata(relay, user, KEY)[KEY] == "https://streams.example"
        assert metadata(relay, user, "/shared/admin") == {
            "/shared/admin": "mailto:admin@example.org"
        }
        name = "/shared/vendor/deltachat/appversions"
        assert metadata(relay, user, name) == {name: versions}
        _assert_off(relay)


def _assert_off(relay: Relay) -> None:
    """Nothing runs here, and the web server knows nothing of it."""
    state = relay.properties(UNIT, "ActiveState", "UnitFileState")
    assert state == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert ":3340" not in relay.machine.run("ss -Hltn").stdout
    for path in ("/relay", "/ping", "/generate_204"):
        assert relay.web("GET", path).status == 404


def test_switched_off(relay: Relay) -> None:
    """With `none` nothing is started, and apps are told of none."""
    user = relay.signup()
    with relay.changed(iroh_relay="none"):
        assert metadata(relay, user, KEY) == {}
        _assert_off(relay)
    assert relay.properties(UNIT, "ActiveState") == {"ActiveState": "active"}


def test_doors(relay: Relay) -> None:
    """What iroh asks for is answered with TLS, and without where apps have to come so."""
    for port in (443, 80):
        tls = port == 443
        assert relay.web("GET", "/ping", port=port, tls=tls).status == 200
        assert relay.web("GET", "/generate_204", port=port, tls=tls).status == 204
        for protocol in ("websocket", "iroh derp http"):
            with Upgrade(
                relay.place, relay.host, relay.domain, port=port, protocol=protocol
            ) as made:
                assert made.status == 101
    assert relay.web("GET", "/", port=80, tls=False).status == 308
    for address in (relay.host, f"[{relay.machine.ipv6}]"):
        done = relay.machine.run(f"curl -sm 2 http://{address}:3340/", check=False)
        assert done.returncode, "it listens on more than 127.0.0.1"


def test_limits(lab: Lab, relay: Relay) -> None:
    """One address has its number of connections; others have theirs."""
    other = lab.clients.add_address()
    with relay.changed(max_streams_per_address=FEW), ExitStack() as stack:
        for _ in range(FEW):
            made = stack.enter_context(Upgrade(relay.place, relay.host, relay.domain))
            assert made.status == 101
        with Upgrade(relay.place, relay.host, relay.domain) as refused:
            assert refused.status == 429
        with Upgrade(relay.place, relay.host, relay.domain, source=other.ipv4) as elsewhere:
            assert elsewhere.status == 101


def test_end_in_order(relay: Relay) -> None:
    """A stop ends the connections and is no failure; a crash is mended by systemd."""
    with Upgrade(relay.place, relay.host, relay.domain) as made:
        assert made.status == 101
        relay.machine.run(f"systemctl stop {UNIT}")
        assert made.ended(10)
    assert relay.properties(UNIT, "Result", "ActiveState") == {
        "Result": "success",
        "ActiveState": "inactive",
    }
    restart(relay)
    relay.machine.run(f"systemctl kill --signal=KILL {UNIT}")
    relay.machine.run(
        f"for i in $(seq 100); do sleep 0.1; systemctl is-active -q {UNIT} && exit; done; exit 1"
    )


@pytest.mark.long
def test_bandwidth(relay: Relay, channel: tuple[Channel, Channel]) -> None:
    """What one app sends passes no faster than the setting, and arrives all the same."""
    alice, bob = channel
    size, times, rate = 100_000, 5, 64 * 1024
    with relay.changed(max_stream_kib_per_second=rate // 1024):
        assert passes(alice, bob, patience=RESTART), alice.person.log
        start = time.monotonic()
        for _ in range(times):
            assert passes(alice, bob, size=size)
        assert time.monotonic() - start > (times * size - 2 * rate) / rate - 1


@pytest.mark.parametrize("change", ["s/enable_stun/enabel_stun/", "s/127.0.0.1/[::]/", "gone"])
def test_not_started_with_a_file_it_would_misread(relay: Relay, change: str) -> None:
    """A misspelled key, another address or no file: it does not run, the log says why, and an
    apply mends it."""
    before = relay.log_position()
    relay.machine.run(f"rm {CONFIG}" if change == "gone" else f"sed -i '{change}' {CONFIG}")
    done = relay.machine.run(f"systemctl restart {UNIT}", check=False)
    assert done.returncode
    relay.wait_for_log(before, rf"{CONFIG}")
    relay.wait_for_log(before, "Run `chatmail-relay apply`")
    relay.machine.run(f"systemctl stop {UNIT}")
    relay.apply()
    assert relay.properties(UNIT, "ActiveState") == {"ActiveState": "active"}


def test_sandbox(relay: Relay) -> None:
    """It may see no mail, no key and no other machine."""
    pid = relay.properties(UNIT, "MainPID")["MainPID"]
    inside = f"nsenter -t {pid} -m --"
    for path in ("/var/lib/chatmail", "/var/lib/chatmail-relay"):
        assert not relay.machine.run(f"{inside} ls {path}/", check=False).stdout, path
    shown = relay.machine.run(f"cat /proc/{pid}/status").stdout
    assert "CapEff:\t0000000000000000" in shown
    assert "NoNewPrivs:\t1" in shown
    assert relay.machine.run(f"{inside} touch {CONFIG}", check=False).returncode
