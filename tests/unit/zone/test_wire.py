"""Questions to one server: what goes wrong is said in words."""

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import pytest
from chatmail_relay.zone.judge import Failed, Silent, Unanswered
from chatmail_relay.zone.wire import Wire, value

NAME = dns.name.from_text("chat.example.org")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (dns.exception.Timeout, Silent, "it does not answer"),
        (OSError(101, "Network is unreachable"), Unanswered, "cannot be reached: Network is"),
        (dns.exception.FormError, Unanswered, "its answer makes no sense"),
        (EOFError(), Unanswered, "its answer makes no sense"),
    ],
)
def test_no_answer(error: Exception | type[Exception], kind: type[Unanswered], says: str) -> None:
    """Each way not to answer has its words."""

    def send(query: dns.message.Message, address: str, timeout: float) -> dns.message.Message:
        raise error

    with pytest.raises(kind, match=says):
        Wire(send).ask("192.0.2.1", NAME, "A")


def test_lost_datagram() -> None:
    """It is asked again."""
    lost = [dns.exception.Timeout]

    def send(query: dns.message.Message, address: str, timeout: float) -> dns.message.Message:
        if lost:
            raise lost.pop()
        return dns.message.make_response(query)

    assert Wire(send).ask("192.0.2.1", NAME, "A").rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (dns.rcode.SERVFAIL, Failed),
        (dns.rcode.REFUSED, Unanswered),
        (dns.rcode.NOTAUTH, Unanswered),
        (dns.rcode.NOTIMP, Unanswered),
    ],
)
def test_refusals(code: dns.rcode.Rcode, kind: type[Unanswered]) -> None:
    """A code that is no answer is named."""

    def send(query: dns.message.Message, address: str, timeout: float) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.set_rcode(code)
        return answer

    with pytest.raises(kind, match=dns.rcode.to_text(code)):
        Wire(send).ask("192.0.2.1", NAME, "A")


def test_old_server() -> None:
    """One that does not know EDNS is asked without."""

    def send(query: dns.message.Message, address: str, timeout: float) -> dns.message.Message:
        answer = dns.message.make_response(query)
        if query.edns >= 0:
            answer.set_rcode(dns.rcode.FORMERR)
        return answer

    assert Wire(send).ask("192.0.2.1", NAME, "A").rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("A", "9.9.9.9", "9.9.9.9"),
        ("AAAA", "2620:FE:0:0::9", "2620:fe::9"),
        ("MX", "10 CHAT.Example.org.", "10 chat.example.org."),
        ("TXT", '"v=DKIM1;k=rsa;p=AB" "cD"', "v=DKIM1;k=rsa;p=ABcD"),
        ("TXT", r'"\255"', "\\xff"),
        ("CAA", '0 issue "ca.example;accounturi=https://A/b"',
         '0 issue "ca.example;accounturi=https://A/b"'),
        ("SRV", "0 1 993 Chat.example.org.", "0 1 993 chat.example.org."),
    ],
)  # fmt: skip
def test_values(kind: str, data: str, expected: str) -> None:
    """Names in small letters, texts in one piece."""
    assert value(dns.rdata.from_text("IN", kind, data)) == expected
