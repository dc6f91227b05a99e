"""The notification server over HTTPS: `POST` with the token as the whole body.

Loaded with the first notification, since the HTTP client takes more memory than all of an idle
daemon. Certificates are checked against the system's authorities. What the server says is not
trusted: no redirects, no cookies, no decompression, and little of an answer's body is read.
https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime

import aiohttp

from chatmaild.pushqueue import LIFETIME, Answer, Verdict
from chatmaild.tls import complete

TIMEOUT = 10.0
"""Seconds for all of an attempt."""
KEEP = 15.0
"""Seconds that an unused connection is kept open."""
MAX_BODY = 4096
"""Bytes of an answer for whose sake its connection is kept."""


class PushClient:
    """Connections to the server at `url`, at most so many at once, used again and again."""

    def __init__(
        self,
        url: str,
        connections: int,
        timeout: float = TIMEOUT,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        complete()
        self._url = url
        self._wall_clock = wall_clock
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, keepalive_timeout=KEEP, ssl=ssl.create_default_context()
            ),
            timeout=aiohttp.ClientTimeout(total=timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "chatmail-relay"},
            auto_decompress=False,
        )

    async def post(self, token: str) -> Answer:
        """Notify one device; whatever goes wrong is an answer too."""
        try:
            async with self._session.post(
                self._url, data=token.encode(), allow_redirects=False
            ) as response:
                await _drain(response)
                wish = response.headers.get("Retry-After", "")
                return judge(response.status, wish, self._wall_clock())
        except TimeoutError:
            return Answer(Verdict.LATER, problem="no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(Verdict.LATER, problem=type(error).__name__)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can be used again; end it for a longer one."""
    with suppress(aiohttp.ClientError, OSError, ValueError):
        size = 0
        while size <= MAX_BODY:
            data = await response.content.read(MAX_BODY)
            if not data:
                return
            size += len(data)
    response.close()


def judge(status: int, retry_after: str, now: float) -> Answer:
    """What an answer means; `now` is the Unix time."""
    if status == 200:
        return Answer(Verdict.DONE)
    if status == 410:
        return Answer(Verdict.GONE)
    wait = seconds_to_wait(retry_after, now) if status in (429, 503) else 0.0
    return Answer(Verdict.LATER, wait, f"HTTP status {status}")


def seconds_to_wait(retry_after: str, now: float) -> float:
    """What a Retry-After header asks for, in seconds or as a date; 0 for anything else."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:12]), LIFETIME + 1)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return 0.0
    return min(max(0.0, moment - now), LIFETIME + 1)
