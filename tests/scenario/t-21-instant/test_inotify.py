"""Purpose: where inotify's limits are reached people hear later, and nothing else suffers.

The limits belong to the host, which others use, too. So Dovecot's processes alone are refused what
the kernel refuses then, with the same error, by a filter of their unit. Dovecot's own look at the
mailbox comes every second here, instead of every 30.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.clients.idle import Idler, deliver, processes
from tests.clients.relay import Relay

UNIT = "/etc/systemd/system/dovecot.service.d/90-lab.conf"
SNIPPET = "/run/dovecot-instant/lab.conf"
SECONDS = 1
REFUSALS = {
    "instances": "inotify_init:EMFILE inotify_init1:EMFILE",
    "watches": "inotify_add_watch:ENOSPC",
}
MESSAGES = {
    "instances": "Inotify instance limit for user",
    "watches": "Inotify watch limit for user exceeded",
}


@contextmanager
def refused(relay: Relay, calls: str) -> Iterator[None]:
    """Have the kernel refuse Dovecot some calls."""
    machine = relay.machine
    machine.write(UNIT, f"[Service]\nSystemCallFilter=~{calls}\n")
    machine.write(SNIPPET, f"mailbox_idle_check_interval = {SECONDS}s\n")
    try:
        machine.run("systemctl daemon-reload && systemctl restart dovecot")
        yield
    finally:
        machine.run(["rm", "-f", UNIT, SNIPPET])
        machine.run("systemctl daemon-reload && systemctl restart dovecot")


@pytest.mark.parametrize("limit", ["instances", pytest.param("watches", marks=pytest.mark.long)])
def test_a_limit_is_reached(relay: Relay, limit: str) -> None:
    """The client hears by Dovecot's own interval, and its process says once why."""
    user = relay.signup()
    with refused(relay, REFUSALS[limit]):
        position = relay.log_position()
        with Idler(relay, user) as idler:
            deliver(relay, user)
            idler.hear_message()
            assert processes(relay, user.address) == ["imap"]
            assert idler.again().ok
            deliver(relay, user)
            idler.hear_message()
        log = relay.log_since(position)
    told = [line for line in log.splitlines() if MESSAGES[limit] in line]
    assert len(told) == 1, log
    assert "instant" not in log
