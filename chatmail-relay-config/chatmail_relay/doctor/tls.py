"""The certificate, and whether each port with TLS shows it.

Certificates are judged as clients judge them (RFC 5280, RFC 6125), except where clients take any
certificate of this relay: there dates, names and the key still count.
"""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chatmail_relay import certificate, x509
from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.doctor.world import World
from chatmail_relay.x509 import Facts, Unusable

DAY = 24 * 3600.0
SOON = 10 * DAY
"""acmetool renews a month before the end, so something is wrong when so little is left."""


@dataclass(frozen=True)
class Door:
    """A port with TLS, and how a client gets there."""

    port: int
    starttls: str = ""
    alpn: str = ""

    def __str__(self) -> str:
        return f"{self.port}{f' ({self.alpn})' if self.alpn else ''}"


DOORS = (
    Door(25, starttls="smtp"),
    Door(465),
    Door(587, starttls="smtp"),
    Door(143, starttls="imap"),
    Door(993),
    Door(443),
    Door(443, alpn="smtp"),
    Door(443, alpn="imap"),
)


def look_at_file(world: World) -> Finding:
    """Judge the certificate in use."""
    settings, tree = world.settings, world.tree
    try:
        pair = certificate.read(tree, settings.certificate, settings.private_key)
        own = x509.check_fit(pair, settings.certificate_names)
    except (OSError, Unusable) as why:
        reason = f"there is no {settings.certificate}" if isinstance(why, OSError) else str(why)
        return _unusable(f"the certificate cannot be used: {reason}")
    problem = ""
    if not world.any_certificate and own.starts <= world.clock() < own.ends:
        try:
            x509.check(pair, settings.certificate_names, any_root=False, clock=world.clock)
        except Unusable as why:
            problem = str(why)
    return judge(own, problem, world.clock())


def judge(own: Facts, problem: str, now: float) -> Finding:
    """Whether clients take it now, and for a while; PROBLEM is why they do not trust it."""
    if own.ends <= now:
        return _unusable(f"the certificate has expired, on {own.ending}")
    if own.starts > now:
        return _unusable("the certificate is not valid yet")
    if problem:
        return _unusable(f"clients do not trust the certificate: {problem}")
    days = (own.ends - now) / DAY
    if own.ends - now < SOON:
        return fault(
            f"the certificate ends in {days:.0f} days, on {own.ending}",
            meaning="from then on nobody can connect",
            cause="it was not renewed in time; the authority says why",
            command="systemctl start chatmail-acme; journalctl --namespace=chatmail "
            "-u chatmail-acme -n 30",
        )
    return fine(f"good for {days:.0f} days, for {', '.join(sorted(own.names))}")


def _unusable(said: str) -> Finding:
    return fault(
        said,
        meaning="apps do not connect, and other servers do not deliver",
        cause="it was not renewed, or files were replaced by hand",
        command="chatmail-relay certificate; journalctl --namespace=chatmail -u 'chatmail-acme*' "
        "-u chatmail-certificate -n 30",
    )


def look_at_ports(world: World) -> Finding:
    """Connect to each port at each address, and compare what is shown with the file."""
    pair = certificate.read(world.tree, world.settings.certificate, world.settings.private_key)
    expected = fingerprint(ssl.PEM_cert_to_DER_cert(pair.chain[0]))
    addresses = [str(address) for address in world.addresses.published] or [world.here]
    places = [(address, door) for address in addresses for door in DOORS]
    with ThreadPoolExecutor(8) as pool:
        shown = pool.map(lambda place: _shown(world, *place), places)
        labels = [f"{door} of {address}" for address, door in places]
        return judge_ports(dict(zip(labels, shown, strict=True)), expected)


def judge_ports(shown: Mapping[str, str], expected: str) -> Finding:
    """Whether all show the certificate in use; SHOWN has fingerprints, or why there is none."""
    bad = {place: what for place, what in shown.items() if what != expected}
    if not bad:
        return fine(f"the same certificate at {len(shown)} doors")
    other = [place for place, what in bad.items() if len(what) == len(expected)]
    if other and len(other) == len(bad):
        return fault(
            f"another certificate than the one in use is shown on {', '.join(other)}",
            meaning="apps may refuse to connect there",
            cause="a daemon has not taken notice of the new one, or another program listens there",
            command="systemctl reload postfix dovecot nginx",
        )
    silent = [f"{place}: {what}" for place, what in bad.items() if place not in other]
    return fault(
        f"no TLS on {'; '.join(silent)}",
        meaning="apps or other servers cannot connect there",
        cause="a firewall on this machine, or another program that listens there",
        command="ss -tlnp; chatmail-relay firewall, which prints what has to be open; "
        "nft list ruleset",
    )


def fingerprint(der: bytes) -> str:
    """What tells a certificate from others."""
    return hashlib.sha256(der).hexdigest()


def _shown(world: World, address: str, door: Door) -> str:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if door.alpn:
        context.set_alpn_protocols([door.alpn])
    try:
        with socket.create_connection((address, door.port), world.timeout) as plain:
            if door.starttls:
                _STARTTLS[door.starttls](plain)
            name = world.settings.mail_domain
            with context.wrap_socket(plain, server_hostname=name) as secured:
                return fingerprint(secured.getpeercert(binary_form=True) or b"")
    except OSError as error:
        return str(error.strerror or error) or type(error).__name__


def _smtp(plain: socket.socket) -> None:
    _expect(plain, (b"220 ",))
    plain.sendall(b"EHLO doctor.invalid\r\n")
    _expect(plain, (b"250 ",))
    plain.sendall(b"STARTTLS\r\n")
    _expect(plain, (b"220 ",))


def _imap(plain: socket.socket) -> None:
    _expect(plain, (b"* OK",))
    plain.sendall(b"a STARTTLS\r\n")
    _expect(plain, (b"a OK",))


def _expect(plain: socket.socket, endings: Iterable[bytes]) -> None:
    """Read until a line begins with one of ENDINGS."""
    data = b""
    while not any(line.startswith(tuple(endings)) for line in data.split(b"\r\n")[:-1]):
        piece = plain.recv(4096)
        if not piece or len(data) > 65_536:
            raise OSError(f"it says {data[:60]!r} and no more")
        data += piece


_STARTTLS: dict[str, Callable[[socket.socket], None]] = {"smtp": _smtp, "imap": _imap}
