"""The HTTP client of notifications, against a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from chatmaild.pushclient import PushClient, judge, seconds_to_wait
from chatmaild.pushqueue import LIFETIME, Answer, Verdict

NOW = 1_800_000_000.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DONE),
        (410, Verdict.GONE),
        *[(other, Verdict.LATER) for other in (201, 204, 301, 307, 400, 404, 429, 500, 503)],
    ],
)
def test_status(status: int, verdict: Verdict) -> None:
    """200 is done, 410 says that the device has left, anything else is tried again."""
    assert judge(status, "", NOW).verdict is verdict


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *[("120", 120), (" 7 ", 7), ("0", 0), ("9" * 5000, LIFETIME + 1)],
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("Friday, 15-Jan-27 08:00:30 GMT", 30),
        ("Fri Jan 15 08:00:30 2027", 30),
        ("Fri, 15 Jan 2020 08:00:30 GMT", 0),
        ("Fri, 15 Jan 2099 08:00:30 GMT", LIFETIME + 1),
        *[(text, 0) for text in ("", "soon", "-5", "1.5", "1e9", "²", "Fri, 99 Jan 2027", "\0")],
        ("Fri, 15 Jan 99999999999 08:00:30 GMT", 0),
    ],
)
def test_retry_after(header: str, seconds: float) -> None:
    """Seconds or any of the three forms of a date; nothing else, nothing endless."""
    assert seconds_to_wait(header, NOW) == pytest.approx(seconds)
    assert judge(429, header, NOW).wait == pytest.approx(seconds)
    assert judge(500, header, NOW).wait == 0


class Server:
    """Answers each request with the same bytes; knows the requests and counts connections."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split()[0])
                self.requests.append(head + await reader.readexactly(size))
                writer.write(self._answer)
                if not self._answer or b"\r\nclose" in self._answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def run(server: Server, use: Callable[[PushClient], Awaitable[None]], timeout: float = 5) -> None:
    """Use a client of that server."""

    async def both() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        client = PushClient(f"http://127.0.0.1:{port}/notify", 4, timeout, lambda: NOW)
        try:
            await use(client)
        finally:
            await client.close()
            listening.close()

    asyncio.run(asyncio.wait_for(both(), 10))


def test_request() -> None:
    """The token is the whole body, and connections are used again."""
    server = Server(OK)

    async def use(client: PushClient) -> None:
        for _ in range(3):
            assert (await client.post("fcm-tökén")).verdict is Verdict.DONE

    run(server, use)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /notify HTTP/1.1\r\n")
    assert body.decode() == "fcm-tökén"
    assert len(server.requests) == 3
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"", Verdict.LATER),
        (b"SSH-2.0-x\r\n", Verdict.LATER),
        (b"HTTP/1.1 999999 x\r\n\r\n", Verdict.LATER),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", Verdict.LATER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Verdict.LATER),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
         Verdict.LATER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000, Verdict.DONE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Verdict.LATER),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", Verdict.DONE),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", Verdict.GONE),
        (b"HTTP/1.1 429 No\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", Verdict.LATER),
        (b"HTTP/1.1 429 No\r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n", Verdict.LATER),
    ],
)  # fmt: skip
def test_hostile_answers(answer: bytes, verdict: Verdict) -> None:
    """Whatever comes is an answer, and the next token is sent all the same."""
    server = Server(answer)

    async def use(client: PushClient) -> None:
        assert (await client.post("a")).verdict is verdict
        assert (await client.post("b")).verdict is verdict

    run(server, use)
    assert [request[-1:] for request in server.requests] == [b"a", b"b"]


def test_no_answer() -> None:
    """A server that hangs is given up after the time-out."""
    server = Server(b"HTTP/1.1 ")

    async def use(client: PushClient) -> None:
        assert await client.post("a") == Answer(Verdict.LATER, 0.0, "no answer in time")

    run(server, use, timeout=0.05)


def test_nobody_there() -> None:
    """A refused connection is for later; its problem names neither token nor address."""

    async def use(_client: PushClient) -> None:
        client = PushClient("http://127.0.0.1:1/notify", 4)
        answer = await client.post("secret")
        assert answer == Answer(Verdict.LATER, 0.0, "ClientConnectorError")
        await client.close()

    run(Server(OK), use)
