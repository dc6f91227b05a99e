"""What the doctor sends is what the filter lets pass, and what it has signed is verified."""

import base64
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chatmail_relay.doctor import account, openpgp, signing
from chatmail_relay.doctor.milter import NO_CONNECT, NO_HELO, Milter, Refused
from chatmail_relay.zone.judge import Unanswered

from chatmaild import mime, rules
from tests import messages as make
from tests.clients import dkim

SENDER, OTHER = "doctor@_alpha.lab", "echo@peer.lab"
NOW = 1_800_000_000.0
ANSWER = b"c"


def test_encrypted_message_passes() -> None:
    """What is sent to oneself passes the filter on its way out."""
    armored = make.armor(make.pkesk() + make.seipd()).replace(b"\r\n", b"\n")
    letter = openpgp.encrypted(SENDER, SENDER, armored, NOW)
    verdict = rules.outgoing(SENDER.encode(), letter.content)
    assert not verdict.refusal, verdict
    assert letter.message_id.encode() in letter.content


def test_request_to_join_passes() -> None:
    """The request to a bot passes the filters of both relays, and names key and invite."""
    certificate = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + b"Zm9v\n" * 40 + b"=abcd\n-----END"
    key = openpgp.Key(b"", certificate)
    letter = openpgp.join_request(SENDER, OTHER, "number-1", key.autocrypt, NOW)
    assert not rules.outgoing(SENDER.encode(), letter.content).refusal
    message = mime.parse_entity(letter.content)
    assert mime.is_securejoin_request(message)
    assert message.headers.all(b"secure-join-invitenumber")[0].strip() == b"number-1"
    assert b"".join(message.headers.all(b"autocrypt")[0].split()).endswith(b"Zm9v" * 40)
    assert max(map(len, letter.content.split(b"\r\n"))) < 100


@contextmanager
def server(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server at a unix socket that does SERVE to one client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            client, _address = listener.accept()
            with client:
                serve(client)

        thread = threading.Thread(target=run)
        thread.start()
        yield str(path)
        thread.join(10)


def packet(data: bytes) -> bytes:
    """A milter's packet."""
    return struct.pack("!I", len(data)) + data


def milter(*at_end: bytes, heard: list[bytes], flags: int = 0) -> Callable[[socket.socket], None]:
    """A milter that goes on until the end of the message, and then says AT_END."""

    def serve(client: socket.socket) -> None:
        file = client.makefile("rb")
        while head := file.read(4):
            data = file.read(struct.unpack("!I", head)[0])
            heard.append(data)
            if data[:1] == b"O":
                client.sendall(packet(b"O" + struct.pack("!III", 6, 0x11, flags)))
            elif data[:1] == b"E":
                client.sendall(b"".join(map(packet, at_end)))
            elif data[:1] not in (b"D", b"Q"):
                client.sendall(packet(ANSWER))

    return serve


def test_milter_adds_a_field(tmp_path: Path) -> None:
    """The field it inserts is returned; steps it does not want to hear of are left out."""
    heard: list[bytes] = []
    inserted = b"i" + struct.pack("!I", 0) + b"DKIM-Signature\0 v=1\0"
    serve = milter(b"p", inserted, b"c", heard=heard, flags=NO_CONNECT | NO_HELO)
    with server(tmp_path / "milter", serve) as path:
        fields = [(b"From", b"a@b.lab")]
        added = Milter(path, "ORIGINATING", 10).added_to(
            "a@b.lab", "c@b.lab", fields, b"x" * 70_000
        )
    assert added == [(b"DKIM-Signature", b" v=1")]
    kinds = b"".join(data[:1] for data in heard)
    assert kinds == b"ODDMRTLNBBEQ"
    assert b"{daemon_name}\0ORIGINATING\0" in heard[1]


@pytest.mark.parametrize("answer", [b"t", b"r", b"d", b"y451 4.7.1 later\0"])
def test_milter_refuses(tmp_path: Path, answer: bytes) -> None:
    """A refusal is said as such."""
    serve = milter(answer, heard=[])
    with (
        server(tmp_path / "milter", serve) as path,
        pytest.raises(Refused),
    ):
        Milter(path, "ORIGINATING", 10).added_to("a@b.lab", "c@b.lab", [], b"")


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 no\r\n", packet(b"c"), packet(b"")])
def test_no_milter(tmp_path: Path, words: bytes) -> None:
    """What speaks another protocol, or hangs up, is no traceback."""

    def serve(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(words)

    with server(tmp_path / "milter", serve) as path, pytest.raises(Refused):
        Milter(path, "ORIGINATING", 10).added_to("a@b.lab", "c@b.lab", [], b"")


def test_account_is_asked_for(tmp_path: Path) -> None:
    """One line there, one line back."""
    heard = []

    def serve(client: socket.socket) -> None:
        heard.append(client.recv(100))
        client.sendall(b"ok\n")

    with server(tmp_path / "socket", serve) as path:
        assert account.ask(path, "account\t6162", 10) == "ok"
    assert heard == [b"account\t6162\n"]


def signed() -> tuple[bytes, dkim.Peer]:
    """A message as OpenDKIM would have signed it, and who signed."""
    peer = dkim.Peer(dkim.rsa_key(), "_alpha.lab", "opendkim")
    fields, body = signing.message(SENDER, NOW)
    return peer.sign(signing.wire(fields, body), header="relaxed", body="simple"), peer


def test_own_signature_fits() -> None:
    """With the record that belongs to the key others believe it."""
    content, peer = signed()
    asked = []

    def texts(name: str) -> list[str]:
        asked.append(name)
        return ["another text", peer.record]

    assert signing.verify(content, texts) == ""
    assert asked == ["opendkim._domainkey._alpha.lab"]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ([], "no key is published"),
        (["v=spf1 -all"], "no key is published"),
        (["v=DKIM1; p=aaaa", "v=DKIM1; p=bbbb"], "several keys are published"),
        (["v=DKIM1; k=rsa; p="], ""),
        (["v=DKIM1; k=rsa; p=!!!"], ""),
        (["v=DKIM1; k=rsa; p=" + base64.b64encode(b"no key").decode()], ""),
        ([dkim.Peer(dkim.rsa_key(1024)).record], "the published key is another one"),
    ],
)
def test_own_signature_does_not_fit(texts: list[str], problem: str) -> None:
    """With any other record it is said what is wrong."""
    found = signing.verify(signed()[0], lambda _name: texts)
    assert found
    assert problem in found


def test_record_cannot_be_asked_for() -> None:
    """Silent servers are named as such."""

    def silent(name: str) -> list[str]:
        raise Unanswered("it does not answer")

    assert "it does not answer" in signing.verify(signed()[0], silent)
