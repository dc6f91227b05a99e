"""Which addresses another relay can have, so that its DNS cannot make this one speak to itself.

Never this machine's own, nor loopback, link-local, multicast and the like. Private networks only
where the operator's is one. https://www.iana.org/assignments/iana-ipv4-special-registry/
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")

Address = IPv4Address | IPv6Address


def problem(text: str, private: bool) -> str:
    """Why nothing is sent to this address; empty when it may be."""
    try:
        address = ip_address(text)
    except ValueError:
        return "is no address"
    if address.version == 6 and (address.scope_id or address in _SITE_LOCAL):
        return "belongs to no other server"
    return _problem(_meant(address), private) or _own(str(address))


def _meant(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where that is what is reached."""
    if isinstance(address, IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour
    if inside is None and address in _NAT64:
        inside = IPv4Address(int(address) & 0xFFFF_FFFF)
    return inside or address


def _problem(address: Address, private: bool) -> str:
    if (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or (address.version == 4 and address.packed[0] == 0)
    ):
        return "belongs to no other server"
    if not address.is_global and not (private and address.is_private):
        return "is a private address"
    return ""


def _own(text: str) -> str:
    """Whether the kernel would talk to itself; a datagram socket that connects sends nothing."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((text, 9))
            return "is this machine" if sock.getsockname()[0] == text else ""
        except OSError:
            return ""  # it cannot be reached either
