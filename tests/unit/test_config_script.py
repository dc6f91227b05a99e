"""debconf's config script judges answers as the settings do, in sh."""

import subprocess
from pathlib import Path

import pytest
from chatmail_relay.settings import about

from tests.unit.test_settings import (
    GOOD_CONTACTS,
    GOOD_DOMAINS,
    HOSTILE_CONTACTS,
    HOSTILE_DOMAINS,
)

SCRIPT = Path(__file__).parents[2] / "debian/chatmail-relay.config"

ADDRESSES = [
    *("192.0.2.1", "10.0.0.1", "223.255.255.255", "0.1.2.3", "127.0.0.1", "224.0.0.1", "1.2.3"),
    *("255.255.255.255", "01.2.3.4", "256.1.1.1", "1.2.3.4.5", "[1.2.3.4]", "1.2.3.4 "),
]
ANSWERS = {
    "mail_domain": [*GOOD_DOMAINS, *HOSTILE_DOMAINS, "Chat.Example.ORG", *ADDRESSES],
    "admin_contact": [*GOOD_CONTACTS, *HOSTILE_CONTACTS],
    "mailboxes_dir": [
        *("/srv/mail", "/var/lib/chatmail/mail", "/tmpfs/x", "/home2", "/srv/.mail", "/srv/..mail"),
        *("", "mail", "/", "/srv/../etc", "/srv/./x", "/srv/x/..", "/srv//mail", "/srv/mail/"),
        *(
            "/home",
            "/home/x",
            "/tmp/x",
            "/var/tmp",
            "/srv/ma il",
            "/srv/%h",
            "/srv/x;",
            "/" + "a" * 150,
        ),
    ],
    "max_mailbox_size_mib": [
        "1",
        "500",
        "10000000",
        "0",
        "10000001",
        "",
        "-1",
        "1.5",
        "x",
        "9" * 19,
    ],
    "registration": ["open", "invite", "closed"],
}
# debconf's protocol has one line for an answer.
CASES = [
    (key, answer)
    for key, answers in ANSWERS.items()
    for answer in answers
    if not set(answer) & {"\n", "\0"}
]


def functions() -> str:
    """The script's functions, without debconf and without what it does with them."""
    text = SCRIPT.read_text(encoding="utf-8")
    text = text.replace(". /usr/share/debconf/confmodule", "")
    return text[: text.index("\nseed\nask_domain\n")]


def accepts(key: str, answer: str) -> bool:
    """Whether the settings take ANSWER for KEY."""
    try:
        about(key).kind.parse(answer)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def verdicts() -> dict[tuple[str, str], bool]:
    """What the script says to each case that fits into an argument, in one shell."""
    arguments = [word for case in CASES for word in case]
    loop = '\nwhile [ $# -gt 0 ]; do "valid_$1" "$2" && echo yes || echo no; shift 2; done\n'
    done = subprocess.run(
        ["sh", "-c", functions() + loop, "sh", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return dict(zip(CASES, (word == "yes" for word in done.stdout.split()), strict=True))


@pytest.mark.parametrize(("key", "answer"), CASES)
def test_same_verdict(key: str, answer: str, verdicts: dict[tuple[str, str], bool]) -> None:
    """Neither asks for ever nor leaves to postinst what could have been said at once."""
    assert verdicts[key, answer] == accepts(key, answer)


def test_value_is_read_back_as_the_settings_read_it(tmp_path: Path) -> None:
    """Spacing around a value, an empty one, a comment and a similar key."""
    ini = tmp_path / "ini"
    ini.write_text(
        "[params]\nmail_domain=  a.b  \n#registration = closed\nadmin_contact =\n"
        "xmax_mailbox_size_mib = 1\nmax_mailbox_size_mib : 7\n",
        encoding="utf-8",
    )
    keys = ["mail_domain", "registration", "admin_contact", "max_mailbox_size_mib"]
    loop = '\nfor key in "$@"; do echo "<$(value_in "$0" "$key")>"; done\n'
    done = subprocess.run(
        ["sh", "-c", functions() + loop, str(ini), *keys],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["<a.b>", "<>", "<>", "<7>"]


RENAMED = {
    "by its name": ("mail_domain = a.b\n", "<a.b>"),
    "by its earlier name": ("domain = a.b\n", "<a.b>"),
    "by both": ("domain = old.b\nmail_domain = a.b\n", "<a.b>"),
    "by that of another": ("folder = /srv\n", "<>"),
}


@pytest.mark.parametrize("case", RENAMED)
def test_a_renamed_setting_is_found(case: str, tmp_path: Path) -> None:
    """An upgrade does not take an earlier name for an answer that was never given."""
    lines, expected = RENAMED[case]
    ini = tmp_path / "ini"
    ini.write_text(f"[params]\n{lines}", encoding="utf-8")
    pairs = "\nRENAMED='mailboxes_dir=folder mail_domain=domain' ini=$0\n"
    done = subprocess.run(
        ["sh", "-euc", f'{functions()}{pairs}echo "<$(value_of mail_domain)>"', str(ini)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
