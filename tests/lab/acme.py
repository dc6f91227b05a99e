"""The lab's ACME server: pebble, the test server of Let's Encrypt's makers (RFC 8555).

    authority = lab.acme()
    trust(machine, lab.ca.root)             # its web server's certificate is of the lab's authority
    relay.change(tls_mode="acme", acme_directory=authority.directory)
    ssl.create_default_context(cadata=authority.root)

It validates over HTTP on port 80 of the names which the lab's DNS has. Each time it starts it
forgets all accounts and has another root, as a test server should.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from pathlib import Path

from devtools.run import Failure
from tests.lab import groups, namespaces, network
from tests.lab.ca import Authority
from tests.lab.state import State

NAME = "acme.lab"
PORT, MANAGEMENT = 14000, 15000
START_SECONDS = 20.0
DAY = 24 * 3600

ENVIRONMENT = {
    "PEBBLE_VA_NOSLEEP": "1",
    # Each order is validated anew, and no request is refused by chance.
    "PEBBLE_AUTHZREUSE": "0",
    "PEBBLE_WFE_NONCEREJECT": "0",
}


class Acme:
    """A running pebble in the lab's services. Made by `Lab.acme`."""

    def __init__(self, state: State, bridge: str, tree: Path, ca: Authority) -> None:
        self._state, self._bridge, self._tree, self._ca = state, bridge, tree, ca

    @property
    def directory(self) -> str:
        """Where clients begin."""
        return f"https://{NAME}:{PORT}/dir"

    @property
    def root(self) -> str:
        """The root of the certificates it gives, until it starts anew."""
        return self._fetch(f"https://{network.ROUTER4}:{MANAGEMENT}/roots/0")

    def start(self, lifetime: int = 90 * DAY) -> None:
        """Start it, or start it anew: its certificates end after LIFETIME seconds."""
        self.stop()
        folder = self._tree / "etc/pebble"
        folder.mkdir(parents=True, exist_ok=True)
        own = self._ca.issue(NAME)
        (folder / "cert.pem").write_text(own.chain, encoding="ascii")
        (folder / "key.pem").write_text(own.key, encoding="ascii")
        settings = {
            "listenAddress": f"0.0.0.0:{PORT}",
            "managementListenAddress": f"0.0.0.0:{MANAGEMENT}",
            "certificate": "/etc/pebble/cert.pem",
            "privateKey": "/etc/pebble/key.pem",
            "httpPort": 80,
            "tlsPort": 443,
            "certificateValidityPeriod": lifetime,
        }
        (folder / "config.json").write_text(json.dumps({"pebble": settings}), encoding="ascii")
        program = ["pebble", "-config", "/etc/pebble/config.json"]
        resolver = ["-dnsserver", f"{network.ROUTER4}:53"]
        command = ["ip", "netns", "exec", self._bridge, "chroot", str(self._tree), *program]
        groups.start(self._state.name, "acme", [*command, *resolver], self._state.log, ENVIRONMENT)
        self._wait()

    def stop(self) -> None:
        """Nobody answers from now on."""
        groups.kill(self._state.name, "acme")

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self._fetch(f"https://{network.ROUTER4}:{PORT}/dir")
            except OSError as error:
                if time.monotonic() > end:
                    raise Failure(f"pebble does not start: {error}") from error
                time.sleep(0.05)
            else:
                return

    def _fetch(self, url: str) -> str:
        """What its web servers say; whose they are is known here."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            namespaces.entered(namespaces.path(self._bridge)),
            urllib.request.urlopen(url, context=context, timeout=5.0) as answer,
        ):
            return str(answer.read().decode("ascii"))
