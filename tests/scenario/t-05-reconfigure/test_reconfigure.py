"""Purpose: debconf and an editor lead to the same relay; mistakes change nothing; twice is silent.

The ini is the one truth: dpkg-reconfigure writes into it, apply reads it, and neither does
anything when there is nothing to do.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from subprocess import CompletedProcess

import pytest

from tests.clients.relay import INI, OUR_UNITS, Relay
from tests.clients.state import contents, snapshot

CONTACT, OTHER_CONTACT = "admin@contact.lab", "else@contact.lab"
ANSWERS = "/var/lib/chatmail-relay/debconf"  # what debconf was told last


@pytest.fixture(autouse=True)
def _as_before(relay: Relay) -> Iterator[None]:
    """Each test leaves the settings as it found them."""
    before = relay.machine.read(INI)
    yield
    if relay.machine.read(INI) != before:
        relay.machine.write(INI, before, 0o600)
        relay.apply()


def reconfigure(relay: Relay, answers: Mapping[str, str]) -> CompletedProcess[str]:
    """Answer debconf's questions as a person with an editor does."""
    edits = [
        f's|^chatmail-relay/{question}=.*|chatmail-relay/{question}="{answer}"|'
        for question, answer in answers.items()
    ]
    expressions = " ".join(f"-e {shlex.quote(edit)}" for edit in edits)
    relay.machine.write("/tmp/answers", f'#!/bin/sh\nexec sed -i {expressions} "$1"\n', 0o755)
    return relay.machine.run(
        "DEBIAN_FRONTEND=editor EDITOR=/tmp/answers VISUAL=/tmp/answers "
        "dpkg-reconfigure -plow chatmail-relay 2>&1",
        check=False,
    )


def works(relay: Relay) -> None:
    """The relay takes a new account, and its daemons are up."""
    relay.signup()
    for unit in OUR_UNITS:
        assert relay.properties(unit, "ActiveState")["ActiveState"] == "active", unit


# --- two ways, one state -------------------------------------------------------


def test_debconf_and_editor_lead_to_the_same(relay: Relay) -> None:
    """The same answers by dpkg-reconfigure and by an edited ini make the same files."""
    original = made_files(relay)
    done = reconfigure(relay, {"admin_contact": CONTACT, "registration": "closed"})
    assert done.returncode == 0, done.stdout
    by_debconf = made_files(relay)
    assert by_debconf != original
    assert relay.setting("admin_contact") == CONTACT
    assert relay.setting("registration") == "closed"
    relay.change(admin_contact="", registration="open")
    assert made_files(relay) == original
    relay.change(admin_contact=CONTACT, registration="closed")
    assert made_files(relay) == by_debconf


def made_files(relay: Relay) -> dict[str, str]:
    """What is made from the ini: everything but the ini, which may say the same in other words."""
    return contents(relay, {INI, ANSWERS})


def test_answers_take_effect(relay: Relay) -> None:
    """What debconf was told holds at once: the contact shows in IMAP METADATA."""
    done = reconfigure(relay, {"admin_contact": CONTACT})
    assert done.returncode == 0, done.stdout
    user = relay.signup()
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        answer = imap.command('GETMETADATA "" (/shared/admin)')
    assert f"mailto:{CONTACT}".encode() in b"\n".join(answer.untagged)


def test_admins_edit_wins_over_debconf(relay: Relay) -> None:
    """dpkg-reconfigure starts from the ini as it is, not from what debconf was told before."""
    assert reconfigure(relay, {"admin_contact": CONTACT}).returncode == 0
    relay.change(admin_contact=OTHER_CONTACT, max_user_send_burst="12")
    noninteractive = "DEBIAN_FRONTEND=noninteractive dpkg-reconfigure chatmail-relay 2>&1"
    done = relay.machine.run(noninteractive, check=False)
    assert done.returncode == 0, done.stdout
    assert relay.setting("admin_contact") == OTHER_CONTACT
    assert relay.setting("max_user_send_burst") == "12"


def test_admins_comments_stay(relay: Relay) -> None:
    """Lines an admin wrote beside the settings survive dpkg-reconfigure."""
    text = relay.machine.read(INI)
    relay.machine.write(INI, text + "\n# call Carol before changing this\n", 0o600)
    assert reconfigure(relay, {"admin_contact": CONTACT}).returncode == 0
    assert "# call Carol before changing this" in relay.machine.read(INI)


# --- mistakes ------------------------------------------------------------------

MISTAKES = {
    "not a number": ("max_user_send_per_minute", "many", r"a whole number from 1 to 100000"),
    "out of range": ("username_min_length", "0", r"a whole number from 1 to 64"),
    "not a choice": ("registration", "ajar", r"one of open, invite, closed"),
    "not a domain": ("mail_domain", "not a domain", r"a DNS name"),
    "not a path": ("mailboxes_dir", "mail", r"an absolute path"),
    "not an address": ("admin_contact", "nobody", r"a plain mail address"),
    "a line of configuration": ("admin_contact", "a@b.lab, /etc/passwd", r"a plain mail address"),
    "unknown key": ("max_messages", "3", r"max_message"),
    "invite without a token": ("registration", "invite", r"invite_token"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_bad_value_changes_nothing(relay: Relay, what: str) -> None:
    """apply says file, line, key, value and what is allowed; no file and no unit changes."""
    key, value, allowed = MISTAKES[what]
    relay.edit({key: value})
    before = snapshot(relay)
    done = relay.apply(check=False)
    after = snapshot(relay)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"{re.escape(INI)}:[0-9]+: ", done.stdout), done.stdout
    assert key in done.stdout or what.startswith("invite")
    assert value in done.stdout or what.startswith(("invite", "unknown"))
    assert re.search(allowed, done.stdout), done.stdout
    assert "Traceback" not in done.stdout
    assert len(done.stdout.splitlines()) <= 3
    assert before.changed_files(after) == set()
    assert before.changed_units(after) == set()
    works(relay)


def test_two_values_for_one_key(relay: Relay) -> None:
    """A key that stands twice is a mistake, not a guess."""
    text = relay.machine.read(INI)
    relay.machine.write(INI, text + "\nmail_domain = _beta.lab\n", 0o600)
    done = relay.apply(check=False)
    assert done.returncode == 1
    assert "mail_domain" in done.stdout
    assert "Traceback" not in done.stdout
    works(relay)


def test_what_a_daemon_refuses_changes_nothing(relay: Relay) -> None:
    """A file its daemon's own checker refuses: nothing live has changed, the relay goes on."""
    broken = "/etc/nginx/conf.d/broken.conf"
    relay.machine.write(broken, "this is { no nginx configuration\n")
    try:
        relay.edit({"admin_contact": CONTACT, "max_imap_connections": "5000"})
        before = snapshot(relay)
        done = relay.apply(check=False)
        after = snapshot(relay)
        assert done.returncode == 1, done.stdout
        assert "nginx" in done.stdout
        assert "Traceback" not in done.stdout
        assert before.changed_files(after) == set()
        assert before.changed_units(after) == set()
        works(relay)
    finally:
        relay.machine.run(f"rm {broken}")


# --- twice ---------------------------------------------------------------------


def test_applying_twice_is_silent(relay: Relay) -> None:
    """The second apply writes no file, restarts and reloads no unit, and says so in a line."""
    relay.apply()
    position = relay.log_position()
    before = snapshot(relay)
    done = relay.apply()
    after = snapshot(relay)
    assert before.changed_files(after) == set()
    assert before.changed_units(after) == set()
    assert not re.search(r"(?i)reload|starting|stopping", relay.log_since(position))
    assert len(done.stdout.splitlines()) <= 2, done.stdout


def test_dpkg_reconfigure_without_a_change_is_silent(relay: Relay) -> None:
    """The same answers again change no file of the relay and restart nothing."""
    assert reconfigure(relay, {}).returncode == 0
    before = snapshot(relay)
    assert reconfigure(relay, {}).returncode == 0
    after = snapshot(relay)
    assert before.changed_units(after) == set()
    assert before.changed_files(after) <= {ANSWERS}


def test_exactly_the_affected_units(relay: Relay) -> None:
    """A setting of the filter restarts the filter, and nobody else."""
    before = snapshot(relay)
    relay.change(max_user_send_burst="13")
    changed = before.changed_units(snapshot(relay))
    assert "filtermail.service" in changed
    assert not changed & {"dovecot.service", "postfix.service", "nginx.service"}
    works(relay)


def test_diff_shows_and_does_nothing(relay: Relay) -> None:
    """apply --diff shows what would change, and changes nothing."""
    relay.edit({"max_message_size": "20000000"})
    before = snapshot(relay)
    shown = relay.machine.run("chatmail-relay apply --diff 2>&1")
    after = snapshot(relay)
    assert re.search(r"(?m)^-.*31457280", shown.stdout)
    assert re.search(r"(?m)^\+.*20000000", shown.stdout)
    assert before.changed_files(after) == set()
    assert before.changed_units(after) == set()


def test_check_looks_and_does_nothing(relay: Relay) -> None:
    """apply --check says whether the settings are good, and changes nothing."""
    before = snapshot(relay)
    assert relay.machine.run("chatmail-relay apply --check").returncode == 0
    relay.edit({"registration": "ajar"})
    edited = snapshot(relay)
    assert relay.machine.run("chatmail-relay apply --check", check=False).returncode == 1
    after = snapshot(relay)
    assert before.changed_files(edited) == {INI}
    assert edited.changed_files(after) == set()
    assert edited.changed_units(after) == set()


def test_a_setting_and_back(relay: Relay) -> None:
    """Settings back as they were: every file is as before."""
    before = made_files(relay)
    relay.change(max_message_size="20000000", imap_compress="yes", max_mailbox_size_mib="100")
    assert made_files(relay) != before
    works(relay)
    relay.change(max_message_size="31457280", imap_compress="no", max_mailbox_size_mib="500")
    assert made_files(relay) == before
    works(relay)
