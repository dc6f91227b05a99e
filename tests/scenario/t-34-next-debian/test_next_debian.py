"""Purpose: a relay that is in use goes from Debian 12 to 13 by apt alone, and loses nothing by it.

The suite is changed wherever apt is told of it, and `apt full-upgrade` does the rest: another
Dovecot with another configuration, another Python under our daemons. Somebody reads, writes and is
written to all the while. Afterwards clients find everything where it was.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools import roots
from devtools.progress import Progress
from tests import messages as make
from tests.clients.relay import MAIL, Relay, User, mark_of
from tests.clients.watch import Letters, Watch, asks, from_a_peer, from_a_user
from tests.lab import Lab, Machine
from tests.lab.installing import build
from tests.lab.judging import judged

pytestmark = pytest.mark.long

DEBIAN = Path(__file__).parents[3] / "debian"
DOMAIN = "_alpha.lab"
OLD, NEW = "bookworm", "trixie"
MINUTES = 2400.0
PATIENCE = 60.0  # seconds until all that had to wait is delivered, once the upgrade is judged
PLENTY = 10_000
NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}
OURS = "chatmail-* chatmaild dovecot-instant iroh-relay"
SOURCES = "sed -i s/bookworm/trixie/g $(find /etc/apt -name '*.list' -o -name '*.sources')"
ROOT_KEY = "/usr/share/dns/root.key"
DIVERTED = f"dpkg-divert --local --no-rename --divert {ROOT_KEY}.debian --add {ROOT_KEY}"
"""The lab's key of the root stays; without that, dpkg would delete what it may not replace."""
KEPT = (
    "/etc/chatmail-relay/chatmail.ini",
    "/var/lib/chatmail-relay/dkim",
    "/var/lib/chatmail-relay/tls",
    f"{MAIL}/{DOMAIN}/*/password",
)
"""Files that nobody may touch: settings, keys, passwords."""
LEFT = "find /etc -name '*.dpkg-*' -o -name '*.ucf-*'"
"""What dpkg and ucf leave where somebody has to look at a difference."""
JOURNALS = "journalctl -q -o cat; journalctl --namespace=chatmail -q -o cat"
DOVECOT = "/etc/dovecot/dovecot.conf"
TOKEN = "/private/devicetoken"
FOLDERS = ("INBOX", "DeltaChat", "Saved")
FLAGS = (r"\Seen", r"\Answered", r"\Flagged", "$MDNSent", "$Forwarded")
FETCHED = re.compile(
    rb'\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) INTERNALDATE ("[^"]+") BODY\[\] {\d+}\r\n(.*)\)',
    re.DOTALL,
)


@dataclass(frozen=True)
class Folder:
    """A folder as IMAP shows it: a client that knows it need not fetch anything again."""

    validity: bytes
    messages: dict[int, tuple[frozenset[bytes], bytes, bytes]]
    """By UID: flags, when it came, content."""


@dataclass(frozen=True)
class Mailboxes:
    """What users have: folders by user and name, and the token of a device."""

    folders: dict[tuple[User, str], Folder]
    token: list[bytes]


@dataclass(frozen=True)
class People:
    """The users of the relay."""

    reader: User
    """Has mail in several folders, with flags, and a device."""
    writer: User
    """Writes during the upgrade."""
    friend: User
    """Is written to, by the writer and from another server."""
    away: User
    """Does not log in until afterwards."""
    blocked: User
    """Has no password any more."""


@dataclass(frozen=True)
class Moved:
    """A relay that was upgraded, and what was seen before and meanwhile."""

    relay: Relay
    people: People
    before: Mailboxes
    files: str
    said: str
    watch: Watch
    letters: tuple[Letters, Letters]


@pytest.fixture(scope="module")
def moved(lab: Lab, relay_images: Callable[[str], Path], progress: Progress) -> Iterator[Moved]:
    """A relay on the old Debian, in use, on the new one."""
    repository = build(roots.SUITES, progress)
    machine = lab.machine("elder", OLD, relay_images(OLD))
    try:
        lab.serve(repository.folder)
        lab.dns.relay(DOMAIN, machine)
        machine.wait_running()
        relay = Relay(machine, lab.clients, DOMAIN)
        relay.change(create_max_load=PLENTY, max_user_send_per_minute=PLENTY)
        yield upgraded(relay, everybody(relay))
    finally:
        lab.remove(machine)


def everybody(relay: Relay) -> People:
    """Sign up everybody, with mail."""
    people = People(*(relay.signup() for _ in range(5)))
    fill(relay, people.reader)
    relay.send(people.writer, people.reader.address)
    relay.send(people.writer, people.away.address)
    relay.wait_for_empty_queue()
    (relay.folder(people.blocked) / "password").write_bytes(b"")
    return people


def fill(relay: Relay, user: User) -> None:
    """Give a user folders with messages of all kinds, some deleted again, and a device."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        for folder in FOLDERS[1:]:
            assert imap.command(f"CREATE {folder}").ok
        for number in range(40):
            content = make.encrypted(user.address, user.address, 500 + 97 * number)
            chosen = " ".join(flag for at, flag in enumerate(FLAGS) if number >> at & 1)
            where = f"{FOLDERS[number % 3]} ({chosen}) {{{len(content)}+}}\r\n"
            assert imap.command(f"APPEND {where}".encode() + content).ok
        assert imap.command("SELECT INBOX").ok
        assert imap.command(r"STORE 2:4 +FLAGS (\Deleted)").ok
        assert imap.command("EXPUNGE").ok
        assert imap.command(f'SETMETADATA INBOX ({TOKEN} "a-device")').ok


def mailboxes(relay: Relay, people: People) -> Mailboxes:
    """Look at what users have, with a client."""
    folders = {}
    for user, names in ((people.reader, FOLDERS), (people.away, FOLDERS[:1])):
        with relay.imap() as imap:
            answer = imap.login(user.address, user.password)
            assert answer.ok, answer
            for name in names:
                opened = b" ".join(imap.command(f"EXAMINE {name}").untagged)
                validity = re.search(rb"UIDVALIDITY (\d+)", opened)
                assert validity
                answer = imap.command("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])")
                found = [FETCHED.fullmatch(line) for line in answer.untagged]
                folders[user, name] = Folder(
                    validity[1],
                    {
                        int(it[1]): (frozenset(it[2].split()) - {rb"\Recent"}, it[3], it[4])
                        for it in found
                        if it is not None
                    },
                )
            if user == people.reader:
                token = list(imap.command(f"GETMETADATA INBOX {TOKEN}").untagged)
    return Mailboxes(folders, token)


def kept(machine: Machine) -> str:
    """The files that are to stay, with owner, mode and content."""
    find = f"find {' '.join(KEPT)} -type f"
    return machine.run(
        f"{find} -printf '%p %u %m\\n' | sort; {find} -exec sha256sum {{}} + | sort"
    ).stdout


def upgraded(relay: Relay, people: People) -> Moved:
    """Have apt upgrade everything, while people go on."""
    before, files = mailboxes(relay, people), kept(relay.machine)
    watch = Watch(asks(relay, people.friend))
    writer = from_a_user(relay, people.writer, people.friend)
    peer = from_a_peer(relay, people.friend)
    relay.machine.run(f"sed -i /path-exclude/d /etc/dpkg/dpkg.cfg.d/lab && {DIVERTED}")
    with watch, writer, peer:
        relay.machine.run(f"{SOURCES} && apt-get update", timeout=MINUTES)
        command = "apt-get --yes full-upgrade </dev/null 2>&1"
        done = relay.machine.run(command, check=False, env=NONINTERACTIVE, timeout=MINUTES)
        relay.machine.suite = NEW
    assert done.returncode == 0, done.stdout[-6000:]
    assert judged(relay.machine) == "inactive"
    return Moved(relay, people, before, files, done.stdout, watch, (writer, peer))


def test_apt_asks_nobody(moved: Moved) -> None:
    """Everything is upgraded, no file is left for somebody to look at, and no unit failed."""
    machine = moved.relay.machine
    shown = machine.run(f"dpkg-query -W -f '${{db:Status-Status}} ${{Version}}\\n' {OURS}").stdout
    versions = [line.split()[1] for line in shown.splitlines() if line.startswith("installed")]
    assert len(versions) >= 6
    assert not [version for version in versions if "+deb12" in version]
    assert machine.run("dovecot --version").stdout.startswith("2.4")
    assert machine.run("python3 --version").stdout.startswith("Python 3.13")
    assert machine.run(LEFT).stdout == ""
    assert machine.run("dpkg --audit").stdout == ""
    held = machine.run("apt-get --simulate full-upgrade").stdout
    assert "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded" in held
    assert "Traceback" not in moved.said
    assert "Traceback" not in machine.run(JOURNALS).stdout
    assert machine.run("systemctl --failed --no-legend").stdout == ""


def test_what_runs_is_the_new_one(moved: Moved) -> None:
    """No daemon of the relay is still the one of before."""
    triggers = (DEBIAN / "chatmail-relay.triggers").read_text(encoding="utf-8")
    programs = re.findall(r"(?m)^interest-noawait (\S+)$", triggers)
    deadline = time.monotonic() + PATIENCE  # nginx's old workers end with whom they serve
    while left := [name for name in running(moved.relay.machine) if is_old(name, programs)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def running(machine: Machine) -> list[str]:
    """The programs that run; of those that are not there any more it is said."""
    find = "find /proc/[0-9]* -maxdepth 1 -name exe -printf '%l\\n'"
    return machine.run(find, check=False).stdout.splitlines()


def is_old(name: str, programs: list[str]) -> bool:
    """Whether that is one of PROGRAMS which is not there any more, or the Python of before."""
    return "python3.11" in name or (name.endswith("(deleted)") and name.split()[0] in programs)


def test_how_long_it_was_down(moved: Moved, capsys: pytest.CaptureFixture[str]) -> None:
    """Each service is back by itself; what was seen is told, and nobody was told a wrong reason."""
    with capsys.disabled():
        print(f"\nfrom {OLD} to {NEW}:\n{moved.watch.story()}")
    for name in ("IMAP", "submission", "port 25", "web"):
        said = " ".join(reason for outage in moved.watch.outages(name) for reason in outage.why)
        assert "AUTHENTICATIONFAILED" not in said
        assert not re.search(r"\b5\d\d [5.]", said), f"{name}: {said}"


def test_no_letter_is_lost(moved: Moved, capsys: pytest.CaptureFixture[str]) -> None:
    """What was taken has come, and more than once only where an answer was lost."""
    relay, friend = moved.relay, moved.people.friend
    relay.wait_for_empty_queue(PATIENCE)
    mails = relay.mails(friend)
    copies = Counter(map(mark_of, mails))
    for letters in moved.letters:
        assert not letters.refused
        assert len(letters.taken) > 10
        assert not [mark for mark in letters.taken if not copies[mark]]
    with capsys.disabled():
        print(f"\nletters: {sum(len(letters.taken) for letters in moved.letters)}, all there")
    unclear = {mark: count for letters in moved.letters for mark, count in letters.unclear.items()}
    again = deferred(relay)
    for mark, count in copies.items():
        assert count <= 1 + unclear.get(mark, 0) + again[mark], mark


def deferred(relay: Relay) -> Counter[bytes]:
    """How often Postfix had to try again to give each message to Dovecot, by its mark."""
    log = relay.machine.run("journalctl --namespace=chatmail -q -o cat").stdout
    marks = dict(re.findall(r"(?m)([0-9A-Za-z]{10,20}): message-id=(<[^>]+>)", log))
    tries = re.findall(r"(?m)([0-9A-Za-z]{10,20}): to=<.*status=deferred", log)
    return Counter(f"Message-ID: {marks[name]}".encode() for name in tries if name in marks)


def test_clients_find_everything_where_it_was(moved: Moved) -> None:
    """The same passwords, UIDs, flags, days and contents; Dovecot had nothing to mend."""
    assert mailboxes(moved.relay, moved.people) == moved.before
    assert not moved.relay.can_log_in(moved.people.blocked)
    log = moved.relay.machine.run("journalctl --namespace=chatmail -q -o cat").stdout
    assert not re.findall(r"(?i).*(?:corrupt|rebuil|fscking).*", log)


def test_settings_and_keys_are_those_of_before(moved: Moved) -> None:
    """No byte of them is another one, and nothing is left to be applied."""
    assert kept(moved.relay.machine) == moved.files
    done = moved.relay.machine.run("chatmail-relay apply --check", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_afterwards(moved: Moved) -> None:
    """What is not needed any more goes, the machine boots, and all is well."""
    machine, people = moved.relay.machine, moved.people
    machine.run("apt-get --yes autoremove </dev/null", env=NONINTERACTIVE, timeout=MINUTES)
    machine.reboot()
    assert judged(machine) == "inactive"
    assert machine.run("! command -v python3.11").returncode == 0
    assert mailboxes(moved.relay, people) == moved.before
    mark = moved.relay.send(people.writer, people.away.address)
    moved.relay.wait_for_mail(people.away, mark, PATIENCE)
    moved.relay.signup()
    done = machine.run("chatmail-relay doctor --local", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_removed_again(moved: Moved) -> None:
    """Dovecot is left with the new Debian's configuration, which ucf knows by its name."""
    machine = moved.relay.machine
    machine.run("apt-get --yes remove chatmail-relay </dev/null", env=NONINTERACTIVE)
    machine.run(f"cmp /usr/share/dovecot/dovecot.conf {DOVECOT} && doveconf -n >/dev/null")
    assert machine.run(f"ucfq -w {DOVECOT} {DOVECOT}.distrib").stdout.splitlines() == [
        f"{DOVECOT}:dovecot-core:Yes:No",
        f"{DOVECOT}.distrib:::",
    ]
    assert machine.run(LEFT).stdout == ""
    assert machine.run("systemctl restart dovecot && doveadm who").returncode == 0
    assert machine.run("systemctl --failed --no-legend").stdout == ""
