"""doveauth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from chatmaild.doveauth import MAX_WAITING, Sockets, World, serve
from chatmaild.figuresources import counts
from chatmaild.limits import MIB, State
from chatmaild.socketmap import netstring

from tests.unit.daemons import DOMAIN, USER, live, settings, talk

IDLE = State(0.0, 1000 * MIB, 10_000 * MIB)
NOON = 1_800_000_000.0
PASSWORD = b"password-1"


def world(hash_password: Callable[[bytes], str] = bytes.hex, state: State = IDLE) -> World:
    """A machine at noon whose hash is quick."""
    return World(lambda: NOON, lambda: 0.0, lambda _: state, hash_password)


@pytest.fixture
def sockets(tmp_path: Path) -> Sockets:
    """All sockets in one folder."""
    names = ("auth", "seen", "policy", "recipients", "doctor", "echo", "counts")
    return Sockets(*(tmp_path / f"{name}.sock" for name in names))


@pytest.fixture
def domain_dir(tmp_path: Path) -> Path:
    """Where the mailboxes are."""
    return tmp_path / DOMAIN


def create(user: str = USER, password: bytes = PASSWORD, client: str = "10.0.0.1") -> bytes:
    """A creation as Lua asks for it."""
    return f"create\t{user}\t{password.hex()}\t{client}\n".encode()


async def ask_map(socket: Path, *requests: str) -> list[bytes]:
    """The replies of a socketmap."""
    data = b"".join(netstring(request.encode()) for request in requests)
    [answer] = await talk(socket, data, end=True)
    found = []
    while answer:
        size, _, answer = answer.partition(b":")
        found.append(answer[: int(size)])
        answer = answer[int(size) + 1 :]
    return found


def test_create(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """A first login makes the account, a second finds it."""

    async def client() -> None:
        assert await talk(sockets.auth, create(), create(USER.upper())) == [b"ok\n", b"exists\n"]
        assert await talk(sockets.auth, b"list\n") == [USER.encode() + b"\n"]

    live(serve(settings(tmp_path), sockets, world()), client)
    assert (domain_dir / USER / "password").read_text() == f"{PASSWORD.hex()}\n"


def test_real_hash(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """What is stored is Dovecot's scheme."""

    async def client() -> None:
        assert await talk(sockets.auth, create()) == [b"ok\n"]

    values = {"create_max_load": 10_000, "create_min_disk_mib": 0, "create_min_memory_mib": 0}
    live(serve(settings(tmp_path, **values), sockets), client)
    assert (domain_dir / USER / "password").read_text().startswith("{SHA512-CRYPT}$6$")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (create("abcdefgh@_alpha.lab"), b"refused\tthe name has 8 characters, not 9\n"),
        (create("postmaster@_alpha.lab"), b"refused\tthe name is reserved\n"),
        (create(password=b"12345678"), b"refused\tthe password has 8 bytes of its own, not 9\n"),
        (create(password=b"x" * 513), b"refused\tthe password has more than 512 bytes\n"),
        (create(password=b"password\0x"), b"refused\tthe password has a NUL byte\n"),
        (create("abcdefghi@other.lab"), b"refused\tnot an address of this relay\n"),
        (create("../abcdef@_alpha.lab"), b"refused\tnot an address of this relay\n"),
        (create("abcdefghé@_alpha.lab"), b"refused\tnot an address of this relay\n"),
        (
            b"create\tabcdefghi@_alpha.lab\tzz\tx\n",
            b"refused\tthe password is not in hexadecimal\n",
        ),
        (b"create\tabcdefghi@_alpha.lab\t61 62\tx\n", b"refused\tthe password is not in hex"),
        (b"create\tabcdefghi@_alpha.lab\n", b"refused\t3 fields are wanted, not 1\n"),
        (b"create\n", b"refused\t3 fields are wanted, not 0\n"),
        (b"seen\tabcdefghi@_alpha.lab\t1\n", b"unknown\n"),
        (b"seen\tabcdefghi@other.lab\t1\n", b"refused\tnot an address of this relay\n"),
        (b"seen\tabcdefghi@_alpha.lab\t-1\n", b"refused\tnot a time\n"),
        (b"seen\tabcdefghi@_alpha.lab\t1e9\n", b"refused\tnot a time\n"),
        (b"seen\tabcdefghi@_alpha.lab\t" + b"9" * 400 + b"\n", b"refused\tnot a time\n"),
        (b"list\n", b"\n"),
        (b"delete\tabcdefghi@_alpha.lab\n", b"refused\tno such command\n"),
        (b"\n", b"refused\tno such command\n"),
        (b"\xff\n", b"refused\tnot an address of this relay\n"),
    ],
)
def test_refused(
    tmp_path: Path, sockets: Sockets, domain_dir: Path, request_: bytes, answer: bytes
) -> None:
    """Everything against the rules makes nothing and is answered with its reason."""

    async def client() -> None:
        [found] = await talk(sockets.auth, request_)
        assert found.startswith(answer)

    live(serve(settings(tmp_path), sockets, world()), client)
    assert list(domain_dir.iterdir()) == []


def test_refusals_are_logged(
    tmp_path: Path, sockets: Sockets, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, without address and password."""

    async def client() -> None:
        await talk(sockets.auth, create(password=b"short"), create("echo@_alpha.lab"))

    with caplog.at_level(logging.INFO):
        live(serve(settings(tmp_path), sockets, world()), client)
    assert "(refused): the password has 5 bytes" in caplog.text
    assert "(refused): the name is reserved" in caplog.text
    assert "short" not in caplog.text
    assert "_alpha.lab" not in caplog.text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(9.0, 1000 * MIB, 10_000 * MIB), b"load 9.00"),
        (State(0.0, 100 * MIB, 10_000 * MIB), b"memory"),
        (State(0.0, 1000 * MIB, 1000 * MIB), b"disk"),
    ],
)
def test_short_machine(
    tmp_path: Path, sockets: Sockets, domain_dir: Path, state: State, words: bytes
) -> None:
    """No new account for now; who exists is still found."""

    async def client() -> None:
        (domain_dir / USER).mkdir()
        (domain_dir / USER / "password").write_text("")
        [found] = await talk(sockets.auth, create(f"other1234@{DOMAIN}"))
        assert found.startswith(b"later\t")
        assert words in found
        assert await talk(sockets.auth, create()) == [b"exists\n"]

    live(serve(settings(tmp_path), sockets, world(state=state)), client)


def test_limit_per_block(tmp_path: Path, sockets: Sockets) -> None:
    """Only accounts that were made count, and only for their block."""

    async def client() -> None:
        async def one(name: str, address: str) -> bytes:
            [found] = await talk(sockets.auth, create(f"{name}@{DOMAIN}", client=address))
            return found.partition(b"\t")[0].strip()

        assert await one("aaaaaaaa1", "10.0.0.1") == b"ok"
        assert await one("aaaaaaaa1", "10.0.0.1") == b"exists"
        assert await one("short", "10.0.0.1") == b"refused"
        assert await one("aaaaaaaa2", "10.0.0.2") == b"ok"
        assert await one("aaaaaaaa3", "::ffff:10.0.0.3") == b"later"
        assert await one("aaaaaaaa3", "10.0.1.1") == b"ok"

    live(serve(settings(tmp_path, max_new_accounts_per_hour=2), sockets, world()), client)


def test_race_for_a_name(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """Fifty at once with passwords of their own: one is told ok, and its password is stored."""
    passwords = [f"password-{number:02}".encode() for number in range(50)]

    async def client() -> None:
        requests = [talk(sockets.auth, create(password=password)) for password in passwords]
        answers = [found for [found] in await asyncio.gather(*requests)]
        assert answers.count(b"ok\n") == 1
        assert answers.count(b"exists\n") == 49
        winner = passwords[answers.index(b"ok\n")]
        assert (domain_dir / USER / "password").read_text() == f"{winner.hex()}\n"

    live(serve(settings(tmp_path), sockets, world()), client)


def test_queue_is_bounded(tmp_path: Path, sockets: Sockets) -> None:
    """Whoever comes when all is busy is told so at once, the others get their account."""
    gate = Event()

    def slow(password: bytes) -> str:
        gate.wait()
        return "{X}"

    async def client() -> None:
        names = [f"user{number:05}@{DOMAIN}" for number in range(MAX_WAITING + 5)]
        requests = [asyncio.create_task(talk(sockets.auth, create(name))) for name in names]
        done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        assert all(one.result()[0].startswith(b"later\ttoo many") for one in done)
        assert await ask_map(sockets.recipients, f"recipients {names[0]}") == [b"NOTFOUND "]
        gate.set()
        answers = [found for [found] in await asyncio.gather(*requests)]
        assert answers.count(b"ok\n") == MAX_WAITING

    try:
        live(serve(settings(tmp_path), sockets, world(slow)), client)
    finally:
        gate.set()


def test_failure_to_hash_is_temporary(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """A library that fails makes no account, and the limit does not count it."""

    def fail(password: bytes) -> str:
        raise OSError("libcrypt could not hash a password")

    async def client() -> None:
        for _ in range(3):
            [found] = await talk(sockets.auth, create())
            assert found == b"later\tlibcrypt could not hash a password\n"

    live(serve(settings(tmp_path, max_new_accounts_per_hour=1), sockets, world(fail)), client)
    assert list(domain_dir.iterdir()) == []


def test_seen(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """The day is noted; the future is today."""

    async def client() -> None:
        await talk(sockets.auth, create())
        line = f"seen\t{USER}\t%d\n"
        password = domain_dir / USER / "password"
        for when, day in ((NOON - 86_400, NOON - 86_400), (NOON + 10**9, NOON)):
            assert await talk(sockets.seen, (line % when).encode()) == [b"ok\n"]
            assert password.stat().st_mtime == day // 86_400 * 86_400

    live(serve(settings(tmp_path), sockets, world()), client)


def test_seen_socket_makes_no_account(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """lastlogin may only tell of logins."""

    async def client() -> None:
        answers = await talk(sockets.seen, create(), b"list\n")
        assert answers == [b"refused\tno such command\n"] * 2

    live(serve(settings(tmp_path), sockets, world()), client)
    assert list(domain_dir.iterdir()) == []


def test_recipients(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """Who exists is found, blocked or not; nothing is created; other errors are temporary."""
    blocked, odd = f"blocked12@{DOMAIN}", f"odd123456@{DOMAIN}"
    requests = {
        f"recipients {USER}": f"OK {USER}",
        f"recipients {USER.upper()}": f"OK {USER}",
        f"recipients {blocked}": f"OK {blocked}",
        f"recipients {odd}": "TEMP something that is no mailbox lies in the place of one",
        f"recipients nobody123@{DOMAIN}": "NOTFOUND ",
        f"recipients @{DOMAIN}": "NOTFOUND ",
        "recipients abcdefghi": "NOTFOUND ",
        f"recipients ../{USER}": "NOTFOUND ",
        f"recipients postmaster@{DOMAIN}": "NOTFOUND ",
        f"cleartext {USER}": "NOTFOUND ",
        f"cleartext {blocked}": "OK ",
        f"cleartext nobody123@{DOMAIN}": "NOTFOUND ",
        f"cleartext abuse@{DOMAIN}": "NOTFOUND ",
        f"other {USER}": "PERM no such map",
    }

    async def client() -> None:
        await talk(sockets.auth, create())
        (domain_dir / blocked).mkdir()
        (domain_dir / blocked / "password").write_text("")
        (domain_dir / odd).symlink_to(domain_dir / USER)
        replies = await ask_map(sockets.policy, *requests)
        assert [reply.decode() for reply in replies] == list(requests.values())
        assert not (domain_dir / f"nobody123@{DOMAIN}").exists()
        replies = await ask_map(sockets.recipients, f"recipients {USER}", f"cleartext {blocked}")
        assert replies == [f"OK {USER}".encode(), b"PERM no such map"]

    live(serve(settings(tmp_path), sockets, world()), client)


def test_contact_s_addresses(tmp_path: Path, sockets: Sockets) -> None:
    """With a contact, postmaster and abuse are recipients, and take cleartext."""
    requests = {
        f"recipients postmaster@{DOMAIN}": f"OK postmaster@{DOMAIN}",
        f"recipients ABUSE@{DOMAIN}": f"OK abuse@{DOMAIN}",
        f"cleartext postmaster@{DOMAIN}": "OK ",
        f"recipients root@{DOMAIN}": "NOTFOUND ",
    }

    async def client() -> None:
        replies = await ask_map(sockets.policy, *requests)
        assert [reply.decode() for reply in replies] == list(requests.values())

    live(serve(settings(tmp_path, admin_contact="me@example.org"), sockets, world()), client)


@pytest.mark.parametrize("data", [b"x" * 10_000, b"create\t" + b"y" * 5000 + b"\n", b"\0" * 5000])
def test_hostile_lines(tmp_path: Path, sockets: Sockets, data: bytes) -> None:
    """A line beyond all measure ends its connection only."""

    async def client() -> None:
        assert await talk(sockets.auth, data) == [b""]
        assert await talk(sockets.auth, b"list\n") == [b"\n"]

    live(serve(settings(tmp_path), sockets, world()), client)


def test_end_waits_for_creations(tmp_path: Path, sockets: Sockets, domain_dir: Path) -> None:
    """A creation under way when the daemon ends is finished and answered."""
    gate, begun = Event(), Event()

    def slow(password: bytes) -> str:
        begun.set()
        gate.wait()
        return "{X}"

    async def both() -> None:
        async with asyncio.timeout(10):
            async with serve(settings(tmp_path), sockets, world(slow)):
                talking = asyncio.create_task(talk(sockets.auth, create()))
                while not begun.is_set():
                    await asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(gate.set)
            assert await talking == [b"ok\n"]

    asyncio.run(both())
    assert (domain_dir / USER / "password").read_text() == "{X}\n"


def test_counted(tmp_path: Path, sockets: Sockets) -> None:
    """Accounts that were made, and those that were not by the reason, are counted."""

    async def client() -> None:
        short = create("abcdefgh@_alpha.lab")
        other = f"other1234@{DOMAIN}"
        await talk(sockets.auth, create(), create(), short, create(other, client="10.0.0.2"))
        counted = await asyncio.to_thread(counts, sockets.counts)
        assert counted == {("created",): 1, ("refused", "name"): 1, ("refused", "rate"): 1}

    live(serve(settings(tmp_path, max_new_accounts_per_hour=1), sockets, world()), client)


@pytest.mark.parametrize("registration", ["open", "closed"])
def test_back_before_the_end(
    tmp_path: Path, sockets: Sockets, domain_dir: Path, registration: str
) -> None:
    """Who logs in while being deleted for absence is no new account, and is there again."""

    async def client() -> None:
        box = domain_dir / USER
        box.mkdir()
        (box / "password.leaving").write_text("{X}hash\n")
        assert await ask_map(sockets.recipients, f"recipients {USER}") == [f"OK {USER}".encode()]
        assert await talk(sockets.auth, create()) == [b"exists\n"]
        assert (box / "password").read_text() == "{X}hash\n"
        (box / "password").rename(box / "password.leaving")
        assert await talk(sockets.seen, f"seen\t{USER}\t1\n".encode()) == [b"ok\n"]
        assert (box / "password").exists()

    live(serve(settings(tmp_path, registration=registration), sockets, world()), client)


def test_full_mailboxes(tmp_path: Path, sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a mailbox is flagged as full Postfix is told what to answer; of others nothing."""
    flags = tmp_path / "full"
    flags.mkdir()
    monkeypatch.setattr("chatmaild.doveauth.FULL", flags)
    (flags / USER).touch()
    (tmp_path / f"x@{DOMAIN}").touch()
    known = {
        f"full {USER}": b"OK 452 4.2.2 the mailbox is full",
        f"full {USER.upper()}": b"OK 452 4.2.2 the mailbox is full",
        f"full other1234@{DOMAIN}": b"NOTFOUND ",
        f"full ../x@{DOMAIN}": b"NOTFOUND ",
        f"full {DOMAIN}": b"NOTFOUND ",
        "full abcdefghi@": b"NOTFOUND ",
        "full ": b"NOTFOUND ",
    }

    async def client() -> None:
        assert await ask_map(sockets.recipients, *known) == list(known.values())
        replies = await ask_map(sockets.policy, f"full {USER}")
        assert replies == [b"PERM no such map"]

    live(serve(settings(tmp_path), sockets, world()), client)
