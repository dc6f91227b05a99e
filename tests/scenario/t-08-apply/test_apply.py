"""Purpose: whatever happens to an apply, the relay has the old configuration or the new one.

Every step of an apply is killed with -9 on a real relay, and recovery, the next apply, or a boot
ends it. Templates are broken, so that a daemon's checker sees it, and so that only the running
daemon shows it, while somebody sends a message each second. Configurations are returned to.
"""

import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess

import pytest

from tests import messages as make
from tests.clients.relay import DAEMONS, INI, Relay
from tests.clients.state import contents, snapshot

TEMPLATES = "/usr/lib/python3/dist-packages/chatmail_relay/templates/etc"
OUR_CODE = "/usr/lib/python3/dist-packages/chatmail_relay/plan.py"
SIZES = (31_457_280, 20_000_000)
KILLER = """\
import atexit, os, sys
from chatmail_relay import apply, cli

perform, left = apply.perform, int(sys.argv[1])
atexit.register(lambda: print(int(sys.argv[1]) - left))


def perform_or_die(step):
    global left
    if not left:
        os.kill(os.getpid(), 9)
    left -= 1
    perform(step)


apply.perform = perform_or_die
cli.main(["apply"])
"""
KILLED = 137
BOOTS = (5, 10)
"""The steps after which the machine loses its power, or is shut down."""
PATIENCE = 60.0
"""Seconds for which an app tries again to send a message."""


@pytest.fixture(autouse=True)
def _as_before(relay: Relay) -> Iterator[None]:
    """Each test leaves the relay as it found it."""
    before = relay.machine.read(INI)
    yield
    relay.machine.write(INI, before, 0o600)
    relay.apply()


def made_files(relay: Relay) -> dict[str, str]:
    """The checksums of all that apply writes, and of the ini."""
    return contents(relay)


def apply_or_die(relay: Relay, step: int) -> CompletedProcess[str]:
    """An apply that is killed before this step of it, if it comes so far."""
    relay.machine.write("/root/killer.py", KILLER)
    return relay.machine.run(f"python3 /root/killer.py {step}", check=False)


def steps(relay: Relay) -> int:
    """How many steps an apply of what the ini says has; it is done."""
    return int(apply_or_die(relay, 1000).stdout.splitlines()[-1])


def kill(relay: Relay, step: int) -> None:
    """Have an apply killed before this step of it."""
    done = apply_or_die(relay, step)
    assert done.returncode == KILLED, done


def answers_with(relay: Relay, size: int) -> None:
    """Postfix answers and takes messages up to this size, and every daemon runs."""
    with relay.peer() as peer:
        assert f"SIZE {size}" in peer.hello().text
    for unit in DAEMONS:
        assert relay.properties(unit, "ActiveState")["ActiveState"] == "active", unit
    relay.web("GET", "/")


def switch(relay: Relay, size: int) -> None:
    """Have the ini say what concerns Postfix, Dovecot, the filter and the page."""
    compress = "yes" if size == SIZES[1] else "no"
    relay.edit({"max_message_size": str(size), "imap_compress": compress})


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.long)])
def test_steps_killed(relay: Relay, every: int) -> None:
    """After recovery, the next apply or a boot the files are the old ones or the new ones, and the
    daemons run with them; nobody helps. Boots and the last steps are among them in any case."""
    states = {}
    for size in reversed(SIZES):
        switch(relay, size)
        relay.apply()
        states[size] = made_files(relay)
    old, new = SIZES
    switch(relay, new)
    count = steps(relay)
    switch(relay, old)
    relay.apply()
    assert count > 12
    outcomes = []
    for step in sorted({*range(0, count, every), *BOOTS, count - 2, count - 1}):
        switch(relay, new)
        kill(relay, step)
        end(relay, step)
        switch(relay, new)  # as `states` has it, whatever a boot went back to
        now = next(size for size in SIZES if same(made_files(relay), states[size]))
        answers_with(relay, now)
        outcomes.append(now == new)
        if now == new:
            switch(relay, old)
            relay.apply()
    assert outcomes == sorted(outcomes)  # back until the commit, forward from then on
    assert True in outcomes
    assert False in outcomes
    switch(relay, new)
    relay.apply()
    answers_with(relay, new)
    assert not relay.machine.run("ls -A /var/lib/chatmail-relay/apply").stdout


def end(relay: Relay, step: int) -> None:
    """Most interrupted applies are ended by the command for it, two by a boot."""
    if step in BOOTS:
        relay.machine.kill() if step == BOOTS[0] else relay.machine.poweroff()
        relay.machine.boot()
        relay.machine.wait_running()
    else:
        relay.machine.run("chatmail-relay recover")


def same(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether all files but the ini are the same."""
    return {**one, INI: ""} == {**other, INI: ""}


def test_next_apply_ends_it(relay: Relay) -> None:
    """The next apply says what it found, and then does what it is asked to."""
    switch(relay, SIZES[1])
    kill(relay, 4)
    done = relay.apply()
    assert "an apply was interrupted: what was there before is back" in done.stdout
    answers_with(relay, SIZES[1])


# --- broken templates, and somebody who sends --------------------------------


class Sender(threading.Thread):
    """Sends a message each second, as apps do: what does not pass is tried again."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay
        self._sender, self.receiver = relay.signup(), relay.signup()
        self._over = threading.Event()
        self.sent: list[bytes] = []
        self.failed: list[str] = []
        self.longest = 0.0

    def run(self) -> None:
        while not self._over.wait(1.0):
            content = make.encrypted(self._sender.address, self.receiver.address)
            self._send(content)

    def _send(self, content: bytes) -> None:
        begin = time.monotonic()
        while True:
            try:
                with self._relay.submission(self._sender) as smtp:
                    reply = smtp.deliver(self._sender.address, [self.receiver.address], content)
                if reply.code == 250:
                    break
                trouble = str(reply)
            except (OSError, AssertionError, EOFError) as error:
                trouble = str(error)
            if time.monotonic() - begin > PATIENCE:
                self.failed.append(trouble)
                return
            time.sleep(0.2)
        self.longest = max(self.longest, time.monotonic() - begin)
        self.sent.append(content)

    @contextmanager
    def sending(self) -> Iterator["Sender"]:
        """While this lasts."""
        self.start()
        try:
            yield self
        finally:
            self._over.set()
            self.join()


DOVECOT = "dovecot/2.*/dovecot.conf.j2"
"""That of either version; both are changed, and one is used."""
SEEN_BY_CHECKER = {
    "postfix": ("postfix/main.cf.j2", "$ a nonsense_parameter = $nonsense"),
    "dovecot": (DOVECOT, "$ a nonsense {"),
    "nginx": ("nginx/chatmail-relay.conf.j2", "$ a nonsense;"),
    "unbound": ("unbound/chatmail.conf.j2", "$ a nonsense: yes"),
}
SEEN_RUNNING = {
    "postfix": (
        "postfix/main.cf.j2",
        "s|^smtpd_tls_chain_files = .*|smtpd_tls_chain_files = /etc/hostname|",
    ),
    "dovecot": (
        DOVECOT,
        r"$ a service imap-login {\n executable = /bin/false\n}",
    ),
    "nginx": ("nginx/chatmail-relay.conf.j2", "s/ 8443/ 8444/; s/:8443/:8444/"),
    "unbound": ("unbound/chatmail.conf.j2", "s/127.0.0.83/127.0.0.84/"),
}


@contextmanager
def edited(relay: Relay, path: str, script: str) -> Iterator[None]:
    """Have sed change a file of the package for a while, or all that a pattern matches."""
    saved = f"tar -C / -cf /root/kept.tar $(ls {path})"
    relay.machine.run(f"{saved} && sed -i {shlex.quote(script)} {path}")
    try:
        yield
    finally:
        relay.machine.run("tar -C / -xpf /root/kept.tar")


def test_broken_templates(relay: Relay) -> None:
    """Each daemon's template broken twice: apply says which daemon, all is as before, and every
    message of somebody who sends one each second arrives, once."""
    with Sender(relay).sending() as sender:
        for name, (file, script) in SEEN_BY_CHECKER.items():
            with edited(relay, f"{TEMPLATES}/{file}", script):
                refused_untouched(relay, name)
        for name, (file, script) in SEEN_RUNNING.items():
            with edited(relay, f"{TEMPLATES}/{file}", script):
                refused(relay, name)
        # All our daemons read their files with one parser.
        with edited(relay, OUR_CODE, r's/f"\[{SECTION}\]"/"[nonsense]"/'):
            refused(relay, "doveauth|lastlogin|metadata|newemail|filtermail")
    assert not sender.failed
    assert len(sender.sent) > 10
    for content in sender.sent:
        mark = re.search(rb"(?m)^Message-ID: [^\r\n]*", content)
        assert mark
        relay.wait_for_mail(sender.receiver, mark[0])
    assert len(relay.mails(sender.receiver)) == len(sender.sent)
    assert sender.longest < PATIENCE
    print(f"{len(sender.sent)} messages, the slowest took {sender.longest:.1f} s")


def refused(relay: Relay, name: str) -> None:
    """apply fails, names the daemon, says that all is as it was, and it is."""
    before = made_files(relay)
    done = relay.apply(check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(name.replace("unbound", "chatmail-resolver"), done.stdout), done.stdout
    assert "Everything is as it was." in done.stdout
    assert made_files(relay) == before
    answers_with(relay, SIZES[0])


def refused_untouched(relay: Relay, name: str) -> None:
    """apply fails before it changes anything, and says in which daemon's file."""
    before = snapshot(relay)
    done = relay.apply(check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(name, done.stdout, re.IGNORECASE), done.stdout
    after = snapshot(relay)
    assert before.changed_units(after) == set()
    changed = before.changed_files(after)
    assert changed <= {"/var/lib/chatmail-relay"}, changed


# --- history, domain, disk ---------------------------------------------------


def test_history_and_rollback(relay: Relay) -> None:
    """A good configuration comes back with its ini; --diff only shows it; and there is a record."""
    before = made_files(relay)
    relay.change(max_message_size=SIZES[1])
    assert "max_message_size = 20000000 (was 31457280)" in history(relay)[0]
    shown = relay.machine.run("chatmail-relay rollback --diff").stdout
    assert re.search(r"(?m)^\+message_size_limit = 31457280", shown)
    answers_with(relay, SIZES[1])
    relay.machine.run("chatmail-relay rollback")
    assert made_files(relay) == before
    answers_with(relay, SIZES[0])
    assert "rollback to" in history(relay)[0]
    number = history(relay)[0].strip("* ").split()[0]
    assert relay.machine.run("chatmail-relay rollback 12345", check=False).returncode == 1
    done = relay.machine.run(f"chatmail-relay rollback {number}")
    assert "nothing to do" in done.stdout


def history(relay: Relay) -> list[str]:
    """The lines of `chatmail-relay history`."""
    return relay.machine.run("chatmail-relay history").stdout.splitlines()


def test_domain_of_a_relay_with_accounts(relay: Relay) -> None:
    """Nobody can be asked: nothing changes, and the next step is said; by debconf it stays too."""
    user = relay.signup()
    relay.edit({"mail_domain": "_beta.lab"})
    before = snapshot(relay)
    done = relay.apply(check=False)
    assert done.returncode == 1
    assert "--change-domain" in done.stdout
    assert before.changed_files(snapshot(relay)) == set()
    relay.edit({"mail_domain": relay.domain})
    relay.machine.run(
        "debconf-set-selections",
        stdin="chatmail-relay chatmail-relay/mail_domain string _beta.lab\n",
    )
    done = relay.machine.run(
        "DEBIAN_FRONTEND=noninteractive dpkg-reconfigure chatmail-relay 2>&1", check=False
    )
    assert done.returncode == 0, done.stdout
    assert relay.setting("mail_domain") == relay.domain
    assert relay.can_log_in(user)


def test_full_disk(relay: Relay) -> None:
    """Refused before it starts, with what it needs and what there is."""
    relay.edit({"max_message_size": str(SIZES[1])})
    place = "/var/lib/chatmail-relay/www"
    relay.machine.run(f"mkdir /root/www && cp -a {place}/. /root/www/")
    relay.machine.run(f"mount -t tmpfs -o size=2m tmpfs {place} && cp -a /root/www/. {place}/")
    try:
        before = snapshot(relay)
        done = relay.apply(check=False)
        assert done.returncode == 1, done.stdout
        assert re.search(rf"{place} has [\d.]+ MiB free, and this needs [\d.]+ MiB", done.stdout)
        assert before.changed_files(snapshot(relay)) == set()
    finally:
        relay.machine.run(f"umount {place} && rm -r /root/www")
    relay.apply()
    answers_with(relay, SIZES[1])


def test_second_waits(relay: Relay) -> None:
    """Two at once: the second says for whom it waits, and then does its work."""
    lock = "/run/chatmail-relay.lock"
    holder = f"flock {lock} sh -c 'echo process 4711 >{lock}; sleep 2'"
    relay.machine.run(f"{holder} >/dev/null 2>&1 & sleep 0.5")
    done = relay.apply()
    assert "waiting for process 4711" in done.stdout
    assert "nothing to do" in done.stdout
