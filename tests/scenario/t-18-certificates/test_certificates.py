"""Purpose: a relay's certificate comes from an authority, from files or from itself, and no port
is ever without one.

One machine goes through all of it, test by test: apt installs it while no authority can be
reached, then it gets a certificate, renews it, fails to, hands port 80 to nginx and back, takes
certificates from files or refuses them, makes its own, and is removed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.clients import web
from tests.clients.relay import Relay
from tests.clients.served import everywhere, same_leaf, served
from tests.lab import Lab
from tests.lab.acme import Acme
from tests.lab.ca import DAY, Issued, trust
from tests.lab.installing import Repository, install

DOMAIN = "certs.lab"
NAMES = (DOMAIN, f"www.{DOMAIN}", f"mta-sts.{DOMAIN}")
OURS = "/var/lib/chatmail-relay/tls/relay.pem"
CHAIN, KEY = "/srv/tls/fullchain.pem", "/srv/tls/privkey.pem"
LOOK_UP = f"getent ahosts mta-sts.{DOMAIN}"
CHALLENGES = "/.well-known/acme-challenge"
LIFETIME = 60
"""Seconds; acmetool renews when a third is left, and takes ten."""
SOON = 30
"""Of one that nobody renews."""
PATIENCE = 40.0


@dataclass
class World:
    """The relay, its authority and what apt said when it was installed."""

    lab: Lab
    relay: Relay
    said: str
    authority: Acme
    roots: list[str] = field(default_factory=list)

    def begin(self, lifetime: int) -> None:
        """Have the authority start anew; what it gave before is still verified."""
        self.authority.start(lifetime)
        self.roots.append(self.authority.root)

    def run(self, command: str, *, check: bool = True) -> str:
        """What a command on the machine says."""
        return self.relay.machine.run(f"exec 2>&1; {command}", check=check).stdout

    def state(self, unit: str) -> str:
        """What a unit is doing."""
        return self.run(f"systemctl is-active {unit}", check=False).strip()

    def failed(self) -> set[str]:
        """The units that failed."""
        listed = self.run("systemctl --failed --no-legend --plain --no-pager")
        return {line.split()[0] for line in listed.splitlines()}

    def leaf(self, door: str = "993") -> str:
        """The certificate that a door serves."""
        return served(self.relay.place, self.relay.host, door, DOMAIN).leaf

    def wait_for_leaf(self, right: Callable[[str], bool]) -> None:
        """Wait until the certificate served is the right one, and all daemons have it."""
        wait_for("it is served", lambda: right(self.leaf()))
        wait_for("all have it", lambda: self.state("chatmail-certificate.service") != "activating")

    def verify(self, root: str) -> None:
        """Every door serves one certificate with its full chain."""
        found = everywhere(self.relay.place, self.relay.host, DOMAIN, root)
        assert not [one.problem for one in found.values() if one.problem]
        assert {one.length for one in found.values()} == {2}
        assert len({one.leaf for one in found.values()}) == 1

    def get(self, name: str, path: str = "/") -> web.Response:
        """An answer on port 80."""
        relay = self.relay
        return web.request(relay.place, relay.host, "GET", path, name=name, port=80, tls=False)


def wait_for(what: str, ready: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def world(lab: Lab, repository: Repository, suite: str) -> Iterator[World]:
    """A machine on which apt has installed a relay while its authority was out of reach."""
    machine = lab.machine("certs", suite, "relay-deps")
    try:
        machine.wait_running()
        trust(machine, lab.ca.root)
        # The host has a target of its own, for another day.
        machine.write("/var/lib/acme/conf/target", "request:\n  provider: https://other.lab/\n")
        said = install(lab, machine, repository, DOMAIN, {"admin_contact": "admin@peer.lab"})
        yield World(lab, Relay(machine, lab.clients, DOMAIN), said, lab.acme(LIFETIME))
    finally:
        lab.remove(machine)


def test_installed_without_an_authority(world: World) -> None:
    """apt succeeds, every port is open, a timer tries again, and a failed unit says why."""
    assert "has not given a certificate yet; until then a self-signed one is used" in world.said
    found = everywhere(world.relay.place, world.relay.host, DOMAIN)
    assert all(one.leaf for one in found.values()), found
    wait_for("the first attempt", lambda: "chatmail-acme.service" in world.failed())
    assert world.failed() == {"chatmail-acme.service"}
    log = world.run("journalctl --namespace=chatmail -q -u chatmail-acme.service --no-pager")
    assert re.search(r"authority https://acme-v02\S+ cannot be asked: its name is not in DNS", log)
    assert world.state("chatmail-acme-retry.timer") == "active"
    shown = world.relay.properties("chatmail-acme-retry.timer", "TimersMonotonic")
    assert "OnActiveUSec=3min" in shown["TimersMonotonic"]


def test_what_is_missing_is_said(world: World) -> None:
    """apply and the unit name the name that DNS lacks, and the authority is not bothered."""
    world.lab.dns.delete(f"mta-sts.{DOMAIN}")
    world.relay.edit({"acme_directory": world.authority.directory})
    done = world.relay.apply(check=False)
    assert done.returncode == 0, done.stdout
    assert f"warning: mta-sts.{DOMAIN} has no address in DNS" in done.stdout
    wait_for("the unit to end", lambda: world.state("chatmail-acme.service") == "failed")
    log = world.run("journalctl --namespace=chatmail -q -u chatmail-acme.service -n 3 --no-pager")
    assert f"no certificate can be had: mta-sts.{DOMAIN} has no address in DNS" in log
    assert "tried again by itself" in log
    world.lab.dns.relay(DOMAIN, world.relay.machine)


def test_first_certificate(world: World) -> None:
    """As soon as nothing is in the way it comes, and is served whole at every port."""
    # The relay's resolver remembers for a second that the name was missing.
    wait_for("the name is known", lambda: "STREAM" in world.run(LOOK_UP, check=False))
    world.begin(LIFETIME)
    world.run("systemctl start chatmail-acme.service")
    world.wait_for_leaf(lambda leaf: same_leaf(leaf, _file(world)))
    world.verify(world.roots[-1])
    assert world.failed() == set()
    assert world.state("chatmail-acme-retry.timer") == "inactive"
    assert world.run(f"stat -c '%a %U' {OURS}").split() == ["600", "root"]
    responses = world.run("cat /var/lib/acme/conf/chatmail-relay.responses")
    assert "admin@peer.lab" in responses
    assert "acme-agreement:data:text/plain,Do%20what%20thou%20wilt" in responses


def _file(world: World) -> str:
    return world.run("cat '/var/lib/acme/live/certs.lab:chatmail-relay/fullchain'")


def test_port_80_is_acmetools(world: World) -> None:
    """An unprivileged redirector: challenges and HTTPS, and nginx is not there."""
    answer = world.get(DOMAIN, "/some?where")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{DOMAIN}/some?where")
    listener = world.run("ss -Hltnp sport = :80")
    assert "acmetool" in listener
    assert "nginx" not in listener
    user = world.run("ps -o user:20= -C acmetool").split()
    assert user == ["_chatmail-acme"]


def test_port_80_is_shared(world: World) -> None:
    """Where the host has a site on port 80, nginx serves that, and redirects for the relay."""
    site = "server {\n\tlisten 80;\n\tserver_name own.lab;\n\treturn 200 'own site';\n}\n"
    world.relay.machine.write("/etc/nginx/conf.d/own.conf", site)
    world.relay.apply()
    assert world.get("own.lab").body == b"own site"
    assert world.get(DOMAIN).headers["location"] == f"https://{DOMAIN}/"
    assert world.state("chatmail-acme-redirector.service") == "inactive"


def test_renewed_under_traffic(world: World) -> None:
    """A short-lived certificate is replaced, and no connection fails or sees an old one.

    nginx gives the authority acmetool's answers meanwhile.
    """
    before = world.leaf()
    # Anew, the authority has forgotten the account and has another root: both are taken.
    world.begin(SOON)
    roots = "".join(world.roots)
    problems: list[str] = []
    seen: set[str] = set()
    done = threading.Event()

    def connect() -> None:
        while not done.is_set():
            for door in ("465", "993", "443", "25"):
                found = served(world.relay.place, world.relay.host, door, DOMAIN, roots)
                seen.add(found.leaf)
                if found.problem:
                    problems.append(found.problem)

    wait_for("it is due", lambda: _ends_within(world, LIFETIME / 3 - 1))
    traffic = threading.Thread(target=connect)
    traffic.start()
    try:
        world.run("systemctl start chatmail-acme.service")
        world.wait_for_leaf(lambda leaf: leaf != before)
    finally:
        done.set()
        traffic.join()
    assert problems == []
    assert len(seen) == 2


def _ends_within(world: World, seconds: float) -> bool:
    return "will expire" in world.run(
        f"openssl x509 -in {OURS} -noout -checkend {seconds:.0f}", check=False
    )


def test_failed_renewal(world: World) -> None:
    """A failed unit that says why, and what was there is served on."""
    before = world.leaf()
    world.authority.stop()
    wait_for("it is due", lambda: _ends_within(world, SOON / 3 - 1))
    world.run("systemctl start chatmail-acme.service", check=False)
    assert world.failed() == {"chatmail-acme.service"}
    log = world.run("journalctl --namespace=chatmail -q -u chatmail-acme.service -n 3 --no-pager")
    assert "cannot be asked: connection refused" in log
    assert world.state("chatmail-acme-retry.timer") == "active"
    assert world.leaf() == before


def test_port_80_is_given_back(world: World) -> None:
    """Without a site of the host it is acmetool's again."""
    world.run("rm /etc/nginx/conf.d/own.conf")
    world.relay.apply()
    assert world.get("own.lab").status == 308
    assert world.state("chatmail-acme-redirector.service") == "active"


def _put(world: World, issued: Issued, key: Issued | None = None) -> None:
    world.relay.machine.write(KEY, (key or issued).key, 0o600)
    world.relay.machine.write(CHAIN, issued.chain)


def test_from_files(world: World) -> None:
    """Another program's certificate is taken over when it changes."""
    ca = world.lab.ca
    _put(world, ca.issue(*NAMES))
    world.relay.change(tls_mode="external", tls_certificate_file=CHAIN, tls_private_key_file=KEY)
    world.verify(ca.root)
    assert world.get(DOMAIN).status == 308
    assert world.state("chatmail-acme-redirector.service") == "inactive"
    assert world.state("chatmail-acme.timer") == "inactive"
    renewed = ca.issue(DOMAIN, f"*.{DOMAIN}")
    _put(world, renewed)
    world.wait_for_leaf(lambda leaf: same_leaf(leaf, renewed.leaf))
    world.verify(ca.root)
    assert world.failed() == set()


def _refused(world: World) -> Iterator[tuple[str, str, Issued, Issued | None]]:
    """What is refused, in which words, the certificate and a key of another one."""
    ca = world.lab.ca
    good = ca.issue(*NAMES)
    yield "another's key", "the private key is not its own", good, ca.issue(*NAMES)
    late = ca.issue(*NAMES, starts=-2 * DAY, ends=-DAY)
    yield "expired", "it ended on ", late, None
    alone = Issued(good.leaf, "", good.key)
    yield "without its issuer", "its chain is missing", alone, None
    yield "lacks a name", f"it is not for mta-sts.{DOMAIN}", ca.issue(*NAMES[:2]), None


def test_refused_files(world: World) -> None:
    """What clients would not take is not taken: a failed unit says why, the old one stays."""
    before = world.leaf()
    for what, words, issued, key in _refused(world):
        world.run("systemctl reset-failed")
        position = world.relay.log_position()
        _put(world, issued, key)
        line = world.relay.wait_for_log(position, f"{CHAIN} is not used: ")
        assert words in line, what
        wait_for(what, lambda: world.failed() == {"chatmail-certificate.service"})
        assert world.leaf() == before, what
    assert "warning: " in world.relay.apply().stdout
    assert world.leaf() == before
    _put(world, world.lab.ca.issue(*NAMES))
    world.wait_for_leaf(lambda leaf: leaf != before)
    wait_for("all is well", lambda: world.failed() == set())


def test_self_signed(world: World) -> None:
    """Back to one of its own, and nothing of the other modes is left running."""
    world.relay.change(tls_mode="self-signed")
    leaf = world.leaf()
    assert same_leaf(world.run(f"cat {OURS}"), leaf)
    assert (
        "chatmail relay"
        in world.relay.machine.run("openssl x509 -noout -issuer", stdin=leaf).stdout
    )
    for unit in (
        "chatmail-acme-redirector.service",
        "chatmail-acme.timer",
        "chatmail-certificate.path",
    ):
        assert world.state(unit) == "inactive"
    assert "apply" not in world.run("chatmail-relay certificate")


def test_removed(world: World) -> None:
    """acmetool's folder is the host's again: its own files stay, ours are gone."""
    world.relay.change(tls_mode="acme", acme_directory=world.authority.directory)
    world.run("DEBIAN_FRONTEND=noninteractive apt purge -y chatmail-relay")
    left = world.run("ls /var/lib/acme/conf /var/lib/acme/desired /run/acme 2>&1", check=False)
    assert "target" in left
    assert "chatmail" not in left
    assert "challenge" not in left
    assert world.run("systemctl list-units --all 'chatmail-*' --no-legend --no-pager") == ""
    assert world.run("cat /var/lib/acme/conf/target").startswith("request:")
