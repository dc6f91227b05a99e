"""destination: where a domain's mail goes, as a DNS server on this machine has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from chatmaild.destination import Destinations, Host
from chatmaild.errors import LaterError, RefusedError

Zone = Mapping[tuple[str, str], list[str]]

ZONE: Zone = {
    ("beta.lab", "MX"): ["20 mx2.beta.lab.", "10 MX1.beta.lab."],
    ("mx1.beta.lab", "A"): ["192.0.2.1"],
    ("mx1.beta.lab", "AAAA"): ["2001:db8::1"],
    ("mx2.beta.lab", "A"): ["192.0.2.2", "10.0.0.1"],
    ("_gamma.lab", "A"): ["192.0.2.3"],
    ("null.lab", "MX"): ["0 ."],
    ("inside.lab", "MX"): ["10 localhost.lab."],
    ("localhost.lab", "A"): ["10.0.0.1"],
    ("number.lab", "MX"): ["10 192.0.2.1."],
    ("number2.lab", "MX"): ["10 2130706433."],
    ("odd.lab", "MX"): ["10 a\\032b.lab."],
    ("dangling.lab", "MX"): ["10 nothing.lab."],
    ("many.lab", "MX"): [f"{n} mx{n}.many.lab." for n in range(10, 30)],
    **{(f"mx{n}.many.lab", "A"): ["192.0.2.9"] for n in range(10, 30)},
}
BROKEN = "broken.lab"
SILENT = "silent.lab"


class Server(asyncio.DatagramProtocol):
    """Answers from ZONE."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        if name == SILENT:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        texts = ZONE.get((name, dns.rdatatype.to_text(question.rdtype)), [])
        if name == BROKEN:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif texts:
            answer.answer.append(
                dns.rrset.from_text_list(question.name, 60, "IN", question.rdtype, texts)
            )
        elif not any(known == name for known, _ in ZONE):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


def may_reach(text: str) -> str:
    """10/8 is not for us."""
    return "is a private address" if text.startswith("10.") else ""


def hosts(domain: str) -> list[Host]:
    """The servers of a domain."""

    async def ask() -> list[Host]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Server, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        try:
            return await Destinations(may_reach, "127.0.0.1", port, 0.3).hosts(domain)
        finally:
            transport.close()

    return asyncio.run(ask())


def test_best_first() -> None:
    """Mail exchangers in their order, with those addresses that may be reached."""
    assert hosts("beta.lab") == [
        Host("mx1.beta.lab", ("192.0.2.1", "2001:db8::1")),
        Host("mx2.beta.lab", ("192.0.2.2",)),
    ]


def test_no_exchanger() -> None:
    """A domain without one is its own."""
    assert hosts("_gamma.lab") == [Host("_gamma.lab", ("192.0.2.3",))]


def test_not_too_many() -> None:
    """Of many exchangers only the best are tried."""
    assert [host.name for host in hosts("many.lab")] == [f"mx{n}.many.lab" for n in range(10, 15)]


@pytest.mark.parametrize(
    ("domain", "host"),
    [
        ("[192.0.2.1]", Host("192.0.2.1", ("192.0.2.1",))),
        ("[IPv6:2001:db8::1]", Host("2001:db8::1", ("2001:db8::1",))),
        ("[ipv6:2001:db8::1]", Host("2001:db8::1", ("2001:db8::1",))),
    ],
)
def test_literals(domain: str, host: Host) -> None:
    """An address literal is its own server, and nobody is asked."""
    assert hosts(domain) == [host]


@pytest.mark.parametrize(
    ("domain", "reply"),
    [
        ("nothing.lab", "550 5.1.2 nothing.lab does not exist in DNS"),
        ("null.lab", "556 5.1.10 null.lab says in DNS that it takes no mail"),
    ],
)
def test_never(domain: str, reply: str) -> None:
    """What DNS says for certain is final."""
    with pytest.raises(RefusedError) as caught:
        hosts(domain)
    assert caught.value.message == reply


@pytest.mark.parametrize(
    ("domain", "reply"),
    [
        (BROKEN, "451 4.4.3 DNS does not say where broken.lab is: NoNameservers"),
        (SILENT, "451 4.4.3 DNS does not say where silent.lab is: LifetimeTimeout"),
        ("inside.lab", "451 4.4.4 inside.lab: 10.0.0.1 is a private address"),
        ("[10.0.0.1]", "451 4.4.4 [10.0.0.1]: 10.0.0.1 is a private address"),
        ("number.lab", "451 4.4.4 number.lab: '192.0.2.1' is no name of a server"),
        ("number2.lab", "451 4.4.4 number2.lab: '2130706433' is no name of a server"),
        ("odd.lab", "451 4.4.4 odd.lab: 'a\\\\032b.lab' is no name of a server"),
        ("dangling.lab", "451 4.4.4 dangling.lab: nothing.lab has no address"),
        ("a..lab", "451 4.4.3 DNS does not say where a..lab is: EmptyLabel"),
    ],
)
def test_not_now(domain: str, reply: str) -> None:
    """What cannot be told, or must not be reached, waits, with the reason."""
    with pytest.raises(LaterError) as caught:
        hosts(domain)
    assert caught.value.message == reply
