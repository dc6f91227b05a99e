"""filtermail whole, on unix sockets: Postfix's side of both, and doveauth's, are played here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chatmaild.envelope import Envelope
from chatmaild.places import LARGE, Places
from chatmaild.reinject import Limits
from chatmaild.smtpserver import Gate
from chatmaild.socketmap import cut_netstring, netstring

from chatmaild import figuresources, filtermail, rules, smtpserver
from tests import messages as m
from tests.clients.dkim import Peer, rsa_key
from tests.clients.smtp import stuffed
from tests.unit.daemons import USER, settings
from tests.unit.nameserver import Answer, nameserver

PEER = "bob@_beta.lab"
SIGNER = Peer(rsa_key(), "_beta.lab")
GOOD = m.encrypted(USER, PEER)
LIMITS = Limits(connections=2, idle=2, idle_seconds=5, command_seconds=5, content_seconds=5)


@dataclass
class Postfix:
    """The reinjection's side: answers as told, keeps what it was given."""

    answers: dict[bytes, bytes] = field(default_factory=dict)
    commands: list[bytes] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)
    connections: int = 0
    hang_up_after: int = 0  # messages, then closes; 0 is never
    hang_up_at: bytes = b"-"  # a command, the greeting, or the content
    hold: asyncio.Event | None = None  # the reply to content waits for it
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.speak(reader, writer)
        writer.close()

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = 0
        if self.hang_up_at == b"greeting":
            return
        writer.write(b"220 postfix\r\n")
        while line := (await reader.readline()).removesuffix(b"\r\n"):
            if line.startswith(self.hang_up_at):
                return
            if line.startswith(b"EHLO"):
                writer.write(b"250-postfix\r\n250 XFORWARD NAME ADDR\r\n")
                continue
            self.commands.append(line)
            reply = self.answer(line)
            writer.write(reply + b"\r\n")
            if reply.startswith(b"354"):
                self.content.append((await reader.readuntil(b"\r\n.\r\n"))[:-3])
                self.arrived.set()
                if self.hold:
                    await self.hold.wait()
                if self.hang_up_at == b".":
                    return
                writer.write(self.answers.get(b".", b"250 2.0.0 queued") + b"\r\n")
                served += 1
                if served == self.hang_up_after:
                    return

    def answer(self, line: bytes) -> bytes:
        for start, reply in self.answers.items():
            if line.startswith(start):
                return reply
        return b"354 go on" if line == b"DATA" else b"250 2.0.0 Ok"


class Wire:
    """Postfix's side of the filter."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> bytes:
        lines = []
        while True:
            lines.append(await self.reader.readline())
            if lines[-1][3:4] != b"-":
                return b"".join(lines).removesuffix(b"\r\n")

    async def say(self, line: bytes) -> bytes:
        self.writer.write(line + b"\r\n")
        return await self.reply()

    async def deliver(
        self,
        message: bytes,
        sender: str = USER,
        recipients: tuple[str, ...] = (PEER,),
        parameters: str = "",
    ) -> bytes:
        """The reply to a message, after those before it were good."""
        for command in (
            f"MAIL FROM:<{sender}>{parameters}",
            *(f"RCPT TO:<{recipient}>" for recipient in recipients),
        ):
            assert (await self.say(command.encode())).startswith(b"250")
        assert (await self.say(b"DATA")).startswith(b"354")
        self.writer.write(stuffed(message))
        return await self.reply()


@dataclass
class Site:
    """A running filter and what is around it."""

    sockets: filtermail.Sockets
    outgoing: Postfix
    incoming: Postfix
    stop: Callable[[], Coroutine[None, None, None]]
    open: list[asyncio.StreamWriter] = field(default_factory=list)
    records: dict[str, Answer] = field(default_factory=lambda: {SIGNER.name: [SIGNER.record]})

    async def connect(self, incoming: bool = False) -> Wire:
        path = self.sockets.incoming if incoming else self.sockets.outgoing
        wire = Wire(*await asyncio.open_unix_connection(path))
        self.open.append(wire.writer)
        assert (await wire.reply()).startswith(b"220 _alpha.lab")
        assert b"XFORWARD" in await wire.say(b"EHLO mx.lab")
        return wire

    async def policy(self, consents: dict[bytes, bytes], asked: list[bytes]) -> asyncio.Server:
        """doveauth's side: answers as told."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            buffer = bytearray()
            self.open.append(writer)
            while data := await reader.read(1000):
                buffer += data
                while (request := cut_netstring(buffer)) is not None:
                    asked.append(request)
                    writer.write(netstring(consents.get(request.split()[1], b"NOTFOUND ")))
            writer.close()

        return await asyncio.start_unix_server(serve, self.sockets.policy)


Test = Callable[[Site], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Run a test against a filter with the given settings."""

    def run(test: Test, **values: object) -> None:
        names = ("outgoing", "incoming", "reinject-out", "reinject-in", "policy", "counts")
        sockets = filtermail.Sockets(*(tmp_path / name for name in names))

        async def all_of_it() -> None:
            async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
                daemon = await stack.enter_async_context(contextlib.AsyncExitStack())
                site = Site(sockets, Postfix(), Postfix(), daemon.aclose)
                stack.push_async_callback(closed, site)
                for path, postfix in (
                    (sockets.reinject_outgoing, site.outgoing),
                    (sockets.reinject_incoming, site.incoming),
                ):
                    server = await asyncio.start_unix_server(postfix.serve, path, limit=1 << 26)
                    stack.callback(server.close)
                resolver = await stack.enter_async_context(nameserver(site.records))
                await daemon.enter_async_context(
                    filtermail.serve(settings(tmp_path, **values), sockets, LIMITS, resolver)
                )
                await test(site)

        asyncio.run(all_of_it())

    return run


async def closed(site: Site) -> None:
    """Stop the filter, and close everything else."""
    await site.stop()
    for writer in (*site.open, *site.outgoing.open, *site.incoming.open):
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


Run = Callable[..., None]


def test_hands_on_byte_for_byte(run: Run) -> None:
    """Postfix gets what it gave: content, dots, client's attributes, parameters."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        dotted = m.encrypted(USER, PEER, extra=["X-Dots: a", ".b: c", "..: d"])
        assert (await wire.say(b"XFORWARD NAME=a ADDR=192.0.2.1")).startswith(b"250")
        assert (await wire.say(b"XFORWARD HELO=b")).startswith(b"250")
        mail = b"MAIL FROM:<%b> size=9 RET=HDRS SMTPUTF8" % USER.encode()
        assert (await wire.say(mail + b" AUTH=<>")).startswith(b"250")
        rcpt = "RCPT TO:<bób@b.lab> NOTIFY=NEVER ORCPT=rfc822;x".encode()
        assert (await wire.say(rcpt)).startswith(b"250")
        assert (await wire.say(b"DATA")).startswith(b"354")
        wire.writer.write(stuffed(dotted))
        assert await wire.reply() == b"250 2.0.0 queued"
        assert site.outgoing.content == [stuffed(dotted)[:-3]]
        assert site.outgoing.commands == [
            b"XFORWARD NAME=a ADDR=192.0.2.1",
            b"XFORWARD HELO=b",
            mail,
            rcpt,
            b"DATA",
        ]
        assert (await wire.say(b"QUIT")).startswith(b"221")
        assert await wire.reader.read() == b""

    run(test)


def test_puts_a_subject_before(run: Run) -> None:
    """A message with a subject of its own goes on with the one that says nothing before it."""
    message = GOOD.replace(b"Subject: [...]", b"Subject: our plan")

    async def test(site: Site) -> None:
        wire = await site.connect()
        assert (await wire.deliver(message)).startswith(b"250")
        assert site.outgoing.content == [rules.SUBJECT + stuffed(message)[:-3]]

    run(test)


def test_replies_are_postfix_s(run: Run) -> None:
    """What the reinjection says at the end reaches the client in every line."""

    async def test(site: Site) -> None:
        for reply in (b"554-5.7.1 one\r\n554 5.7.1 two", b"451 4.7.1 milter", b"552 5.3.4 big"):
            site.outgoing.answers[b"."] = reply
            wire = await site.connect()
            assert await wire.deliver(GOOD) == reply

    run(test)


@pytest.mark.parametrize("command", [b"MAIL", b"RCPT TO:<second", b"DATA"])
def test_a_refused_recipient_refuses_all(run: Run, command: bytes) -> None:
    """Nothing is sent when Postfix refuses before the content; the next message is not hurt."""

    async def test(site: Site) -> None:
        site.outgoing.answers[command] = b"550 5.1.1 no"
        wire = await site.connect()
        both = (PEER, "second@b.lab")
        assert await wire.deliver(GOOD, recipients=both) == b"550 5.1.1 no"
        site.outgoing.answers.clear()
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert len(site.outgoing.content) == 1

    run(test)


def test_refusals_come_at_the_end(run: Run) -> None:
    """Postfix hands on only replies to content: cleartext, too much, too large."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        assert await wire.deliver(m.cleartext(USER, PEER)) == rules.ENCRYPTION_NEEDED
        other = "other6789@_alpha.lab"
        reply = await wire.deliver(GOOD, sender=other)
        assert reply == f"500 Invalid FROM <{USER}> for <{other}>".encode()
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert await wire.deliver(GOOD) == b"450 4.7.1 Too much mail from " + USER.encode()
        big = m.encrypted("big456789@_alpha.lab", PEER, 200_000)
        assert await wire.deliver(big, "big456789@_alpha.lab") == rules.TOO_LARGE
        assert len(site.outgoing.content) == 1
        assert await wire.say(b"NOOP") == b"250 2.0.0 Ok"

    run(test, max_user_send_burst=2, max_user_send_per_minute=1, max_message_size=100_000)


def test_reinjection_down(run: Run) -> None:
    """Without a reply from Postfix there is no 250, whenever it goes away."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        for where in (b"greeting", b"EHLO", b"MAIL", b"DATA", b"."):
            site.outgoing.hang_up_at = where
            assert await wire.deliver(GOOD) == rules.REINJECTION_FAILED, where
        site.outgoing.hang_up_at = b"-"
        site.outgoing.answers[b"XFORWARD"] = b"550 5.7.0 insufficient authorization"
        await wire.say(b"XFORWARD NAME=x")
        assert await wire.deliver(GOOD) == rules.REINJECTION_FAILED
        site.sockets.reinject_outgoing.unlink()
        assert await wire.deliver(GOOD) == rules.REINJECTION_FAILED

    run(test)


def test_connections_are_kept(run: Run) -> None:
    """One connection serves many messages; one that Postfix closed meanwhile costs nothing."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        for _ in range(3):
            assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert site.outgoing.connections == 1
        site.outgoing.hang_up_after = 4
        for _ in range(3):
            assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert len(site.outgoing.content) == 6
        assert site.outgoing.connections == 2

    run(test)


def test_kept_connection_that_ends_with_421(run: Run) -> None:
    """Postfix's goodbye on a kept connection is not the next message's reply."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        answer = site.outgoing.answer
        site.outgoing.answer = functools.partial(once_421, [True], answer)  # type: ignore[method-assign]
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert site.outgoing.connections == 2

    run(test)


def test_kept_connection_whose_milter_was_restarted(run: Run) -> None:
    """What a kept one defers goes over a new one; one whose content was deferred is not kept."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        away = b"451 4.7.1 Service unavailable - try again later"
        answer = site.outgoing.answer
        site.outgoing.answer = functools.partial(once_away, [away], answer)  # type: ignore[method-assign]
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert site.outgoing.connections == 2
        site.outgoing.answers[b"."] = away
        assert await wire.deliver(GOOD) == away
        del site.outgoing.answers[b"."]
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert site.outgoing.connections == 3

    run(test)


def once_away(left: list[bytes], answer: Callable[[bytes], bytes], line: bytes) -> bytes:
    """What is left to the first MAIL, then what was answered before."""
    return left.pop() if left and line.startswith(b"MAIL") else answer(line)


def once_421(left: list[bool], answer: Callable[[bytes], bytes], line: bytes) -> bytes:
    """421 to the first command, then what was answered before."""
    return b"421 4.3.2 bye" if left and left.pop() else answer(line)


def test_consent(run: Run) -> None:
    """Cleartext comes in when every recipient wants it; unknown is later; reports always do."""

    async def test(site: Site) -> None:
        wire, asked = await site.connect(incoming=True), list[bytes]()
        text, two = SIGNER.sign(m.cleartext(PEER, USER)), ("Abc@_alpha.lab", "xyz@_alpha.lab")
        assert await wire.deliver(text, PEER, two) == rules.CONSENT_UNKNOWN
        consents = {b"abc@_alpha.lab": b"OK "}
        server = await site.policy(consents, asked)
        assert await wire.deliver(text, PEER, two) == rules.ENCRYPTION_NEEDED
        assert asked == [b"cleartext abc@_alpha.lab", b"cleartext xyz@_alpha.lab"]
        assert await wire.deliver(text, PEER, two[:1]) == b"250 2.0.0 queued"
        consents[b"xyz@_alpha.lab"] = b"TEMP busy"
        assert await wire.deliver(text, PEER, two) == rules.CONSENT_UNKNOWN
        consents[b"xyz@_alpha.lab"] = b"OK x"
        assert await wire.deliver(text, PEER, two) == b"250 2.0.0 queued"
        report = SIGNER.sign(m.report(SIGNER.domain, USER))
        assert await wire.deliver(report, "", two) == b"250 2.0.0 queued"
        server.close()

    run(test)


def test_incoming_is_signed(run: Run) -> None:
    """By the domain of its author, whoever else signed; a key that cannot be had is later."""

    async def test(site: Site) -> None:
        wire, message = await site.connect(incoming=True), m.encrypted(PEER, USER)
        long = m.encrypted(PEER, USER, size=200_000)
        fail, gone, other = (SIGNER.at(selector=name) for name in ("fail", "gone", "other"))
        other = other.at(domain="other.lab")
        site.records |= {fail.name: 2, other.name: [SIGNER.record]}
        for signed, reply in (
            (message, rules.UNSIGNED),
            (SIGNER.sign(message), b"250 2.0.0 queued"),
            (other.sign(message), rules.UNSIGNED),
            (other.sign(SIGNER.sign(message)), b"250 2.0.0 queued"),
            (gone.sign(message), rules.UNSIGNED),
            (fail.sign(message), rules.SIGNATURE_UNKNOWN),
            (fail.sign(gone.sign(message)), rules.SIGNATURE_UNKNOWN),
            (fail.sign(SIGNER.sign(message)), b"250 2.0.0 queued"),
            (fail.at(domain="other.lab").sign(message), rules.UNSIGNED),
            (SIGNER.sign(long), b"250 2.0.0 queued"),
            (SIGNER.sign(long).replace(b"\r\nTo: ", b"\r\nTo: <x@y.lab>, "), rules.UNSIGNED),
        ):
            assert await wire.deliver(signed, PEER, (USER,)) == reply

    run(test)


def test_incoming_envelope(run: Run) -> None:
    """A sender that is not the author becomes empty, parameters stay; our own domain stays out."""

    async def test(site: Site) -> None:
        wire = await site.connect(incoming=True)
        message = SIGNER.sign(m.encrypted(PEER, USER))
        assert await wire.deliver(message, "x@y.lab", (USER,), " SIZE=9") == b"250 2.0.0 queued"
        assert await wire.deliver(message, PEER, (USER,)) == b"250 2.0.0 queued"
        assert await wire.deliver(GOOD, USER, (USER,)) == rules.OWN_DOMAIN
        senders = [line for line in site.incoming.commands if line.startswith(b"MAIL")]
        assert senders == [b"MAIL FROM:<> SIZE=9", f"MAIL FROM:<{PEER}>".encode()]

    run(test)


def transaction(message: bytes) -> bytes:
    commands = f"MAIL FROM:<{USER}>\r\nRCPT TO:<{PEER}>\r\nDATA\r\n"
    return commands.encode() + stuffed(message)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000, 1 << 20])
def test_however_it_is_cut(run: Run, size: int) -> None:
    """Pipelined or byte by byte: several messages, none mixed up with another."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        small = m.encrypted(USER, PEER, 20)
        empty = transaction(b"").replace(b"\r\n\r\n.", b"\r\n.")
        stream = transaction(small) + empty + transaction(b".\r\nx") + transaction(small)
        stream += b"QUIT\r\n"
        for at in range(0, len(stream), size):
            wire.writer.write(stream[at : at + size])
            if size < 1000:
                await asyncio.sleep(0)
        replies = (await wire.reader.read()).split(b"\r\n")
        last = [reply for reply in replies if not reply.startswith((b"250 2.1", b"354"))]
        refused = [rules.MALFORMED_HEADER] * 2
        assert last == [b"250 2.0.0 queued", *refused, b"250 2.0.0 queued", b"221 2.0.0 Bye", b""]
        assert site.outgoing.content == [small, small]

    run(test)


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r"], ids=repr
)
def test_only_crlf_dot_crlf_ends_a_message(run: Run, end: bytes) -> None:
    """What another server could take for the end is content, and refused for it."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        smuggled = b"MAIL FROM:<evil@x.lab>\r\nRCPT TO:<y@z.lab>\r\nDATA\r\n"
        wire.writer.write(transaction(GOOD)[:-3] + b"x" + end + smuggled + b"hi\r\n.\r\n")
        replies = [await wire.reply() for _ in range(4)]
        assert replies[3] in (rules.BARE_NEWLINE, rules.ENCRYPTION_NEEDED)
        assert not site.outgoing.content
        assert await wire.say(b"NOOP") == b"250 2.0.0 Ok"

    run(test)


BAD_COMMANDS = {
    b"MAIL FROM:<a@b": b"501",
    b"MAIL TO:<a@b>": b"501",
    b"MAIL FROM:<a b@c>": b"501",
    b"MAIL FROM:<a@b> X=1": b"555",
    b"MAIL FROM:<a@b> BODY=BINARYMIME": b"555",
    b"RCPT TO:<a@b>": b"503",
    b"DATA": b"503",
    b"STARTTLS": b"502",
    b"AUTH PLAIN": b"502",
    b"VRFY root": b"502",
    b"XFORWARD": b"501",
    b"\xff\0": b"502",
    b"": b"502",
}


def test_bad_commands(run: Run) -> None:
    """Each has its reply, and the connection goes on."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        for command, code in BAD_COMMANDS.items():
            assert (await wire.say(command)).startswith(code), command
        assert (await wire.say(b"MAIL FROM:<>")).startswith(b"250")
        for command, code in {
            b"MAIL FROM:<>": b"503",
            b"XFORWARD NAME=x": b"503",
            b"RCPT TO:<>": b"501",
            b"RCPT TO:<a@b> SIZE=1": b"555",
            b"DATA": b"503",
            b"RSET": b"250",
            b"HELO x": b"250",
        }.items():
            assert (await wire.say(command)).startswith(code), command

    run(test)


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP " + b"x" * 5000, b"x" * 5000])
def test_bare_newlines_and_long_lines_end_the_connection(run: Run, line: bytes) -> None:
    """Nobody who speaks like that is Postfix."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        wire.writer.write(line)
        assert (await wire.reader.read()).startswith((b"521", b"500"))

    run(test)


def test_a_crash_is_one_message_s(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the rules is 4xx for that message; the connection goes on."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        with monkeypatch.context() as patch:
            patch.setattr(rules, "outgoing", lambda *_: 1 / 0)
            assert await wire.deliver(GOOD) == rules.FILTER_FAILED
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"

    run(test)


def test_large_messages_wait_for_a_place(run: Run) -> None:
    """More large messages than places, one whose client goes away: all others pass."""

    async def test(site: Site) -> None:
        big = m.encrypted(USER, PEER, LARGE * 5, crc=False)
        leaving = [await site.connect() for _ in range(3)]
        for wire in leaving:
            wire.writer.write(transaction(big)[:-10])
        await asyncio.sleep(0.05)
        for wire in leaving:
            wire.writer.close()
        wires = [await site.connect() for _ in range(5)]
        replies = await asyncio.gather(*(wire.deliver(big) for wire in wires))
        assert replies == [b"250 2.0.0 queued"] * 5
        assert set(site.outgoing.content) == {big}

    run(test)


def test_stopping_finishes_messages_under_way(run: Run) -> None:
    """A message that Postfix is about to take is answered; who is idle is told goodbye."""

    async def test(site: Site) -> None:
        idle, busy = await site.connect(), await site.connect()
        site.outgoing.hold = asyncio.Event()
        reply = asyncio.create_task(busy.deliver(GOOD))
        await site.outgoing.arrived.wait()
        stopping = asyncio.create_task(site.stop())
        assert (await idle.reply()).startswith(b"421")
        assert not stopping.done()
        site.outgoing.hold.set()
        assert await reply == b"250 2.0.0 queued"
        assert (await busy.reply()).startswith(b"421")
        await stopping
        with pytest.raises(OSError):
            await site.connect()

    run(test)


def test_no_address_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens to a message, and however much is logged, nobody is named."""
    caplog.set_level(logging.DEBUG)

    async def test(site: Site) -> None:
        wire = await site.connect()
        assert await wire.say(b"XFORWARD NAME=client.lab ADDR=192.0.2.1") == b"250 2.0.0 Ok"
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert await wire.deliver(m.cleartext(USER, PEER)) == rules.ENCRYPTION_NEEDED
        site.outgoing.hang_up_at = b"."
        assert await wire.deliver(GOOD) == rules.REINJECTION_FAILED
        await wire.say(f"MAIL FROM:<{USER}> UNKNOWN={PEER}".encode())
        await wire.say(f"VRFY {USER}".encode())

    run(test)
    assert "outgoing: refused, 523 (unencrypted)" in caplog.text
    assert not [word for word in (USER, PEER, "192.0.2.1", "client.lab") if word in caplog.text]


class Judge(Gate):
    """Takes everything, once it may."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self.was_cancelled = False

    def refuse_early(self, envelope: Envelope) -> None:
        return None

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        self.asked.set()
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return b"250 taken"


def connected(
    timeout: float, test: Callable[[Wire, Judge, set[smtpserver.Connection]], Awaitable[None]]
) -> None:
    """Run a test against one connection of the server."""

    async def all_of_it() -> None:
        judge, peers = Judge(), set[smtpserver.Connection]()
        ours, theirs = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: smtpserver.Connection(
                judge, Places(1), peers, hostname="x.lab", max_size=1000, timeout=timeout
            ),
            ours,
        )
        wire = Wire(*await asyncio.open_unix_connection(sock=theirs))
        assert (await wire.reply()).startswith(b"220 x.lab")
        async with asyncio.timeout(10):
            await test(wire, judge, peers)
        wire.writer.close()
        await smtpserver.finish(peers, 1)

    asyncio.run(all_of_it())


def test_silence_ends_the_connection() -> None:
    """Postfix is waited for only so long, and told; but never while it waits for us."""

    async def test(wire: Wire, judge: Judge, peers: set[smtpserver.Connection]) -> None:
        wire.writer.write(transaction(b"a"))
        assert [(await wire.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        await judge.asked.wait()
        (connection,) = peers
        connection._timeout_cb()
        judge.answer.set()
        assert await wire.reply() == b"250 taken"
        assert await wire.reader.read() == b"421 4.4.2 Timeout\r\n"

    connected(0.05, test)


def test_a_client_that_leaves_takes_its_message_along() -> None:
    """Without anybody to reply to, nothing is passed on: it would come twice."""

    async def test(wire: Wire, judge: Judge, peers: set[smtpserver.Connection]) -> None:
        wire.writer.write(transaction(b"a"))
        await judge.asked.wait()
        wire.writer.close()
        await wire.writer.wait_closed()
        while peers:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert judge.was_cancelled

    connected(5, test)


@pytest.mark.parametrize("cut", range(1, 16))
def test_the_largest_message(cut: int) -> None:
    """It passes whatever pieces it comes in, and one byte more never does."""
    message = b"x" * 8 + b"\r\n"
    for spare in (0, -1):
        content = smtpserver.Content(len(message) + spare, None)
        wire = message + b".\r\nQUIT\r\n"
        whole = content.add(wire[:cut]) or content.add(wire[cut:])
        assert whole
        assert content.refusal == (rules.TOO_LARGE if spare else None)


def test_counted(run: Run) -> None:
    """What passed and what was refused is counted by its reason, whoever refused it."""

    async def test(site: Site) -> None:
        wire = await site.connect()
        assert await wire.deliver(GOOD) == b"250 2.0.0 queued"
        assert await wire.deliver(m.cleartext(USER, PEER)) == rules.ENCRYPTION_NEEDED
        site.outgoing.answers[b"."] = b"451 4.7.1 milter"
        assert await wire.deliver(GOOD) == b"451 4.7.1 milter"
        assert (await wire.deliver(GOOD)).startswith(b"450 4.7.1 Too much mail")
        counted = await asyncio.to_thread(figuresources.counts, site.sockets.counts)
        assert counted == {
            ("passed", "outgoing"): 1,
            ("passed", "incoming"): 0,
            ("refused", "outgoing", "unencrypted"): 1,
            ("refused", "outgoing", "postfix"): 1,
            ("refused", "outgoing", "rate"): 1,
        }

    run(test, max_user_send_burst=3)
