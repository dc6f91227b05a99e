"""The lab's mail server and web site that are no relay."""

import http.client
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from tests.clients.sink import Sink
from tests.clients.site import Site
from tests.lab.ca import Authority

NAME = "mx.peer.lab"


class Here:
    """This machine as the place of clients."""

    def entered(self) -> AbstractContextManager[None]:
        """Stay where we are."""
        return nullcontext()

    def entering(self) -> list[str]:
        """No words are needed."""
        return []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all tests here."""
    return Authority(tmp_path_factory.mktemp("ca"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def _client(port: int, authority: Authority) -> Iterator[smtplib.SMTP]:
    """A client with TLS that trusts the authority."""
    trusting = ssl.create_default_context(cadata=authority.root)
    with smtplib.SMTP("127.0.0.1", port, "client.lab", timeout=10) as client:
        client._host = NAME  # type: ignore[attr-defined] # what the certificate has to be for
        client.starttls(context=trusting)
        yield client


def test_takes_and_refuses(authority: Authority) -> None:
    """Mail arrives over TLS, and whom it is told to refuse gets the reply it is told."""
    port = _free_port()
    with Sink(Here(), "127.0.0.1", NAME, authority.issue(NAME), port) as sink:
        sink.refused["nobody@peer.lab"] = "550 5.1.1 nobody of that name"
        with _client(port, authority) as client:
            refused = client.sendmail(
                "a@b.lab", ["nobody@peer.lab", "c@peer.lab"], "X: 1\r\n\r\nhi"
            )
        mail = sink.wait_for_mail(b"X: 1")
        assert refused == {"nobody@peer.lab": (550, b"5.1.1 nobody of that name")}
        assert (mail.sender, mail.recipients, mail.encrypted) == ("a@b.lab", ("c@peer.lab",), True)
        assert sink.names == [NAME]


def test_refuses_content(authority: Authority) -> None:
    """What is not taken is not kept."""
    port = _free_port()
    with Sink(Here(), "127.0.0.1", NAME, authority.issue(NAME), port) as sink:
        sink.answer = "554 5.7.1 not that"
        with _client(port, authority) as client, pytest.raises(smtplib.SMTPDataError):
            client.sendmail("a@b.lab", ["c@peer.lab"], "X: 1\r\n\r\nhi")
        assert sink.mails == []


def test_site(authority: Authority) -> None:
    """Pages are found by host and path, and others are not."""
    port = _free_port()
    trusting = ssl.create_default_context(cadata=authority.root)
    with Site(Here(), "127.0.0.1", authority.issue("127.0.0.1"), port) as site:
        site.pages[f"127.0.0.1:{port}/x"] = "text\n"
        found = []
        for path in ("/x", "/y"):
            client = http.client.HTTPSConnection("127.0.0.1", port, context=trusting, timeout=10)
            client.request("GET", path)
            answer = client.getresponse()
            found.append((answer.status, answer.read()))
            client.close()
        assert found == [(200, b"text\n"), (404, b"not here\n")]
        assert site.asked == [f"127.0.0.1:{port}/x", f"127.0.0.1:{port}/y"]
