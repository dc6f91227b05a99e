"""Purpose: no way in but the ones meant: no cleartext logins, no relaying, no smuggling, no lies.

What attackers send to mail servers every day, on every port, each with the answer it must get.
"""

import re
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests import messages as make
from tests.clients import web
from tests.clients.dkim import standing
from tests.clients.imap import Imap
from tests.clients.net import Lines, connect, encrypt
from tests.clients.relay import Relay, User
from tests.clients.smtp import Smtp, peer, stuffed

FORGED_ADDRESS = "198.51.100.77"
AS_A_CLIENT = rf"(\[|rip=|client: ){re.escape(FORGED_ADDRESS)}"
PROXY_V1 = f"PROXY TCP4 {FORGED_ADDRESS} 203.0.113.1 1025 25\r\n".encode()
PROXY_V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([198, 51, 100, 77, 203, 0, 113, 1])
    + (1025).to_bytes(2, "big")
    + (25).to_bytes(2, "big")
)


@pytest.fixture(scope="module")
def receiver(relay: Relay) -> User:
    """Somebody whom mail is sent to."""
    return relay.signup()


# --- TLS ---------------------------------------------------------------------


def test_no_mail_from_peers_without_tls(relay: Relay, receiver: User) -> None:
    """Port 25 takes no mail before STARTTLS."""
    with Smtp(relay.place, relay.host, 25, name=relay.domain) as smtp:
        assert "STARTTLS" in smtp.hello().lines
        reply = smtp.envelope("someone@peer.lab", [receiver.address])
    assert str(reply) == "530 5.7.0 Must issue a STARTTLS command first"


def test_no_submission_without_tls(relay: Relay, receiver: User) -> None:
    """Port 587 offers no login before STARTTLS, and takes none."""
    with Smtp(relay.place, relay.host, 587, name=relay.domain) as smtp:
        assert not [line for line in smtp.hello().lines if line.startswith("AUTH")]
        assert smtp.login(receiver.address, receiver.password).code >= 500
        assert smtp.envelope(receiver.address, [receiver.address]).code == 530


def test_no_imap_login_without_tls(relay: Relay, receiver: User) -> None:
    """Port 143 says so, and takes none."""
    with Imap(relay.place, relay.host, 143, name=relay.domain, tls=False) as imap:
        assert "LOGINDISABLED" in imap.greeting
        answer = imap.command(f"LOGIN {receiver.address} {receiver.password}")
        assert (answer.status, answer.text.split()[0]) == ("NO", "[PRIVACYREQUIRED]")
        assert not imap.login(receiver.address, receiver.password).ok


def test_no_login_for_peers(relay: Relay, receiver: User) -> None:
    """Port 25 is for other servers: no AUTH there."""
    with relay.peer() as smtp:
        assert not [line for line in smtp.hello().lines if line.startswith("AUTH")]
        assert smtp.login(receiver.address, receiver.password).code >= 500


@pytest.mark.parametrize("port", [143, 465, 587, 993])
def test_clients_need_the_newest_tls(relay: Relay, port: int) -> None:
    """TLS 1.2 is refused where clients connect."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        old_handshake(relay, port)


def test_peers_may_use_older_tls(relay: Relay) -> None:
    """TLS 1.2 will do between servers."""
    old_handshake(relay, 25)


def old_handshake(relay: Relay, port: int) -> None:
    """Shake hands with TLS 1.2 at most."""
    wire = Lines(connect(relay.place, relay.host, port))
    try:
        if port in (25, 143, 587):
            wire.line()
            wire.send(b"a STARTTLS\r\n" if port == 143 else b"STARTTLS\r\n")
            assert wire.line().startswith((b"a OK", b"220"))
        encrypt(wire.sock, relay.domain, highest=ssl.TLSVersion.TLSv1_2).close()
    finally:
        wire.close()


def test_nothing_said_before_tls_counts_inside(relay: Relay) -> None:
    """Commands smuggled in behind STARTTLS are not run after it."""
    with Smtp(relay.place, relay.host, 25, name=relay.domain) as smtp:
        smtp.hello()
        smtp.send(b"STARTTLS\r\nEHLO smuggler.lab\r\nMAIL FROM:<a@peer.lab>\r\n")
        reply = smtp.reply()
        assert reply.code in (220, 554), reply
        if reply.code == 220:
            smtp.encrypt()
            assert smtp.command("RCPT TO:<x@y.lab>").code == 503


# --- relaying ----------------------------------------------------------------

FOREIGN = [
    "user@other.lab",
    "user%other.lab@{domain}",
    "other.lab!user@{domain}",
    "@{domain}:user@other.lab",
    "user@{domain}@other.lab",
    '"user@other.lab"',
    '"user@other.lab"@{domain}',
    "user@[127.0.0.1]",
    "user@[10.83.0.1]",
    "user@[IPv6:::1]",
    "user@localhost",
    "user@localhost.localdomain",
    "root@{domain}",
    "root",
    "user",
    "|id@{domain}",
    "/etc/passwd@{domain}",
    '"|id"@{domain}',
    "user@sub.{domain}",
    "user@{domain}.other.lab",
]


@pytest.mark.parametrize("recipient", FOREIGN)
@pytest.mark.parametrize("sender", ["someone@peer.lab", "{receiver}", ""])
def test_no_open_relay(relay: Relay, receiver: User, recipient: str, sender: str) -> None:
    """Port 25 takes mail for addresses of this relay alone, whoever says it is from."""
    with relay.peer() as smtp:
        reply = smtp.envelope(
            sender.format(receiver=receiver.address), [recipient.format(domain=relay.domain)]
        )
    assert 500 <= reply.code < 600, reply


def test_no_relaying_for_the_machine_itself(relay: Relay) -> None:
    """Being local is no right: a process on the machine cannot send through port 25 either."""
    script = (
        "import smtplib, ssl\n"
        "s = smtplib.SMTP('127.0.0.1', 25, local_hostname='here.lab'); s.ehlo()\n"
        "s.starttls(context=ssl._create_unverified_context()); s.ehlo(); s.mail('a@peer.lab')\n"
        "print(s.rcpt('user@other.lab')[0])\n"
    )
    relay.machine.write("/tmp/relay-try.py", script)
    assert relay.machine.run("python3 /tmp/relay-try.py").stdout.split()[0] in ("550", "554")


def test_no_local_process_injects_mail(relay: Relay) -> None:
    """The daemons' sockets are closed to everybody who is not meant to speak there."""
    script = (
        "import os, socket\n"
        "for root in ('/run/chatmail', '/run/chatmail-nginx', '/var/spool/postfix'):\n"
        "    for path in os.popen('find %s -type s' % root).read().split('\\n')[:-1]:\n"
        "        pid = os.fork()\n"
        "        if not pid:\n"
        "            os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "            s = socket.socket(socket.AF_UNIX)\n"
        "            try: s.connect(path)\n"
        "            except PermissionError: os._exit(0)\n"
        "            except OSError: os._exit(2)\n"
        "            os._exit(1)\n"
        "        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), path)\n"
    )
    relay.machine.write("/tmp/sockets-try.py", script)
    shown = relay.machine.run("python3 /tmp/sockets-try.py").stdout.splitlines()
    sockets = {line.split()[1]: line.split()[0] for line in shown}
    for mail_path in (
        "/run/chatmail/doveauth/auth.sock",
        "/run/chatmail/doveauth-doctor/account.sock",
        "/run/chatmail/doveauth-echo/account.sock",
        "/run/chatmail/doveauth-counts/counts.sock",
        "/run/chatmail/newemail/http.sock",
        "/var/spool/postfix/filter/outgoing.sock",
        "/var/spool/postfix/filter/incoming.sock",
        "/var/spool/postfix/chatmail/reinject-outgoing",
        "/var/spool/postfix/chatmail/reinject-incoming",
        "/var/spool/postfix/private/auth",
        "/var/spool/postfix/private/dovecot-lmtp",
        "/var/spool/postfix/chatmail-nginx/submissions",
        "/var/spool/postfix/maps/recipients.sock",
    ):
        assert sockets.pop(mail_path, "missing") == "0", mail_path
    # Postfix's own public/ sockets are what sendmail(1) and the mail queue use.
    open_ones = {path for path, result in sockets.items() if result != "0"}
    assert not {path for path in open_ones if not path.startswith("/var/spool/postfix/public/")}


# --- names -------------------------------------------------------------------

HOSTILE_NAMES = [
    "a\tb",
    "a b",
    "a/b",
    "../../etc/passwd",
    "..",
    ".",
    "a%b",
    "%u",
    "a\x00b",
    "a\x01b",
    "a\x7fb",
    "é",
    "\u202e",
    "a" * 65,
    "a" * 10_240,
    "a\\b",
    "a'b",
    "a`id`",
    "$(id)",
    "{reserved}",
]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_hostile_recipient(relay: Relay, name: str, quoted: bool) -> None:
    """Recipients with anything but the allowed characters: 5xx, and no folder."""
    before = relay.addresses()
    localpart = '"{}"'.format(name.replace("\\", "\\\\")) if quoted else name
    with relay.peer() as smtp:
        smtp.command("MAIL FROM:<someone@peer.lab>")
        reply = smtp.command(f"RCPT TO:<{localpart}@{relay.domain}>")
        assert 500 <= reply.code < 600, reply
    assert relay.addresses() == before


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=ascii)
def test_recipient_with_a_line_end(relay: Relay, receiver: User, end: bytes) -> None:
    """A line end in a name ends the command; what is before and behind it is no recipient."""
    name = receiver.localpart.encode()
    with relay.peer() as smtp:
        smtp.command("MAIL FROM:<someone@peer.lab>")
        smtp.send(b"RCPT TO:<x" + end + name + b"@" + relay.domain.encode() + b">\r\n")
        assert smtp.reply().code >= 500


# --- bare newlines -----------------------------------------------------------


def on_25(relay: Relay, receiver: User) -> tuple[Smtp, str]:
    """Port 25 and a sender for it."""
    return relay.peer(), "someone@peer.lab"


def on_465(relay: Relay, receiver: User) -> tuple[Smtp, str]:
    """Port 465, logged in."""
    sender = relay.signup()
    return relay.submission(sender), sender.address


def on_587(relay: Relay, receiver: User) -> tuple[Smtp, str]:
    """Port 587, logged in."""
    sender = relay.signup()
    smtp = Smtp(relay.place, relay.host, 587, name=relay.domain)
    smtp.hello()
    smtp.starttls()
    smtp.hello()
    assert smtp.login(sender.address, sender.password).code == 235
    return smtp, sender.address


def on_443(relay: Relay, receiver: User) -> tuple[Smtp, str]:
    """Port 443 by ALPN, logged in."""
    sender = relay.signup()
    smtp = Smtp(relay.place, relay.host, 443, name=relay.domain, tls=True, alpn=("smtp",))
    smtp.hello()
    assert smtp.login(sender.address, sender.password).code == 235
    return smtp, sender.address


Listener = Callable[[Relay, User], tuple[Smtp, str]]
LISTENERS = [on_25, on_465, on_587, on_443]
FALSE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r"]


@pytest.mark.parametrize("listener", LISTENERS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("end", FALSE_ENDS, ids=ascii)
def test_no_smuggling(relay: Relay, receiver: User, listener: Listener, end: bytes) -> None:
    """Only CRLF.CRLF ends a message: what follows a dot between bare newlines is no command."""
    smtp, sender = listener(relay, receiver)
    smuggled = signed(make.encrypted(sender, receiver.address, extra=["X-Smuggled: yes"]))
    with smtp:
        assert smtp.envelope(sender, [receiver.address]).ok
        assert smtp.command("DATA").code == 354
        first = signed(make.encrypted(sender, receiver.address)).removesuffix(b"\r\n")
        second = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{receiver.address}>\r\nDATA\r\n".encode()
        smtp.send(first + end + second + smuggled + b"\r\n.\r\n")
        answers = [smtp.reply()]
        with suppress(EOFError):  # the server may also hang up
            answers.append(smtp.command("BOGUS"))
    assert answers[0].code >= 500
    assert len(answers) == 1 or answers[1].code in (500, 502)
    assert not [mail for mail in relay.mails(receiver) if b"X-Smuggled: yes" in headers(mail)]


@pytest.mark.parametrize("listener", LISTENERS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("newline", [b"\n", b"\r"], ids=ascii)
def test_bare_newlines(relay: Relay, listener: Listener, newline: bytes) -> None:
    """A message with bare newlines is refused, or delivered with each as a line end."""
    receiver = relay.signup()
    smtp, sender = listener(relay, receiver)
    content = signed(make.encrypted(sender, receiver.address))
    with smtp:
        assert smtp.envelope(sender, [receiver.address]).ok
        assert smtp.command("DATA").code == 354
        smtp.send(content.replace(b"\r\n", newline) + b"\r\n.\r\n")
        reply = smtp.reply()
    assert reply.code == 250 or 500 <= reply.code < 600, reply
    if reply.code == 250:
        mail = relay.wait_for_mail(receiver, b"BEGIN PGP MESSAGE")
        armor = mail[mail.index(b"-----BEGIN") : mail.index(b"-----END")]
        assert armor.replace(b"\r\n", b"\n") in content.replace(b"\r\n", b"\n")
    else:
        assert relay.mails(receiver) == []


def signed(content: bytes) -> bytes:
    """A message as its sender's server hands it on: ours signs later, the other one before."""
    return standing().sign(content) if b"@peer.lab>\r\n" in content else content


def headers(mail: bytes) -> bytes:
    """A stored message's headers."""
    return mail.replace(b"\r\n", b"\n").partition(b"\n\n")[0]


def test_dots_arrive_as_they_were(relay: Relay) -> None:
    """A line that starts with a dot is doubled on the wire and single in the mailbox."""
    receiver = relay.signup()
    (relay.folder(receiver) / "enforceE2EEincoming").unlink()
    content = signed(make.cleartext("someone@peer.lab", receiver.address, ".one\r\n..two\r\n."))
    assert b"\r\n..\r\n" in stuffed(content)
    with relay.peer() as smtp:
        assert smtp.deliver("someone@peer.lab", [receiver.address], content).code == 250
    mail = relay.wait_for_mail(receiver, b".one")
    assert mail.replace(b"\r\n", b"\n").endswith(b"\n\n.one\n..two\n.\n")


# --- PROXY -------------------------------------------------------------------


def smtp_greeting(port: int) -> Callable[[Relay, bytes], None]:
    """Talk SMTP after a forged header, without TLS first."""

    def talk(relay: Relay, header: bytes) -> None:
        with Smtp(relay.place, relay.host, port, name=relay.domain, before=header) as smtp:
            assert smtp.reply().code >= 500
            smtp.hello()

    return talk


def smtp_tls(port: int, alpn: tuple[str, ...]) -> Callable[[Relay, bytes], None]:
    """Talk SMTP inside TLS after a forged header."""

    def talk(relay: Relay, header: bytes) -> None:
        Smtp(
            relay.place, relay.host, port, name=relay.domain, tls=True, alpn=alpn, before=header
        ).close()

    return talk


def imap(port: int, tls: bool, alpn: tuple[str, ...] = ()) -> Callable[[Relay, bytes], None]:
    """Log in by IMAP after a forged header."""

    def talk(relay: Relay, header: bytes) -> None:
        with Imap(
            relay.place, relay.host, port, name=relay.domain, tls=tls, alpn=alpn, before=header
        ) as connection:
            if not tls:
                connection.starttls()
            connection.login(relay.invent().address, "not the password")

    return talk


def https(port: int, tls: bool = True) -> Callable[[Relay, bytes], None]:
    """Ask for a page after a forged header."""

    def talk(relay: Relay, header: bytes) -> None:
        answer = web.request(
            relay.place,
            relay.host,
            "GET",
            "/new",
            name=relay.domain,
            port=port,
            tls=tls,
            before=header,
        )
        assert answer.status >= 400

    return talk


PUBLIC = {
    "25": smtp_greeting(25),
    "587": smtp_greeting(587),
    "465": smtp_tls(465, ()),
    "143": imap(143, tls=False),
    "993": imap(993, tls=True),
    "443 smtp": smtp_tls(443, ("smtp",)),
    "443 imap": imap(443, tls=True, alpn=("imap",)),
    "443 https": https(443),
    "8443": https(8443),
    "80": https(80, tls=False),
}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("port", PUBLIC)
def test_forged_proxy_header(relay: Relay, port: str, version: str) -> None:
    """No public port believes a PROXY header: nobody is logged as coming from there."""
    position = relay.log_position()
    with suppress(EOFError, OSError, AssertionError):
        PUBLIC[port](relay, PROXY_V1 if version == "1" else PROXY_V2)
    with peer(relay.place, relay.host, relay.domain) as smtp:
        marker = f"marker-{port.replace(' ', '-')}-{version}"
        smtp.command(f"MAIL FROM:<someone@{marker}.lab>")
        smtp.command(f"RCPT TO:<nobody@{relay.domain}>")
    relay.wait_for_log(position, marker)
    assert not re.search(AS_A_CLIENT, relay.log_since(position))


def test_443_knows_the_client(relay: Relay) -> None:
    """Through 443 the daemons see the client's own address, by IMAP and submission."""
    user = relay.signup()
    position = relay.log_position()
    with relay.imap(port=443, alpn=("imap",)) as connection:
        own = connection.local_address
        assert connection.login(user.address, user.password).ok
    assert own in relay.wait_for_log(position, r"imap-login: (Logged in|Login):")
    with Smtp(relay.place, relay.host, 443, name=relay.domain, tls=True, alpn=("smtp",)) as smtp:
        smtp.hello()
        smtp.login(user.address, user.password)
        reply = smtp.envelope("someone@other.lab", [user.address])
        assert reply.code == 553
    assert f"[{own}]" in relay.wait_for_log(position, r"submission.*reject")
