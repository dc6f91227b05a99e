"""Purpose: the clock jumps two days ahead and back, and nobody is locked out, nothing is stuck.

All machines of the lab have the host's clock, which stays as it is. The daemons are shown another
one by libfaketime: the wall clock jumps while they run, steady clocks do not, as when an admin
or NTP sets it. systemd sees no jump, so what its timer would start is started here.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from chatmail_relay.units import DOVECOT, POSTFIX, UNITS
from chatmaild.pushjournal import read

from tests import messages as make
from tests.clients.notifier import Notifier
from tests.clients.relay import Relay, User, mark_of
from tests.clients.tls import server_context
from tests.lab import Lab, Machine
from tests.lab.ca import trust

DAY = 86_400
JUMP = 2 * DAY
SOON = 30.0  # seconds
NOTIFY = "notify-clock.lab"
METADATA = "chatmail-metadata.service"
WAITING = "/var/lib/chatmail-metadata/pushes"
FILE = "/etc/fake-clock"
CHROOT = "/var/spool/postfix"
ENVIRONMENT = {
    "FAKETIME_TIMESTAMP_FILE": FILE,
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_DISABLE_SHM": "1",
    "NO_FAKE_STAT": "1",
}
SHOWN = (*(unit.name for unit in UNITS if unit.settings), DOVECOT, POSTFIX, "postfix@-.service")
"""Our daemons, whose clock counts, and those of others whose does."""

Jump = Callable[[int], None]


def show_clock(machine: Machine) -> None:
    """Have the daemons read the clock from a file; both servers pass little on to what they run."""
    library = machine.run("dpkg -L libfaketime | grep /libfaketime.so").stdout.strip()
    values = [f"{key}={value}" for key, value in {**ENVIRONMENT, "LD_PRELOAD": library}.items()]
    lines = "".join(f"Environment={value}\n" for value in values)
    for unit in SHOWN:
        machine.write(f"/run/systemd/system/{unit}.d/90-clock.conf", f"[Service]\n{lines}")
    machine.run(
        f'postconf -e "import_environment=$(postconf -h import_environment) {" ".join(values)}"'
    )
    if machine.run("dovecot --version").stdout.startswith("2.3"):
        setting = f"import_environment = $import_environment {' '.join(values)}\n"
    else:
        pairs = "\n".join(value.replace("=", " = ", 1) for value in values)
        setting = f"import_environment {{\n{pairs}\n}}\n"
    machine.run("cat >>/etc/dovecot/dovecot.conf", stdin=setting)


def restart(machine: Machine) -> None:
    """Start all these daemons anew; only Debian 12 has the instance of Postfix."""
    machine.run(f"systemctl daemon-reload; systemctl try-restart {' '.join(SHOWN)}", check=False)
    machine.wait_running()


@pytest.fixture
def jump(relay: Relay) -> Iterator[Jump]:
    """Sets the daemons' clock, so many seconds from the true one."""
    machine = relay.machine
    machine.run("apt-get install --yes faketime", env={"DEBIAN_FRONTEND": "noninteractive"})

    def set_clock(offset: int) -> None:
        replace = f"echo {offset:+} >$f.new && chmod 644 $f.new && mv $f.new $f"
        machine.run(f"for f in {FILE} {CHROOT}{FILE}; do {replace}; done")

    set_clock(0)
    show_clock(machine)
    restart(machine)
    yield set_clock
    machine.run(f"rm -f {FILE} {CHROOT}{FILE} /run/systemd/system/*.d/90-clock.conf")
    relay.apply()
    restart(machine)
    machine.run("apt-get purge --yes --autoremove faketime")


def clock_was_set(relay: Relay) -> None:
    """What systemd does when the clock jumps."""
    timer = relay.properties("chatmail-clock.timer", "ActiveState", "OnClockChange", "Triggers")
    assert timer["ActiveState"] == "active"
    assert timer["OnClockChange"] == "yes"
    assert timer["Triggers"] == "chatmail-clock.service"
    relay.machine.run("systemctl start chatmail-clock.service")


def test_mail_and_logins(relay: Relay, jump: Jump) -> None:
    """Mail passes at once, people log in and join; the day of a login is no future one for long."""
    limits = {"max_user_send_burst": 3, "max_user_send_per_minute": 60}
    with relay.changed(**limits):
        sender, receiver = relay.signup(), relay.signup()
        password = relay.folder(sender) / "password"
        for offset in (0, JUMP, 0):
            jump(offset)
            clock_was_set(relay)
            for _ in range(2):
                relay.wait_for_mail(receiver, relay.send(sender, receiver.address), 2.0)
            assert relay.can_log_in(sender)
            relay.signup()
            today = (time.time() + offset) // DAY * DAY
            deadline = time.monotonic() + SOON
            while password.stat().st_mtime != today:
                assert time.monotonic() < deadline, "the day of the login is another"
                time.sleep(0.1)
            time.sleep(2.0)  # the sender has two more messages then
    assert len(relay.mails(receiver)) == 6


def test_waiting_mail(relay: Relay, jump: Jump) -> None:
    """What waited in the queue before a jump is delivered right after it."""
    sender, receiver = relay.signup(), relay.signup()
    marks = []
    with relay.submission(sender) as smtp:  # is open before Dovecot stops, which checks logins
        jump(JUMP)
        relay.machine.run(f"systemctl stop {DOVECOT}")
        for offset in (JUMP, 0):
            jump(offset)
            content = make.encrypted(sender.address, receiver.address)
            position = relay.log_position()
            assert smtp.deliver(sender.address, [receiver.address], content).code == 250
            relay.wait_for_log(position, "status=deferred")
            marks.append(mark_of(content))
    relay.machine.run(f"systemctl start {DOVECOT}")
    clock_was_set(relay)
    for mark in marks:
        relay.wait_for_mail(receiver, mark, SOON)
    relay.wait_for_empty_queue()
    assert len(relay.mails(receiver)) == 2
    assert not relay.mails(sender)


def wait_for_notification(relay: Relay, user: User) -> None:
    """Wait until a notification of the user's is on disk."""
    deadline = time.monotonic() + SOON
    while True:
        with suppress(FileNotFoundError), relay.machine.path(WAITING).open("rb") as file:
            if any(key.user == user.address for key in read(file)[0]):
                return
        assert time.monotonic() < deadline, "no notification waits"
        time.sleep(0.1)


def test_waiting_notification(relay: Relay, jump: Jump, lab: Lab) -> None:
    """A notification that waits is sent after a jump, also when the daemon was killed meanwhile."""
    lab.dns.host(NOTIFY, lab.clients.address)
    trust(relay.machine, lab.ca.root)
    context = server_context(lab.ca.issue(NOTIFY))
    sender = relay.signup()
    with (
        relay.changed(notification_url=f"https://{NOTIFY}/notify"),
        Notifier(relay.place, 443, context) as server,
    ):
        show_clock(relay.machine)  # again: apply has written the files anew
        restart(relay.machine)
        server.stuck = True
        for offset, other in ((0, JUMP), (JUMP, 0)):
            jump(offset)
            receiver, token = relay.signup(), f"good-{offset}"
            with relay.imap() as imap:
                assert imap.login(receiver.address, receiver.password).ok
                assert imap.command(f'SETMETADATA INBOX (/private/devicetoken "{token}")').ok
            relay.send(sender, receiver.address)
            wait_for_notification(relay, receiver)
            jump(other)
        relay.machine.run(f"systemctl kill --signal=KILL {METADATA}")
        server.stuck = False
        wanted = {"good-0", f"good-{JUMP}"}
        server.wait_until(lambda: wanted <= server.accepted.keys(), SOON)
