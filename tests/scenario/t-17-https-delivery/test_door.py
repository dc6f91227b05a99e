"""Purpose: what comes in over HTTPS meets the rules of port 25, none more and none less."""

import pytest

from tests import messages as make
from tests.clients import dkim
from tests.clients.relay import Relay, User
from tests.clients.web import Response

SENDER = "someone@peer.lab"


@pytest.fixture(scope="module")
def user(relay: Relay) -> User:
    """Somebody who gets mail."""
    return relay.signup()


def post(
    relay: Relay, body: bytes, *recipients: str, sender: str = SENDER, method: str = "POST"
) -> Response:
    """What another relay does."""
    headers = [f"X-MAIL-FROM: {sender}", *(f"X-MAIL-TO: {to}" for to in recipients)]
    return relay.web(method, "/mxdeliv", headers=headers, body=body)


def text(response: Response) -> str:
    """What it says, in one line."""
    return response.body.decode().strip()


def signed(user: User, **options: object) -> bytes:
    """A message that port 25 would take."""
    return dkim.standing().sign(make.encrypted(SENDER, user.address, **options))  # type: ignore[arg-type]


def test_accepted(relay: Relay, user: User) -> None:
    """A good message is delivered, once Postfix has it; lines that end in LF are no harm."""
    for number, body in enumerate((signed(user), signed(user).replace(b"\r\n", b"\n"))):
        answer = post(relay, body, user.address)
        assert answer.status == 200, text(answer)
        assert text(answer).startswith("250 2.0.0 ")
        relay.wait_for_empty_queue()
        assert len(relay.mails(user)) == number + 1


def test_report(relay: Relay, user: User) -> None:
    """A report about mail that could not be delivered has no sender, here neither."""
    report = dkim.standing().sign(make.report("peer.lab", user.address))
    answer = post(relay, report, user.address, sender="")
    assert answer.status == 200, text(answer)
    relay.wait_for_empty_queue()


def test_refused(relay: Relay, user: User) -> None:
    """Each with the reply of port 25 as text, and nothing arrives."""
    before = len(relay.mails(user))
    nobody, good = relay.invent(), signed(user)
    unsigned = make.encrypted(SENDER, user.address)
    own = make.encrypted(f"somebody@{relay.domain}", user.address)
    cases: list[tuple[Response, int, str]] = [
        (post(relay, unsigned, user.address), 400, "554 5.7.1 No valid"),
        (post(relay, good.replace(b"BEGIN", b"BEG1N"), user.address), 400, "5"),
        (post(relay, dkim.standing().sign(own), user.address), 400, "5"),
        (post(relay, good, nobody.address), 400, "550 5.1.1 "),
        (post(relay, good, user.address, nobody.address), 400, "550 5.1.1 "),
        (post(relay, good, "someone@elsewhere.lab"), 400, "554 5.7.1 "),
        (post(relay, good, "someone"), 400, "501 5.1.3 "),
        (post(relay, good), 400, "503 "),
        (post(relay, good, user.address, sender="x y"), 400, "501 5.1.7 "),
        (post(relay, good.replace(b"\r\n\r\n", b"\r\n\n"), user.address), 400, "550 5.6.0 "),
        (post(relay, good + b"\r\nx\0y\r\n", user.address), 400, "5"),
    ]
    cleartext = dkim.standing().sign(make.cleartext(SENDER, user.address))
    cases.append((post(relay, cleartext, user.address), 400, "523 "))
    for number, (answer, status, start) in enumerate(cases):
        assert (answer.status, text(answer)[: len(start)]) == (status, start), (number, answer)
    relay.wait_for_empty_queue()
    assert len(relay.mails(user)) == before
    assert nobody.address not in relay.addresses()


def test_limits(relay: Relay, user: User) -> None:
    """Too large, too many recipients, not POST."""
    with relay.changed(max_message_size=100_000):
        answer = post(relay, b"x" * 100_001, user.address)
        assert (answer.status, text(answer)[:9]) == (413, "552 5.3.4")
    everybody = [user.address] * 1500
    assert post(relay, signed(user), *everybody).status == 400
    assert post(relay, b"", user.address, method="PUT").status == 405
    assert relay.web("GET", "/mxdeliv").status == 405


def test_postfix_away(relay: Relay, user: User) -> None:
    """Nothing is accepted that Postfix does not have."""
    relay.machine.run("systemctl stop filtermail.service")
    try:
        answer = post(relay, signed(user), user.address)
    finally:
        relay.machine.run("systemctl start filtermail.service")
    assert (answer.status, text(answer)[:4]) == (400, "451 ")
