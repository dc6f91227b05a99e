"""What the daemons' tests share: settings, a daemon inside a `with`, a client of its socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from chatmail_relay.settings import Settings

DOMAIN = "_alpha.lab"
USER = f"abcdefghi@{DOMAIN}"


def settings(folder: Path, **values: object) -> Settings:
    """Settings whose mailboxes lie in `folder`; paths may be where a relay's cannot."""
    paths = {key: PurePosixPath(value) for key, value in values.items() if isinstance(value, Path)}
    others = {"mail_domain": DOMAIN, **values}
    lines = (f"{key} = {value}\n" for key, value in others.items() if key not in paths)
    checked = Settings.from_text("[params]\n" + "".join(lines))
    moved: dict[str, Any] = {"mailboxes_dir": PurePosixPath(folder), **paths}
    return replace(checked, **moved)


def live(daemon: AbstractAsyncContextManager[None], client: Callable[[], Awaitable[None]]) -> None:
    """Run `client` while the daemon serves."""

    async def both() -> None:
        async with asyncio.timeout(10), daemon:
            await client()

    asyncio.run(both())


async def talk(socket: Path, *requests: bytes, end: bool = False) -> list[bytes]:
    """One connection: the line answered to each request; all until the close when `end`."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        if end:
            writer.write(b"".join(requests))
            writer.write_eof()
            return [await reader.read()]
        answers = []
        for request in requests:
            writer.write(request)
            answers.append(await reader.readline())
        return answers
    finally:
        writer.close()
