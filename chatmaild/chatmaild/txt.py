"""TXT records, asked of the relay's own validating resolver.

It answers SERVFAIL for what it cannot get and for what DNSSEC proves to be forged; both are no
answer here, and never "there is none". https://www.rfc-editor.org/rfc/rfc1035 ;
dnspython has the messages, on UDP and, when they are truncated, on TCP.
"""

from __future__ import annotations

from dns import asyncquery, message, rcode, rdatatype
from dns.exception import DNSException

from chatmaild.errors import LaterError
from chatmaild.lean import asyncio


class Resolver:
    """The resolver at an IPv4 address and port; `seconds` are for one question."""

    def __init__(self, address: str, port: int, seconds: float) -> None:
        self._address = address
        self._port = port
        self._seconds = seconds

    async def txt(self, name: bytes) -> bytes | None:
        """The text of the one TXT record at a name, which may be an alias.

        None when there is none, or more than one: which is meant nobody can tell. Raises
        LaterError when there is no answer that can be trusted.
        """
        try:
            query = message.make_query(name.decode("ascii"), rdatatype.TXT, use_edns=0)
            async with asyncio.timeout(self._seconds):
                answer, _ = await asyncquery.udp_with_fallback(
                    query, self._address, port=self._port, timeout=self._seconds
                )
        except (DNSException, OSError, EOFError, UnicodeDecodeError) as error:
            raise LaterError(f"no answer from the resolver: {type(error).__name__}") from error
        if answer.rcode() not in (rcode.NOERROR, rcode.NXDOMAIN):
            raise LaterError(f"the resolver answers {rcode.to_text(answer.rcode())}")
        records = [
            record
            for records in answer.answer
            if records.rdtype == rdatatype.TXT
            for record in records
        ]
        return b"".join(records[0].strings) if len(records) == 1 else None
