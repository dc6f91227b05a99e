"""The lab's DNS: Knot plays the signed root and knows every name, unbound resolves for all.

The root is one zone without delegations, signed by the lab's own key, at the addresses of the
real root servers: a relay's own validating resolver works in the lab as it is, once it trusts
that key. The key of peer.lab, another mail server, is there from the start. Records live for a
second, so that a change is seen at once.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from devtools.run import CommandFailed, Failure, run
from tests.clients import dkim
from tests.clients.dkim import Peer
from tests.lab import groups, network
from tests.lab.dnskey import ALGORITHM
from tests.lab.machine import Machine
from tests.lab.state import State

TTL = 1
START_SECONDS = 20.0

KNOT = """\
server:
    listen: [ {listen} ]
    rundir: /run/lab
database:
    storage: /var/lib/lab
log:
  - target: stderr
    any: warning
policy:
  - id: lab
    algorithm: {algorithm}
    single-type-signing: on
    manual: on
    rrsig-lifetime: 14d
    rrsig-refresh: 7d
    dnskey-ttl: 60
zone:
  - domain: .
    storage: /var/lib/lab
    file: root.zone
    zonefile-sync: -1
    dnssec-signing: on
    dnssec-policy: lab
"""

ZONE = """\
. {ttl} IN SOA a.root-servers.net. hostmaster.lab. 1 1800 900 604800 {ttl}
. 60 IN NS a.root-servers.net.
a.root-servers.net. 60 IN A {root4}
a.root-servers.net. 60 IN AAAA {root6}
"""

UNBOUND = """\
server:
    interface: {router4}
    interface: {router6}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    trust-anchor-file: /etc/lab/root.key
    cache-max-ttl: {ttl}
    cache-max-negative-ttl: {ttl}
    infra-host-ttl: 1
remote-control:
    control-enable: no
"""


Records = Mapping[tuple[str, str], Sequence[str]]
"""Name and kind → data as in a zone file."""


class Host(Protocol):
    """What has addresses, as a machine does."""

    @property
    def ipv4(self) -> str:
        """Its IPv4 address."""

    @property
    def ipv6(self) -> str:
        """Its IPv6 address."""


class Dns:
    """The lab's names. Every record set is given as a whole: `set` replaces what was there."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree

    def relay(self, domain: str, machine: Machine) -> None:
        """Publish what lets `machine` be reached as the relay `domain`.

        That is the zone which the relay itself prints, once it is installed and has this domain.
        """
        self.publish(printed(machine, domain) or names(domain, machine))

    def publish(self, records: Records) -> None:
        """Make these the only records of their names and kinds, in one change."""
        sets = list(records.items())
        unset = [self._unset(*key) for key, _values in sets]
        self._change(unset, [self._put(*key, value) for key, values in sets for value in values])

    def key(self, peer: Peer) -> None:
        """Add the record of the key with which `peer` signs its mail."""
        self.set(peer.name, "TXT", strings(peer.record))

    def host(self, name: str, host: Host) -> None:
        """Add the addresses of `host` under `name`."""
        self.set(name, "A", host.ipv4)
        self.set(name, "AAAA", host.ipv6)

    def set(self, name: str, kind: str, data: str | Sequence[str]) -> None:
        """Make `data` (as in a zone file) the only records of this name and kind."""
        self.publish({(name, kind): [data] if isinstance(data, str) else list(data)})

    def delete(self, name: str, kind: str = "") -> None:
        """Remove the records of this name, of one kind or all; none there is fine."""
        self._change([self._unset(name, kind)], [])

    def _put(self, name: str, kind: str, value: str) -> list[str]:
        return ["zone-set", ".", _absolute(name), str(TTL), kind, *_words(value)]

    def _unset(self, name: str, kind: str) -> list[str]:
        return ["zone-unset", ".", _absolute(name), *([kind] if kind else [])]

    def _change(self, unset: list[list[str]], commands: list[list[str]]) -> None:
        self._control("zone-begin", ".")
        try:
            for words in unset:
                self._control(*words, check=False)
            for words in commands:
                self._control(*words)
        except CommandFailed:
            self._control("zone-abort", ".", check=False)
            raise
        self._control("zone-commit", ".")

    def _control(self, *words: str, check: bool = True) -> bool:
        command = ["chroot", str(self._tree), "knotc", "-b", "-c", "/etc/lab/knot.conf", *words]
        return run(command, check=check).returncode == 0

    def answers(self) -> bool:
        """Tell whether the server of the root is up and has its zone."""
        return self._control("zone-status", ".", "+serial", check=False)


def strings(text: str) -> str:
    """A text as the data of a TXT record, in strings of at most 255 characters."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, max(len(text), 1), 255))


def names(domain: str, host: Host) -> Records:
    """The records that lead to a relay, as far as they are known before it is installed."""
    return {
        (domain, "A"): [host.ipv4],
        (domain, "AAAA"): [host.ipv6],
        (domain, "MX"): [f"10 {domain}."],
        (f"www.{domain}", "CNAME"): [f"{domain}."],
        (f"mta-sts.{domain}", "CNAME"): [f"{domain}."],
    }


def printed(machine: Machine, domain: str) -> Records:
    """The records which the relay on `machine` prints; none before it is `domain`."""
    shown = machine.run("chatmail-relay dns --format json", check=False)
    zone: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
    found: dict[tuple[str, str], list[str]] = {}
    for record in zone["records"] if zone.get("domain") == domain else ():
        found.setdefault((record["name"], record["type"]), []).append(record["data"])
    return found


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def _words(data: str) -> list[str]:
    """Split a record's data where a zone file would, keeping quoted strings whole."""
    return re.findall(r'"(?:[^"\\]|\\.)*"|[^\s"]+', data)


def start(state: State, bridge: str, tree: Path, key: Path) -> Dns:
    """Start both servers in the namespace `bridge`, running in the writable copy `tree`."""
    _configure(tree, key)
    enter = ["ip", "netns", "exec", bridge, "chroot", str(tree)]
    knot = groups.start(
        state.name, "knot", [*enter, "knotd", "-c", "/etc/lab/knot.conf"], state.log
    )
    groups.start(
        state.name, "unbound", [*enter, "unbound", "-d", "-c", "/etc/lab/unbound.conf"], state.log
    )
    dns = Dns(tree)
    end = time.monotonic() + START_SECONDS
    while not dns.answers():
        if knot.poll() is not None or time.monotonic() > end:
            said = state.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise Failure(f"the lab's name server does not start:\n{said}")
        time.sleep(0.05)
    dns.key(dkim.standing())
    return dns


def _configure(tree: Path, key: Path) -> None:
    for folder in ("etc/lab", "var/lib/lab", "run/lab"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    run(["cp", "-a", key / "keys", tree / "var/lib/lab/keys"])
    run(["cp", key / "root.key", tree / "etc/lab/root.key"])
    listen = ", ".join(f"{a}@53" for a in (*network.ROOT_SERVERS4, *network.ROOT_SERVERS6))
    zone = ZONE.format(ttl=TTL, root4=network.ROOT_SERVERS4[0], root6=network.ROOT_SERVERS6[0])
    unbound = UNBOUND.format(ttl=TTL, router4=network.ROUTER4, router6=network.ROUTER6)
    files = {
        "etc/lab/knot.conf": KNOT.format(listen=listen, algorithm=ALGORITHM),
        "etc/lab/unbound.conf": unbound,
        "var/lib/lab/root.zone": zone,
    }
    for name, text in files.items():
        (tree / name).write_text(text, encoding="ascii")
