"""posting: servers one after the other, and a reply of its own for each recipient."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from chatmaild.destination import Host
from chatmaild.errors import LaterError
from chatmaild.posting import Posting

FIRST, SECOND = Host("mx1.beta.lab", ("192.0.2.1",)), Host("mx2.beta.lab", ("192.0.2.2",))
VIA = "(https://mx1.beta.lab/mxdeliv)"
ANN, BOB, CY = "ann@beta.lab", "bob@beta.lab", "cy@beta.lab"

Answer = Callable[[Host, Sequence[str]], str]


@dataclass
class Body:
    """A message."""

    size: int = 3

    def pieces(self) -> Iterator[bytes]:
        yield b"abc"


@dataclass
class World:
    """Servers that answer as told."""

    answer: Answer
    asked: list[tuple[str, tuple[str, ...], bool]] = field(default_factory=list)

    async def hosts(self, domain: str) -> Sequence[Host]:
        return [FIRST, SECOND]

    async def answers(self, hosts: Sequence[Host]) -> bool:
        return False

    async def post(
        self,
        host: Host,
        envelope: tuple[str, Sequence[str]],
        body: tuple[int, Iterator[bytes]],
        any_certificate: bool,
    ) -> str:
        assert envelope[0] == "x@alpha.lab"
        assert (body[0], b"".join(body[1])) == (3, b"abc")
        self.asked.append((host.name, tuple(envelope[1]), any_certificate))
        return self.answer(host, envelope[1])

    async def close(self) -> None:
        """Nothing is open."""


def each(world: World, *recipients: str, domain: str = "beta.lab") -> dict[str, str]:
    """The reply for each."""
    posting = Posting(world, [FIRST, SECOND], domain, "x@alpha.lab", Body())
    return asyncio.run(posting.each(recipients))


def test_accepted() -> None:
    """One request for all recipients, to the best server."""
    world = World(lambda host, recipients: "250 2.0.0 ok")
    assert each(world, ANN, BOB) == dict.fromkeys((ANN, BOB), f"250 2.0.0 ok {VIA}")
    assert world.asked == [(FIRST.name, (ANN, BOB), False)]


@pytest.mark.parametrize(("domain", "any_one"), [("_beta.lab", True), ("[192.0.2.1]", True)])
def test_certificates(domain: str, any_one: bool) -> None:
    """Who cannot have a certificate is taken with any."""
    world = World(lambda host, recipients: "250 2.0.0 ok")
    each(world, f"ann@{domain}", domain=domain)
    assert world.asked[0][2] is any_one


def test_next_server() -> None:
    """A server that does not answer is followed by the next, which then stays the one."""

    def answer(host: Host, recipients: Sequence[str]) -> str:
        if host is FIRST:
            raise LaterError("no answer in time")
        return "250 2.0.0 ok" if len(recipients) == 1 else "554 5.7.1 no"

    world = World(answer)
    assert {reply[:12] for reply in each(world, ANN, BOB).values()} == {"250 2.0.0 ok"}
    assert [name for name, *_ in world.asked] == [FIRST.name, *[SECOND.name] * 3]


def test_nobody_answers() -> None:
    """What was tried is told."""

    def answer(host: Host, recipients: Sequence[str]) -> str:
        raise LaterError(f"HTTP status 40{host.name[2]}")

    with pytest.raises(LaterError) as caught:
        each(World(answer), ANN)
    assert caught.value.message == (
        "451 4.4.1 beta.lab does not answer: https://mx1.beta.lab/mxdeliv: HTTP status 401; "
        "https://mx2.beta.lab/mxdeliv: HTTP status 402"
    )


def test_named_in_the_refusal() -> None:
    """The one whom a refusal names has it, the others are tried again together."""

    def answer(host: Host, recipients: Sequence[str]) -> str:
        if BOB in recipients:
            return "550 5.1.1 <Bob@beta.lab>: no such user"
        return "250 2.0.0 ok"

    world = World(answer)
    found = each(world, ANN, BOB, CY)
    assert [found[one][:3] for one in (ANN, BOB, CY)] == ["250", "550", "250"]
    assert [recipients for _, recipients, _ in world.asked] == [(ANN, BOB, CY), (ANN, CY)]


def test_not_named() -> None:
    """A refusal that names nobody, or two, is asked about one by one."""

    def answer(host: Host, recipients: Sequence[str]) -> str:
        if len(recipients) > 1:
            return f"523 <{ANN}> and <{BOB}>: not encrypted"
        return "250 2.0.0 ok" if recipients[0] == BOB else "523 not encrypted"

    found = each(World(answer), ANN, BOB, BOB)
    assert found == {ANN: f"523 not encrypted {VIA}", BOB: f"250 2.0.0 ok {VIA}"}


def test_silent_after_the_first() -> None:
    """A server that stops answering half way defers only those it has not answered for."""

    def answer(host: Host, recipients: Sequence[str]) -> str:
        if len(recipients) > 1:
            return "554 5.7.1 no"
        if recipients[0] == ANN:
            return "250 2.0.0 ok"
        raise LaterError("gone")

    found = each(World(answer), ANN, BOB)
    assert found[ANN].startswith("250 ")
    assert found[BOB].startswith("451 4.4.1 ")
