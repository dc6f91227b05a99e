"""A name server on the loopback that has a few TXT records and a few troubles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

from dns import flags, message, name, rcode, rdatatype, rrset

Answer = Sequence[str] | str | int | None
"""Texts; the name it is an alias of; an error's number; or silence. Unknown names do not exist."""


@asynccontextmanager
async def nameserver(answers: Mapping[str, Answer]) -> AsyncIterator[tuple[str, int]]:
    """Answer on UDP and TCP inside the `with`; gives its address and port."""
    loop = asyncio.get_running_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        answer = _answer(answers, await reader.readexactly(size), 65535) or b""
        writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    where: tuple[str, int] = server.sockets[0].getsockname()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(answers), where)
    try:
        yield where
    finally:
        transport.close()
        server.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if answer := _answer(self._answers, data, 1232):
            self._transport.sendto(answer, addr)


def _answer(answers: Mapping[str, Answer], question: bytes, room: int) -> bytes | None:
    query = message.from_wire(question)
    asked = query.question[0].name.to_text(omit_final_dot=True).lower()
    reply = message.make_response(query)
    reply.flags |= flags.RA
    while isinstance(alias := answers.get(asked), str):
        reply.answer.append(rrset.from_text(f"{asked}.", 1, "IN", "CNAME", f"{alias}."))
        asked = alias
    found = answers.get(asked)
    if asked not in answers:
        reply.set_rcode(rcode.NXDOMAIN)
    elif isinstance(found, int):
        reply.set_rcode(rcode.Rcode(found))
    elif found is None:
        return None
    elif found:
        texts = [_strings(text) for text in found]
        reply.answer.append(
            rrset.from_text(name.from_text(f"{asked}."), 1, "IN", rdatatype.TXT, *texts)
        )
    wire = reply.to_wire(max_size=65535)
    if len(wire) <= room:
        return wire
    reply.answer.clear()
    reply.flags |= flags.TC
    return reply.to_wire()


def _strings(text: str) -> str:
    """A text in quoted strings of at most 255 bytes."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
