"""A relay under test, as its admin, its users and its peers have it."""

import random
import re
import string
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests import messages as make
from tests.clients import smtp, web
from tests.clients.imap import Imap
from tests.clients.net import Place
from tests.clients.smtp import Smtp
from tests.lab import Machine

INI = "/etc/chatmail-relay/chatmail.ini"
MAIL = "/var/lib/chatmail/mail"
OUR_UNITS = (
    "doveauth.service",
    "filtermail.service",
    "chatmail-metadata.service",
    "lastlogin.service",
    "newemail.service",
    "chatmail-mxdeliv.service",
    "chatmail-deliver.service",
    "chatmail-turn.service",
    "chatmail-iroh-relay.service",
    "chatmail-mtail.service",
    "chatmail-mta-sts.service",
    "chatmail-resolver.service",
)
OUR_DAEMONS = OUR_UNITS[:-5]
DAEMONS = (*OUR_UNITS, "dovecot.service", "nginx.service")
PATIENCE = 10.0  # seconds until a line is in the journal, a mail in its folder


@dataclass(frozen=True)
class User:
    """An address with its password."""

    address: str
    password: str

    @property
    def localpart(self) -> str:
        """What stands before the at sign."""
        return self.address.partition("@")[0]


@dataclass(frozen=True)
class Relay:
    """A machine with chatmail-relay, and the place its clients are in."""

    machine: Machine
    place: Place
    domain: str

    @property
    def host(self) -> str:
        """The address clients connect to."""
        return self.machine.ipv4

    @property
    def postfix(self) -> str:
        """The unit whose main process is Postfix's."""
        return "postfix@-.service" if self.machine.suite == "bookworm" else "postfix.service"

    def imap(self, **options: object) -> Imap:
        """A connection to port 993, not logged in."""
        return Imap(self.place, self.host, **{"name": self.domain, **options})  # type: ignore[arg-type]

    def peer(self) -> Smtp:
        """A connection to port 25 with TLS, as another relay makes it."""
        return smtp.peer(self.place, self.host, self.domain)

    def submission(self, user: User) -> Smtp:
        """A connection to port 465, logged in."""
        return smtp.submission(self.place, self.host, self.domain, user.address, user.password)

    def send(self, sender: User, to: str, size: int = 1600) -> bytes:
        """Send a message through port 465, which is taken; the line of its Message-ID."""
        content = make.encrypted(sender.address, to, size, crc=size < 100_000)
        with self.submission(sender) as smtp:
            reply = smtp.deliver(sender.address, [to], content)
        assert reply.code == 250, f"not taken: {reply}"
        return mark_of(content)

    def web(self, method: str, path: str, **options: object) -> web.Response:
        """One request on port 443."""
        return web.request(
            self.place,
            self.host,
            method,
            path,
            **{"name": self.domain, **options},  # type: ignore[arg-type]
        )

    def invent(self, localpart: str | None = None) -> User:
        """An address nobody has, with a password."""
        localpart = localpart or _letters(9)
        # A domain that is an IPv4 address is in brackets in mail addresses.
        domain = f"[{self.domain}]" if self.domain == self.host else self.domain
        return User(f"{localpart}@{domain}", _letters(20))

    def signup(self, user: User | None = None) -> User:
        """Make an account by its first login."""
        user = user or self.invent()
        with self.imap() as imap:
            answer = imap.login(user.address, user.password)
        assert answer.ok, f"{user.address} cannot sign up: {answer}"
        return user

    def can_log_in(self, user: User) -> bool:
        """Whether IMAP accepts the user."""
        with self.imap() as imap:
            return imap.login(user.address, user.password).ok

    def folder(self, user: User) -> Path:
        """The user's mailbox, seen from the host."""
        return self.machine.path(f"{MAIL}/{self.domain}/{user.address}")

    def addresses(self) -> set[str]:
        """Every name in the folder of mailboxes."""
        folder = self.machine.path(f"{MAIL}/{self.domain}")
        return {entry.name for entry in folder.iterdir()} if folder.exists() else set()

    def mails(self, user: User) -> list[bytes]:
        """The messages in the user's inbox."""
        folder = self.folder(user)
        files = [path for name in ("new", "cur") for path in folder.glob(f"{name}/*")]
        return [path.read_bytes() for path in files]

    def wait_for_mail(self, user: User, needle: bytes, patience: float = PATIENCE) -> bytes:
        """The message with these bytes in it, once it has come."""
        deadline = time.monotonic() + patience
        while True:
            for mail in self.mails(user):
                if needle in mail:
                    return mail
            assert time.monotonic() < deadline, f"no mail with {needle!r} in {patience} s"
            time.sleep(0.02)

    def queue(self) -> list[str]:
        """The messages Postfix still has, each as JSON."""
        return self.machine.run("postqueue -j").stdout.splitlines()

    def wait_for_empty_queue(self, patience: float = 60.0) -> None:
        """Wait until Postfix has delivered all it took."""
        deadline = time.monotonic() + patience
        while waiting := self.queue():
            assert time.monotonic() < deadline, f"not delivered in {patience} s: {waiting}"
            time.sleep(0.1)

    def apply(self, *, check: bool = True) -> CompletedProcess[str]:
        """Run `chatmail-relay apply`."""
        return self.machine.run("chatmail-relay apply 2>&1", check=check)

    def edit(self, values: Mapping[str, str]) -> None:
        """Set values in the ini as an admin with an editor does; nothing is applied."""
        lines = self.machine.read(INI).splitlines()
        for key, value in values.items():
            live = [at for at, line in enumerate(lines) if re.match(rf"{key}\s*=", line)]
            shown = [at for at, line in enumerate(lines) if re.match(rf"#{key}\s*=", line)]
            for at in (live or shown)[:1]:
                lines[at] = f"{key} = {value}"
            if not live and not shown:
                lines.append(f"{key} = {value}")
        self.machine.write(INI, "\n".join(lines) + "\n", 0o600)

    def setting(self, key: str) -> str | None:
        """A value as it stands in the ini."""
        match = re.search(rf"(?m)^{key}[ \t]*=[ \t]*(.*)$", self.machine.read(INI))
        return match[1].strip() if match else None

    def change(self, **values: object) -> None:
        """Set values in the ini and apply them."""
        self.edit({key: str(value) for key, value in values.items()})
        done = self.apply(check=False)
        assert done.returncode == 0, done.stdout

    def ignore_load(self) -> None:
        """Let accounts be made however busy this host is: its machines see its load average."""
        self.change(create_max_load=10_000)

    @contextmanager
    def changed(self, **values: object) -> Iterator[None]:
        """Have other settings for a while."""
        before = self.machine.read(INI)
        try:
            self.change(**values)
            yield
        finally:
            self.machine.write(INI, before, 0o600)
            self.apply()

    def log_position(self) -> str:
        """A cursor at the end of the relay's journal."""
        shown = self.machine.run("journalctl --namespace=chatmail -q -n 1 -o json --no-pager")
        match = re.search(r'"__CURSOR"\s*:\s*"([^"]+)"', shown.stdout)
        assert match, f"the journal namespace chatmail is empty: {shown}"
        return match[1]

    def log_since(self, position: str) -> str:
        """The relay's journal after a cursor."""
        show = "journalctl --namespace=chatmail -q --no-pager -o short-unix"
        return self.machine.run(f"{show} --after-cursor='{position}'").stdout

    def wait_for_log(self, position: str, pattern: str, patience: float = PATIENCE) -> str:
        """The journal's line after a cursor that matches, once it is there."""
        deadline = time.monotonic() + patience
        while True:
            log = self.log_since(position)
            for line in log.splitlines():
                if re.search(pattern, line):
                    return line
            assert time.monotonic() < deadline, f"nothing like {pattern!r} in the journal:\n{log}"
            time.sleep(0.1)

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as systemctl shows them."""
        shown = self.machine.run(f"systemctl show {unit} --property={','.join(names)}").stdout
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def mark_of(message: bytes) -> bytes:
    """The line of a message by which it is known wherever it comes."""
    match = re.search(rb"(?m)^Message-ID: [^\r\n]*", message)
    assert match
    return match[0]


def _letters(count: int) -> str:
    return "".join(random.choices(string.ascii_lowercase, k=count))
