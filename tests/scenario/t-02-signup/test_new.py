"""Purpose: a fresh address by the web, and what mail programs ask for, as clients read them.

`POST /new` hands out an address and a password, which become an account at their first login;
`GET /new` leads apps to it; the autoconfig file tells other mail programs the ports.
"""

import re
from xml.etree import ElementTree

import pytest

from tests.clients.relay import Relay, User

AUTOCONFIG = "/.well-known/autoconfig/mail/config-v1.1.xml"


def test_new_address_becomes_an_account(relay: Relay) -> None:
    """What POST /new answers can log in at once, and nothing exists before that."""
    before = relay.addresses()
    answer = relay.web("POST", "/new", body=b"")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    given = answer.json()
    assert set(given) == {"email", "password", "dclogin_url"}
    assert re.fullmatch(rf"[a-z0-9._-]{{9}}@{re.escape(relay.domain)}", given["email"])
    assert 9 <= len(given["password"]) <= 512
    assert relay.addresses() == before
    user = User(given["email"], given["password"])
    assert relay.can_log_in(user)
    assert relay.addresses() == before | {user.address}


def test_login_url(relay: Relay) -> None:
    """A relay with a self-signed certificate also gives a URL that says to accept it."""
    given = relay.web("POST", "/new", body=b"").json()
    expected = (
        rf"dclogin:{re.escape(given['email'])}\?p={re.escape(given['password'])}&v=1"
        r"(&ih=[0-9.]+&sh=[0-9.]+)?&ic=3"
    )
    assert re.fullmatch(expected, given["dclogin_url"])


def test_no_address_is_given_twice(relay: Relay) -> None:
    """Addresses and passwords are random."""
    given = [relay.web("POST", "/new", body=b"").json() for _ in range(20)]
    assert len({each["email"] for each in given}) == 20
    assert len({each["password"] for each in given}) == 20


@pytest.mark.parametrize("port", [443, 8443])
def test_get_leads_apps_to_it(relay: Relay, port: int) -> None:
    """GET /new redirects to a dcaccount: URL, on both HTTPS ports."""
    answer = relay.web("GET", "/new", port=port)
    assert answer.status == 301
    assert answer.headers["location"] == f"dcaccount:https://{relay.domain}/new"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_give_nothing(relay: Relay, method: str) -> None:
    """Only POST hands out an address; errors carry a reason."""
    answer = relay.web(method, "/new", body=b"")
    assert 400 <= answer.status < 600
    assert b"password" not in answer.body


@pytest.mark.parametrize(
    "path", ["/new/", "/new/x", "/new%00", "/%2e%2e/new", "/new/../../etc/passwd", "/neww"]
)
def test_other_paths_give_nothing(relay: Relay, path: str) -> None:
    """Only /new itself hands out an address."""
    answer = relay.web("POST", path, body=b"")
    assert answer.status >= 400
    assert b"password" not in answer.body
    assert b"root:" not in answer.body


def test_errors_have_a_reason(relay: Relay) -> None:
    """A client can show why there is no address."""
    answer = relay.web("PUT", "/new", body=b"")
    assert answer.status == 405
    assert answer.json()["reason"]


def test_autoconfig(relay: Relay) -> None:
    """Ports, encryption and login of every way in, in the order of preference."""
    answer = relay.web("GET", AUTOCONFIG)
    assert answer.status == 200
    assert "xml" in answer.headers["content-type"]
    config = ElementTree.fromstring(answer.body)
    assert [element.text for element in config.iter("domain")] == [relay.domain]
    offered = [
        tuple(server.findtext(tag) for tag in ("port", "socketType", "authentication", "username"))
        for kind in ("incomingServer", "outgoingServer")
        for server in config.iter(kind)
    ]
    login = ("password-cleartext", "%EMAILADDRESS%")
    assert offered == [
        ("993", "SSL", *login),
        ("143", "STARTTLS", *login),
        ("443", "SSL", *login),
        ("465", "SSL", *login),
        ("587", "STARTTLS", *login),
        ("443", "SSL", *login),
    ]
    assert {element.text for element in config.iter("hostname")} == {relay.domain}
    assert [server.get("type") for server in config.iter("incomingServer")] == ["imap"] * 3
    assert [server.get("type") for server in config.iter("outgoingServer")] == ["smtp"] * 3
