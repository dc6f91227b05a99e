"""deliver: Postfix hands over by SMTP or LMTP, and asks for routes; the network is played here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chatmaild.deliver import Limits, Sockets, serve
from chatmaild.destination import Host
from chatmaild.errors import LaterError, RefusedError, StartError
from chatmaild.routes import ONLY_PORT_25, OVER_HTTPS
from chatmaild.socketmap import netstring, read_netstring

from tests import messages as m
from tests.clients.smtp import stuffed
from tests.unit.daemons import USER, live, settings

ANN, BOB = "ann@beta.lab", "bob@beta.lab"
MESSAGE = m.encrypted(USER, ANN) + b".dot\r\n"
SOCKETS = Sockets()
VIA = b" (https://mx.beta.lab/mxdeliv)"
QUEUED = b"250 2.0.0 queued" + VIA


@dataclass
class World:
    """Servers that answer as told."""

    answer: Callable[[Sequence[str]], str] = lambda recipients: "250 2.0.0 queued"
    port_25: bool = False
    problem: Exception | None = None
    hold: asyncio.Event | None = None
    bodies: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    probes: int = 0
    closed: bool = False

    async def open(self) -> World:
        return self

    async def hosts(self, domain: str) -> Sequence[Host]:
        if self.problem:
            raise self.problem
        return [Host(f"mx.{domain}", ("192.0.2.1",))]

    async def answers(self, hosts: Sequence[Host]) -> bool:
        self.probes += 1
        return self.port_25

    async def post(
        self,
        host: Host,
        envelope: tuple[str, Sequence[str]],
        body: tuple[int, Iterator[bytes]],
        any_certificate: bool,
    ) -> str:
        assert envelope[0] in (USER, "")
        content = b"".join(body[1])
        assert len(content) == body[0]
        self.asked.append(tuple(envelope[1]))
        self.bodies.append(content)
        if self.hold:
            await self.hold.wait()
        return self.answer(envelope[1])

    async def close(self) -> None:
        self.closed = True


class Postfix:
    """One connection of Postfix's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> bytes:
        lines = []
        while True:
            lines.append(await self.reader.readline())
            if lines[-1][3:4] != b"-":
                return b"".join(lines).removesuffix(b"\r\n")

    async def say(self, line: str) -> bytes:
        self.writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def send(
        self, *recipients: str, sender: str = USER, message: bytes = MESSAGE, replies: int = 1
    ) -> list[bytes]:
        """The replies at the end of a message; the first refusal before it, if there is one."""
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients)):
            reply = await self.say(line)
            if not reply.startswith(b"250"):
                await self.say("RSET")
                return [reply]
        assert (await self.say("DATA")).startswith(b"354")
        self.writer.write(stuffed(message))
        return [await self.reply() for _ in range(replies)]


class Relay:
    """The daemon, from Postfix's side."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: list[Postfix] = []

    def close(self) -> None:
        """Hang up everywhere."""
        for connection in self._open:
            connection.writer.close()

    async def smtp(self) -> Postfix:
        """A connection because port 25 failed."""
        return await self._greeted(SOCKETS.standalone, "EHLO alpha.lab")

    async def lmtp(self) -> Postfix:
        """A connection because it was known before."""
        return await self._greeted(SOCKETS.lmtp, "LHLO alpha.lab")

    async def route(self, domain: str) -> str:
        """What the routes say of a domain."""
        reader, writer = await asyncio.open_unix_connection(self._place(SOCKETS.routes))
        writer.write(netstring(f"routes {domain}".encode()))
        reply = await read_netstring(reader)
        writer.close()
        return reply.decode().removeprefix("OK ").removesuffix("NOTFOUND ")

    async def _greeted(self, path: Path, hello: str) -> Postfix:
        connection = Postfix(*await asyncio.open_unix_connection(self._place(path)))
        self._open.append(connection)
        assert (await connection.reply()).startswith(b"220 ")
        answer = await connection.say(hello)
        assert b"8BITMIME" in answer
        assert b"DSN" not in answer
        assert b"XFORWARD" not in answer
        return connection

    def _place(self, path: Path) -> Path:
        return Path(self._root, *path.parts[1:])


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where all sockets are."""
    monkeypatch.setenv("CHATMAIL_ROOT", str(tmp_path))
    (tmp_path / "var/lib/chatmail-deliver").mkdir(parents=True)
    return tmp_path


def run(
    root: Path,
    world: World,
    client: Callable[[Relay], Awaitable[None]],
    limits: Limits | None = None,
    **values: object,
) -> None:
    """Have CLIENT use the daemon in that WORLD."""
    limits = limits or Limits(turn_seconds=5, silence_seconds=5)
    daemon = serve(settings(root, **values), SOCKETS, world.open, limits=limits)

    async def whole() -> None:
        relay = Relay(root)
        try:
            await client(relay)
        finally:
            relay.close()

    live(daemon, whole)


def test_port_25_closed(root: Path) -> None:
    """The message goes over HTTPS, byte for byte, and from then on Postfix comes at once."""
    world = World()

    async def client(relay: Relay) -> None:
        assert await relay.route("beta.lab") == ""
        postfix = await relay.smtp()
        assert await postfix.send(ANN, BOB) == [QUEUED]
        assert await relay.route("beta.lab") == OVER_HTTPS
        assert await postfix.send(ANN) == [QUEUED]
        postfix = await relay.lmtp()
        assert await postfix.send(ANN, BOB, replies=2) == [QUEUED] * 2

    run(root, world, client)
    assert world.asked == [(ANN, BOB), (ANN,), (ANN, BOB)]
    assert world.bodies == [MESSAGE] * 3
    assert world.probes == 1
    assert world.closed
    assert not list((root / "var/lib/chatmail-deliver").iterdir())


def test_port_25_answers(root: Path) -> None:
    """A server that answered there is left to Postfix, which then tells its words."""
    world = World(port_25=True)

    async def client(relay: Relay) -> None:
        postfix = await relay.smtp()
        assert (await postfix.send(ANN))[0].startswith(b"451 4.4.0 Port 25 of beta.lab can be")
        assert await relay.route("beta.lab") == ONLY_PORT_25
        assert await relay.route("gamma.lab") == ""

    run(root, world, client)
    assert not world.asked


def test_nothing_answers(root: Path) -> None:
    """The reason is told, and for a moment nothing is tried."""

    def answer(recipients: Sequence[str]) -> str:
        raise LaterError("no answer in time")

    world = World(answer)
    reason = b"451 4.4.1 beta.lab does not answer: https://mx.beta.lab/mxdeliv: no answer in time"

    async def client(relay: Relay) -> None:
        assert await (await relay.smtp()).send(ANN) == [reason]
        assert await relay.route("beta.lab") == OVER_HTTPS
        postfix = await relay.lmtp()
        assert await postfix.say(f"MAIL FROM:<{USER}>") == b"250 2.1.0 Ok"
        assert await postfix.say(f"RCPT TO:<{ANN}>") == reason
        assert await postfix.say("RCPT TO:<x@gamma.lab>") == b"250 2.1.5 Ok"

    run(root, world, client)
    assert len(world.asked) == 1


def test_own_reply_for_each(root: Path) -> None:
    """LMTP tells each recipient's reply; SMTP, which cannot, has Postfix come back."""

    def answer(recipients: Sequence[str]) -> str:
        return f"550 5.1.1 <{BOB}>: unknown" if BOB in recipients else "250 2.0.0 queued"

    async def client(relay: Relay) -> None:
        assert (await (await relay.smtp()).send(ANN, BOB))[0].startswith(b"451 4.5.0 ")
        assert await relay.route("beta.lab") == OVER_HTTPS
        postfix = await relay.lmtp()
        replies = await postfix.send(BOB, ANN, "x@gamma.lab", replies=3)
        assert [reply[:9] for reply in replies] == [b"550 5.1.1", b"250 2.0.0", b"250 2.0.0"]

    world = World(answer)
    run(root, world, client)
    assert world.asked == [(ANN, BOB), (BOB, ANN), (ANN,), ("x@gamma.lab",)]


@pytest.mark.parametrize("code", ["550 5.1.1 unknown", "450 4.2.2 full", "523 not encrypted"])
def test_refused(root: Path, code: str) -> None:
    """The only recipient's refusal is the reply, and the port stays closed to our knowledge."""

    async def client(relay: Relay) -> None:
        assert await (await relay.smtp()).send(ANN) == [code.encode() + VIA]
        assert await relay.route("beta.lab") == OVER_HTTPS

    run(root, World(lambda _: code), client)


@pytest.mark.parametrize(
    "problem", [RefusedError("550 5.1.2 no such domain"), LaterError("451 4.4.3 no DNS")]
)
def test_no_server(root: Path, problem: RefusedError | LaterError) -> None:
    """What DNS has to say is the reply, and no knowledge of the domain."""

    async def client(relay: Relay) -> None:
        assert await (await relay.smtp()).send(ANN, BOB) == [problem.message.encode()]
        assert await relay.route("beta.lab") == ""

    run(root, World(problem=problem), client)


def test_fault_of_ours(root: Path) -> None:
    """A surprise only defers the message, and LMTP stays in step."""

    async def client(relay: Relay) -> None:
        postfix = await relay.lmtp()
        replies = await postfix.send(ANN, BOB, replies=2)
        assert [reply[:9] for reply in replies] == [b"451 4.3.0"] * 2
        assert await postfix.say("NOOP") == b"250 2.0.0 Ok"

    run(root, World(problem=ValueError("odd")), client)


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        (USER, '"a b"@beta.lab'),
        (USER, "a@beta.lab,b@beta.lab"),
        (USER, "\xe4@beta.lab"),
        ('"a\\"b"@alpha.lab', ANN),
    ],
)
def test_addresses_for_port_25_alone(root: Path, sender: str, recipient: str) -> None:
    """An address that a header cannot carry waits for port 25."""
    world = World()

    async def client(relay: Relay) -> None:
        postfix = await relay.smtp()
        assert (await postfix.send(recipient, sender=sender))[0].startswith(b"451 4.6.0 ")

    run(root, world, client)
    assert not world.asked


def test_report(root: Path) -> None:
    """A report has no sender."""

    async def client(relay: Relay) -> None:
        assert await (await relay.lmtp()).send(ANN, sender="") == [QUEUED]

    run(root, World(), client)


def test_too_large(root: Path) -> None:
    """A message beyond every limit is refused for each recipient."""

    async def client(relay: Relay) -> None:
        postfix = await relay.lmtp()
        large = b"x" * 70 + b"\r\n"
        replies = await postfix.send(ANN, BOB, message=large * 20_000, replies=2)
        assert [reply[:9] for reply in replies] == [b"552 5.3.4"] * 2

    world = World()
    run(root, world, client, max_message_size=65536)
    assert not world.asked


def test_one_probe_for_many(root: Path) -> None:
    """Messages that come while the port is being tried wait for the same answer."""
    world = World()

    async def client(relay: Relay) -> None:
        connections = [await relay.smtp() for _ in range(5)]
        sent = await asyncio.gather(*(one.send(ANN) for one in connections))
        assert sent == [[QUEUED]] * 5

    run(root, world, client)
    assert world.probes <= 5
    assert len(world.asked) == 5


def test_slow_domain(root: Path) -> None:
    """Who does not answer keeps few messages busy; others are not kept from going."""
    world = World()

    async def client(relay: Relay) -> None:
        world.hold = asyncio.Event()
        connections = [await relay.lmtp() for _ in range(4)]
        sending = [asyncio.ensure_future(one.send(ANN)) for one in connections]
        done, _ = await asyncio.wait(sending, timeout=0.3)
        assert [task.result()[0][:9] for task in done] == [b"451 4.3.2"] * 2
        world.hold.set()
        await asyncio.wait(sending)
        assert (await connections[0].send("x@gamma.lab"))[0].startswith(b"250 ")

    run(root, world, client, Limits(per_domain=2, turn_seconds=0.02, silence_seconds=5))


@pytest.mark.parametrize(
    "line", ["XFORWARD NAME=x", "VRFY x", "AUTH PLAIN AAAA", "STARTTLS", "LHLO x", "HELP", "ETRN x"]
)
def test_other_commands(root: Path, line: str) -> None:
    """There is nothing here but what Postfix needs."""

    async def client(relay: Relay) -> None:
        assert (await (await relay.smtp()).say(line)).startswith(b"502 5.5.1 ")

    run(root, World(), client)


def test_unfinished_at_the_end(root: Path) -> None:
    """A message under way when the daemon ends is finished, and answered."""
    world = World()
    answered = []

    async def client(relay: Relay) -> None:
        world.hold = asyncio.Event()
        sending = asyncio.ensure_future((await relay.lmtp()).send(ANN))
        while not world.asked:
            await asyncio.sleep(0.001)
        answered.append(sending)
        asyncio.get_running_loop().call_later(0.05, world.hold.set)

    async def whole() -> None:
        relay = Relay(root)
        async with serve(settings(root), SOCKETS, world.open):
            await client(relay)
        assert await answered[0] == [QUEUED]
        relay.close()

    asyncio.run(whole())


def test_no_postfix(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Postfix is not installed the daemon says so, and does not start."""
    monkeypatch.delenv("CHATMAIL_ROOT")
    monkeypatch.setattr("pwd.getpwnam", lambda name: {}[name])
    sockets = Sockets(lmtp=tmp_path / "lmtp", routes=tmp_path / "routes", messages=tmp_path)

    async def start() -> None:
        async with serve(settings(root), sockets, World().open):
            pass

    with pytest.raises(StartError, match="no user postfix"):
        asyncio.run(start())
