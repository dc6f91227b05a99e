"""Purpose: each device is told of new mail, whatever happens to the server, or to the daemon.

The notification server is a stand-in with a certificate of a lab authority that the machine trusts.
Tokens are set over IMAP, messages are delivered over LMTP as Postfix does, or sent through 465.
"""

import re
import threading
from collections.abc import Iterator

import pytest
from chatmaild.pushjournal import read

from tests import messages as make
from tests.clients.imap import Imap
from tests.clients.lmtp import Lmtp
from tests.clients.notifier import WISH, Authority, Notifier
from tests.clients.relay import Relay, User
from tests.lab import Lab

UNIT = "chatmail-metadata.service"
SERVER = "notify.lab"
OTHER = "other.lab"
SENDER = "someone@peer.lab"
USERS, TOKENS = 500, 20  # 20 is the most one user can have
WORKERS = 8
WAITING = "/var/lib/chatmail-metadata/pushes"
LMTP = "/var/spool/postfix/private/dovecot-lmtp"
TROUBLE = ("gone", "busy", "date", "broken", "reset", "hang", "slow")
TROUBLED = 100  # users who have a token of each of these


@pytest.fixture(scope="module")
def authority(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the machine trusts, as an admin makes it do so."""
    made = Authority(tmp_path_factory.mktemp("authority"))
    target = "/usr/local/share/ca-certificates/lab.crt"
    relay.machine.write(target, made.certificate.read_bytes())
    relay.machine.run("update-ca-certificates")
    return made


@pytest.fixture(scope="module")
def server(lab: Lab, relay: Relay, authority: Authority) -> Iterator[Notifier]:
    """The notification server that the relay is set to."""
    for name in (SERVER, OTHER):
        lab.dns.host(name, lab.clients.address)
    with (
        Notifier(relay.place, 443, authority.context(SERVER)) as running,
        relay.changed(notification_url=f"https://{SERVER}/notify"),
    ):
        yield running


def add_tokens(imap: Imap, tokens: list[str]) -> None:
    """Register devices, one command each, all of them under way at once."""
    tags = [imap.begin(f'SETMETADATA INBOX (/private/devicetoken "{each}")') for each in tokens]
    for tag in tags:
        answer = imap.finish(tag)
        assert answer.ok, answer


def signup(relay: Relay, tokens: list[str]) -> User:
    """Somebody new with these devices."""
    user = relay.invent()
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        add_tokens(imap, tokens)
    return user


def tokens_of(relay: Relay, user: User) -> set[str]:
    """The devices' tokens as the user sees them."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        answer = imap.command("GETMETADATA INBOX /private/devicetoken")
    found = re.search(rb"\r\n([^\r\n]*)\)|devicetoken ([^{\r\n]*)\)", b"\r\n".join(answer.untagged))
    assert found, answer.untagged
    text = (found[1] or found[2]).decode().strip('"')
    return set() if text == "NIL" else set(text.split())


def lmtp(relay: Relay) -> Lmtp:
    """Dovecot's LMTP, as Postfix reaches it."""
    return Lmtp(relay.machine.path(LMTP))


def letter(user: User) -> bytes:
    """A message from somebody of another relay."""
    return make.encrypted(SENDER, user.address)


def waiting(relay: Relay) -> int:
    """How many notifications the file holds."""
    with relay.machine.path(WAITING).open("rb") as file:
        return len(read(file)[0])


def kill(relay: Relay) -> None:
    """Kill the daemon, not gently."""
    relay.machine.run(f"systemctl kill --signal=KILL {UNIT}")


def started(relay: Relay) -> None:
    """Wait until the daemon runs again by itself."""
    relay.machine.run(
        f"for i in $(seq 300); do [ $(systemctl is-active {UNIT}) = active ] && exit; sleep 0.1; "
        "done; exit 1"
    )


def test_each_device_is_told(relay: Relay, server: Notifier) -> None:
    """A message through 465 notifies each of the receiver's devices, and none of the sender's."""
    receiver = signup(relay, ["good-one", "good-two"])
    sender = signup(relay, ["good-sender"])
    with relay.submission(sender) as smtp:
        content = make.encrypted(sender.address, receiver.address)
        everybody = [receiver.address, sender.address]
        assert smtp.deliver(sender.address, everybody, content).code == 250
    relay.wait_for_mail(sender, b"BEGIN PGP MESSAGE")
    server.wait_until(lambda: {"good-one", "good-two"} <= server.accepted.keys(), 20)
    assert "good-sender" not in server.heard


def test_server_has_to_prove_its_name(relay: Relay, server: Notifier, authority: Authority) -> None:
    """One with a certificate for another name hears nothing; told of the right one, all is sent."""
    receiver = signup(relay, ["good-proof"])
    position = relay.log_position()
    with Notifier(relay.place, 8443, authority.context(SERVER)) as impostor:
        with relay.changed(notification_url=f"https://{OTHER}:8443/notify"):
            with lmtp(relay) as connection:
                connection.deliver(SENDER, receiver.address, letter(receiver))
            relay.wait_for_log(position, "ClientConnectorCertificateError")
        assert not impostor.tried
    server.wait_until(lambda: "good-proof" in server.accepted, 20)


def test_what_the_server_answers(relay: Relay, server: Notifier) -> None:
    """410 forgets the token, a wish to wait is honoured, everything else is tried again."""
    tokens = [f"{kind}-answer" for kind in (*TROUBLE, "good")]
    receiver = signup(relay, tokens)
    with lmtp(relay) as connection:
        connection.deliver(SENDER, receiver.address, letter(receiver))
    told = set(tokens) - {"gone-answer"}
    server.wait_until(lambda: told <= server.accepted.keys(), 90)
    assert server.heard["gone-answer"] == 1
    assert tokens_of(relay, receiver) == told
    for token in ("busy-answer", "date-answer"):
        first, second = server.heard_at[token]
        assert second - first > WISH - 1.5, token
    assert server.heard["good-answer"] == 1


def test_daemon_that_does_not_answer(relay: Relay, server: Notifier) -> None:
    """Stopped in its tracks or dead it delays no mail; what reached its socket is sent later."""
    receiver = signup(relay, ["good-frozen"])
    relay.machine.run(f"systemctl kill --signal=STOP {UNIT}")
    try:
        with lmtp(relay) as connection:
            frozen = [connection.deliver(SENDER, receiver.address, letter(receiver)) for _ in "abc"]
    finally:
        relay.machine.run(f"systemctl kill --signal=CONT {UNIT}")
    server.wait_until(lambda: "good-frozen" in server.accepted, 20)
    relay.machine.run(f"systemctl stop {UNIT}")
    try:
        with lmtp(relay) as connection:
            dead = [connection.deliver(SENDER, receiver.address, letter(receiver)) for _ in "abc"]
    finally:
        relay.machine.run(f"systemctl start {UNIT}")
    assert max(frozen) < 5, frozen
    assert max(dead) < 5, dead
    assert len(relay.mails(receiver)) == 6


@pytest.fixture
def crowd(relay: Relay) -> dict[str, User]:
    """Users with 10,000 devices in all, by token."""
    found: dict[str, User] = {}

    def make_some(numbers: range) -> None:
        for number in numbers:
            kinds = TROUBLE if number < TROUBLED else ()
            tokens = [f"{kind}-{number}" for kind in kinds]
            tokens += [f"good-{number}-{device}" for device in range(TOKENS - len(tokens))]
            user = signup(relay, tokens)
            found.update(dict.fromkeys(tokens, user))

    threads = [
        threading.Thread(target=make_some, args=(range(first, USERS, WORKERS),))
        for first in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == USERS * TOKENS
    return found


def test_ten_thousand(relay: Relay, server: Notifier, crowd: dict[str, User]) -> None:
    """With the server stuck and the daemon killed again and again, each is told in the end."""
    before = sum(server.heard.values())
    server.stuck = True
    users = list(dict.fromkeys(crowd.values()))
    with lmtp(relay) as connection:
        took = [connection.deliver(SENDER, user.address, letter(user)) for user in users]
    assert max(took) < 5, sorted(took)[-5:]
    assert waiting(relay) == len(crowd)
    kill(relay)
    with lmtp(relay) as connection:  # nobody is there to be told
        assert connection.deliver(SENDER, users[0].address, letter(users[0])) < 5
    started(relay)
    assert waiting(relay) == len(crowd)
    server.stuck = False
    server.wait_until(lambda: sum(server.heard.values()) > before + 2000, 120)
    kill(relay)
    started(relay)
    told = {token for token in crowd if not token.startswith("gone-")}
    server.wait_until(lambda: told <= server.accepted.keys(), 240)
    gone = set(crowd) - told
    server.wait_until(lambda: gone <= server.heard.keys() and waiting(relay) == 0, 60)
    again = sum(server.accepted[token] > 1 for token in told)
    assert again < len(crowd) / 10, "too many were told twice"
    log = relay.machine.run(f"journalctl --namespace=chatmail -q -o cat -u {UNIT}").stdout
    assert not re.search(r"@_alpha|good-|hang-|gone-", log), log
