"""doveauth's lines beside a regular expression of the names and passwords that make an account."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from chatmaild.counts import Tally
from chatmaild.doveauth import Accounts, LineService, Recipients, World
from chatmaild.limits import State

from tests.fuzz.surroundings import AtOnce, answered, memory
from tests.fuzz.target import FalseAccept, Target
from tests.unit.daemons import settings

_CREATE = re.compile(
    rb"create\t(?P<name>[A-Za-z0-9._-]{9})@_[Aa][Ll][Pp][Hh][Aa]\.[Ll][Aa][Bb]"
    rb"\t(?P<hex>(?:[0-9A-Fa-f]{2}){9,512})\t[\x00-\x08\x0a-\x7f]*"
)
# None of the reserved names has nine characters but this one.
_RESERVED = b"webmaster"
_SEEN = re.compile(rb"seen\t([A-Za-z0-9._-]{1,64}@_[Aa]lpha\.lab)\t[0-9]{1,12}", re.I)
_ANSWER = re.compile(rb"(?:ok|exists|unknown|(?:refused|later)\t[^\t\n]+|[a-z0-9._@ -]*)\n")


class Lines(Target):
    """One request line, on an empty relay."""

    words = (
        *(b"create\t", b"seen\t", b"list", b"abcdefghi@_alpha.lab", b"@_alpha.lab", b"\t", b"../"),
        *(b"70617373776f7264", b"00", b"zz", b"\t192.0.2.1", b"\t2001:db8::1", b"1700000000"),
        *(b"postmaster", b"\xe2\x84\xaa", b"/", b".", b"..", b"%", b"\0", b"A", b"_ALPHA.LAB"),
    )

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-doveauth-", dir=memory()))
        relay = settings(self._folder, max_new_accounts_per_hour=1_000_000)
        self._domain = Path(relay.domain_dir)
        self._loop = asyncio.new_event_loop()
        plenty = State(load=0.0, memory=1 << 40, disk=1 << 40)
        world = World(lambda: 1.7e9, lambda: 0.0, lambda _: plenty, lambda _: "{X}hash")
        accounts = Accounts(relay, AtOnce(), world)
        self._lines = LineService(accounts, frozenset(("create", "seen", "list")), Tally())
        self._recipients = Recipients(relay)

    def close(self) -> None:
        """Remove the relay's folder."""
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def seeds(self) -> Iterable[bytes]:
        """Requests as the Lua script and lastlogin write them."""
        password = b"correct horse battery".hex().encode()
        for name in (
            b"abcdefghi",
            b"a.b_c-d09",
            b"ABCDEFGHI",
            b"short",
            b"postmaster",
            b"../../etc",
        ):
            yield b"create\t" + name + b"@_alpha.lab\t" + password + b"\t192.0.2.1"
        yield b"create\tabcdefghi@_alpha.lab\t" + b"61" * 512 + b"\t2001:db8::1"
        yield b"seen\tabcdefghi@_alpha.lab\t1700000000"
        yield b"list"

    def check(self, data: bytes) -> bool:
        """Hold the answer to the expression, and the disk to the answer."""
        if b"\n" in data:
            return False
        self._domain.mkdir(exist_ok=True)
        try:
            answer = self._ask(data)
            if not _ANSWER.fullmatch(answer):
                raise FalseAccept(f"answer {answer!r}")
            self._recipients.exists(data.decode("latin-1"))
            self._compare(data, answer)
        finally:
            shutil.rmtree(self._domain)
        return answer == b"ok\n"

    def _ask(self, data: bytes) -> bytes:
        return self._loop.run_until_complete(answered(self._lines.handle(data)))

    def _compare(self, data: bytes, answer: bytes) -> None:
        made = sorted(path.name for path in self._domain.iterdir())
        request = _CREATE.fullmatch(data)
        if (
            request
            and request["name"].lower() != _RESERVED
            and b"\0" not in bytes.fromhex(request["hex"].decode())
        ):
            wanted = [request["name"].decode().lower() + "@_alpha.lab"]
            if (answer, made) != (b"ok\n", wanted):
                raise FalseAccept(f"{answer!r}, made {made}")
        elif answer == b"ok\n" or made:
            raise FalseAccept(f"{answer!r}, made {made}")
        if answer == b"unknown\n" and not _SEEN.fullmatch(data):
            raise FalseAccept("it looked for a user of another name")
        if list(self._folder.iterdir()) != [self._domain]:
            raise FalseAccept("something was made outside the domain's folder")
