"""Questions to name servers, one at a time, and their answers in plain values (RFC 1035, 6891)."""

from collections.abc import Callable
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype

from chatmail_relay.zone.judge import Failed, Silent, Unanswered

TIMEOUT = 3.0
"""Seconds for one answer."""
TRIES = 2
"""Datagrams get lost."""
PAYLOAD = 1232
"""The size of a datagram that passes everywhere; a longer answer comes by TCP."""

Name = dns.name.Name
Message = dns.message.Message
Send = Callable[[Message, str, float], Message]
"""Sends a query to an address, waits so many seconds, returns the answer; raises what it likes."""


def send(query: Message, address: str, timeout: float) -> Message:
    """Ask by UDP, and by TCP when the answer is too long for that."""
    answer, _by_tcp = dns.query.udp_with_fallback(
        query, address, timeout=timeout, ignore_unexpected=True
    )
    return answer


class Wire:
    """Asks servers by their addresses; raises Unanswered with the reason."""

    def __init__(self, send: Send = send, timeout: float = TIMEOUT, tries: int = TRIES) -> None:
        self._send = send
        self._timeout = timeout
        self._tries = tries

    def ask(
        self,
        address: str,
        name: Name,
        kind: str,
        *,
        recursive: bool = False,
        validated: bool = True,
    ) -> Message:
        """The answer of the server at ADDRESS; with RECURSIVE it is a resolver, which may be told
        to hand on what its validation refuses."""
        flags = dns.flags.RD if recursive else 0
        flags |= 0 if validated else dns.flags.CD
        query = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD, flags=flags)
        answer = self._exchange(query, address)
        if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):  # from before 1999
            plain = dns.message.make_query(name, kind, use_edns=False, flags=flags)
            answer = self._exchange(plain, address)
        if answer.rcode() == dns.rcode.SERVFAIL:
            raise Failed("it answers SERVFAIL")
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise Unanswered(f"it answers {dns.rcode.to_text(answer.rcode())}")
        return answer

    def _exchange(self, query: Message, address: str) -> Message:
        for last in (False,) * (self._tries - 1) + (True,):
            try:
                return self._send(query, address, self._timeout)
            except dns.exception.Timeout:
                if last:
                    raise Silent("it does not answer") from None
            except OSError as error:
                raise Unanswered(f"it cannot be reached: {error.strerror or error}") from None
            except (dns.exception.DNSException, EOFError) as error:
                if last:
                    raise Unanswered(f"its answer makes no sense: {error}") from None
        raise AssertionError("the last try returns or raises")


def value(rdata: dns.rdata.Rdata) -> str:
    """A record's value as `View.values` has it."""
    kind = dns.rdatatype.to_text(rdata.rdtype)
    if kind == "TXT":
        return b"".join(rdata.strings).decode("utf-8", "backslashreplace")  # type: ignore[attr-defined]
    if kind in ("A", "AAAA"):
        return str(ip_address(rdata.to_text()))
    return rdata.to_text() if kind == "CAA" else rdata.to_text().lower()
