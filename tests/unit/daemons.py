"""What the daemons' tests share: settings, a daemon inside a `with`, a client of its socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import Thread
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


async def talk(path: Path, *requests: bytes, end: bool = False) -> list[bytes]:
    """One connection: the line answered to each request; all until the close when `end`."""
    reader, writer = await asyncio.open_unix_connection(path)
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


@contextmanager
def answering(path: Path, *answers: str) -> Iterator[list[str]]:
    """doveauth, which gives these answers; what it was asked."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection, connection.makefile("r") as lines:
                    asked.append(lines.readline())
                    connection.sendall(f"{answer}\n".encode())

        thread = Thread(target=serve)
        thread.start()
        yield asked
        thread.join()
