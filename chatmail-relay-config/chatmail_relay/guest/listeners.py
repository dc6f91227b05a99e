"""Programs of this machine on ports which the relay needs, as ss(8) shows them.

Whose a socket is tells the control group of its process, which is a unit's name. Where the kernel
does not tell which process it is (a container without CAP_SYS_PTRACE), it is that of the relay's
unit for this port, if that runs. An address of its
own keeps out of nobody's way: a resolver on 127.0.0.1 and the relay's on 127.0.0.83 are neighbours,
but one that listens on all addresses at once has that one, too.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from chatmail_relay.command import run
from chatmail_relay.guest.matter import Matter, Weight
from chatmail_relay.settings import Settings
from chatmail_relay.units import (
    DELIVER,
    DOVECOT,
    IROH_RELAY,
    MTAIL,
    NGINX,
    POSTFIX,
    POSTFIX_INSTANCE,
    REDIRECTOR,
    RESOLVER,
    TURN,
)

OURS = "127.0.0.83"
"""Where the relay's daemons listen for each other, and nobody else does."""
EVERYWHERE = ("*", "0.0.0.0", "::")  # noqa: S104 # as ss writes it

_MAIL = frozenset({POSTFIX, POSTFIX_INSTANCE})
_WEB = frozenset({NGINX, REDIRECTOR})
_LINE = re.compile(r"(?P<kind>tcp|udp)\s+\S+\s+\d+\s+\d+\s+(?P<where>\S+):(?P<port>\d+)\s")
_PID = re.compile(r"\bpid=(\d+)")
_UNIT = re.compile(r"(?:[^/]*/)*([^/]+\.(?:service|socket|scope))(?:/|$)")


class Listener(NamedTuple):
    """A socket that is open, and who has it: a unit's name, or a program's where it has none."""

    protocol: str
    address: str
    """Empty for all of this machine's."""
    port: int
    owner: str


class Need(NamedTuple):
    """A port that the relay's WHAT listens on, by one of UNITS."""

    protocol: str
    port: int
    units: frozenset[str]
    what: str
    address: str = ""
    """Empty for all of this machine's."""
    instead: str = ""
    """How to do without it."""


def look(read_group: Callable[[str], str] | None = None) -> list[Listener]:
    """The sockets that are open here."""
    shown = run(["ss", "-H", "-l", "-n", "-t", "-u", "-p"]).stdout
    return list(parse(shown, read_group or _group))


def parse(shown: str, read_group: Callable[[str], str]) -> Iterator[Listener]:
    """The listeners that ss has SHOWN; READ_GROUP gives the control group of a process."""
    for line in shown.splitlines():
        if found := _LINE.match(line):
            address = found["where"].strip("[]").partition("%")[0].strip("[]")
            yield Listener(
                found["kind"],
                "" if address in EVERYWHERE else address,
                int(found["port"]),
                _owner(line, read_group),
            )


def _owner(line: str, read_group: Callable[[str], str]) -> str:
    if not (pid := _PID.search(line)):
        return ""
    unit = _UNIT.search(read_group(pid[1]))
    if unit and not unit[1].endswith(".scope"):
        return unit[1]
    program = re.search(r'\(\("([^"]+)"', line)
    return program[1] if program else ""


def _group(pid: str) -> str:
    try:
        return Path("/proc", pid, "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # it has ended


def needs(settings: Settings) -> Iterator[Need]:
    """Every port that the relay listens on."""
    for port in (25, 465, 587):
        yield Need("tcp", port, _MAIL, "Postfix")
    for port in (143, 993):
        yield Need("tcp", port, frozenset({DOVECOT}), "Dovecot")
    yield Need("tcp", 80, _WEB, "nginx")
    for port in (443, 8443):
        yield Need("tcp", port, frozenset({NGINX}), "nginx")
    if settings.turn_enabled:
        without = "set `turn_enabled = no` in chatmail.ini to do without calls"
        yield Need("udp", 3478, frozenset({TURN}), "server for calls", instead=without)
    yield Need("udp", 53, frozenset({RESOLVER}), "resolver", OURS)
    yield Need("tcp", 53, frozenset({RESOLVER}), "resolver", OURS)
    yield Need("tcp", 10993, frozenset({DOVECOT}), "Dovecot", OURS)
    if settings.delivers_over_https:
        yield Need("tcp", 10084, frozenset({DELIVER}), "delivery over HTTPS", OURS)
    if settings.runs_iroh_relay:
        without = "set `iroh_relay = none` in chatmail.ini to do without streams"
        yield Need("tcp", 3340, frozenset({IROH_RELAY}), "relay for streams", "127.0.0.1", without)
    if settings.metrics_enabled:
        without = "set `metrics_enabled = no` in chatmail.ini to do without figures"
        yield Need("tcp", 3903, frozenset({MTAIL}), "counter of logs", "127.0.0.1", without)


def active(settings: Settings) -> frozenset[str]:
    """Those of the relay's units for the ports which run."""
    units = sorted(frozenset().union(*(need.units for need in needs(settings))))
    shown = run(["systemctl", "is-active", *units], check=False).stdout.split()
    return frozenset(unit for unit, state in zip(units, shown, strict=False) if state == "active")


def judge(
    settings: Settings, listeners: Iterable[Listener], running: frozenset[str] = frozenset()
) -> Iterator[Matter]:
    """Who is in the way, and which resolver goes on."""
    known = sorted(set(listeners))
    said: set[tuple[int, str]] = set()
    for need in needs(settings):
        for listener in known:
            if not listener.owner and need.units & running:
                continue
            if _collide(need, listener) and (need.port, listener.owner) not in said:
                said.add((need.port, listener.owner))
                yield _taken(need, listener)
    yield from _resolvers(known)


def _collide(need: Need, listener: Listener) -> bool:
    return (
        (need.protocol, need.port) == (listener.protocol, listener.port)
        and listener.owner not in need.units
        and (not need.address or not listener.address or need.address == listener.address)
    )


def _taken(need: Need, listener: Listener) -> Matter:
    owner = listener.owner or "another program"
    port = f"port {need.port}" + ("" if need.protocol == "tcp" else " (UDP)")
    instead = f", or {need.instead}" if need.instead else ""
    if need.address and not listener.address:
        what = f"{owner} has {port} on all addresses, {need.address} included"
        advice = f"The relay's {need.what} needs that one. {_own_addresses(owner)}{instead}."
    else:
        what = f"{owner} has {port}, which the relay's {need.what} needs"
        advice = f"{_stop(owner)}, or have it listen on another port{instead}."
    return Matter(Weight.IN_THE_WAY, what, advice)


def _own_addresses(owner: str) -> str:
    if owner.startswith("dnsmasq"):
        return "In its configuration say `bind-dynamic` and `listen-address=127.0.0.1`"
    return f"Have {owner} listen on addresses of its own, such as 127.0.0.1"


def _stop(owner: str) -> str:
    if owner.endswith((".service", ".socket")):
        return f"Stop it with `systemctl disable --now {owner}`"
    return f"Stop {owner}"


def _resolvers(listeners: Iterable[Listener]) -> Iterator[Matter]:
    """Those beside the relay's own."""
    seen: set[str] = set()
    for listener in listeners:
        if listener.port != 53 or not listener.address or listener.owner in seen:
            continue
        ours = listener.owner == RESOLVER or listener.address == OURS
        if not ours and ipaddress.ip_address(listener.address).is_loopback:
            seen.add(listener.owner)
            owner = listener.owner or "a resolver"
            yield Matter(
                Weight.SHARED,
                f"{owner} answers on {listener.address}, port 53; the relay has a resolver of "
                f"its own on {OURS}",
            )
