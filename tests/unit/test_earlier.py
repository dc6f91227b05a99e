"""Settings of earlier versions: read by today's names, and carried over in an admin's own file."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from chatmail_relay import earlier
from chatmail_relay.debconf_templates import asked
from chatmail_relay.earlier import EARLIER, Earlier, carry_over, in_present_words, were_known
from chatmail_relay.errors import SettingsError
from chatmail_relay.settings import Settings, abouts

from devtools.sources import REPOSITORY


def in_mib(value: str) -> str:
    """A number of bytes as MiB, when it is one."""
    mib, rest = divmod(int(value), 1024 * 1024)
    if rest or not mib:
        raise ValueError("it is no whole number of MiB")
    return str(mib)


SINCE = {
    "operator": Earlier("0.2.0", "operator_name"),
    "mailbox_size": Earlier("0.3.0", "max_mailbox_size_mib", value=in_mib),
    "spam_score": Earlier("0.2.0", reason="there is no spam filter any more"),
}


@pytest.fixture(autouse=True)
def _later_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "EARLIER", SINCE)


OWN = """\
# Carol runs this; call her first
[params]
mail_domain = _alpha.lab

# who we are
operator:  Carol & Co
# a gigabyte
mailbox_size = 1073741824
spam_score = 5
#spam_score = 5
"""

CARRIED = """\
# Carol runs this; call her first
[params]
mail_domain = _alpha.lab

# who we are
# operator is operator_name since version 0.2.0.
operator_name:  Carol & Co
# a gigabyte
# mailbox_size is max_mailbox_size_mib since version 0.3.0.
max_mailbox_size_mib = 1024
# spam_score is no setting since version 0.2.0: there is no spam filter any more
#spam_score = 5
#spam_score = 5
"""


def test_comments_and_values_stay() -> None:
    """Each line is carried over in its place, and each is said."""
    carried = carry_over(OWN)
    assert carried.text == CARRIED
    assert carried.notes == (
        "operator is operator_name since version 0.2.0; its value was carried over",
        "mailbox_size is max_mailbox_size_mib since version 0.3.0; its value was carried over",
        "spam_score is no setting since version 0.2.0: there is no spam filter any more; "
        "its line is a comment now",
    )


def test_it_is_said_once() -> None:
    """What was carried over is not touched again."""
    assert carry_over(CARRIED) == earlier.CarriedOver(CARRIED, ())


def test_an_earlier_ini_is_read_as_it_is() -> None:
    """Before it is carried over, and afterwards, an ini says the same."""
    read = Settings.from_text(OWN)
    assert (read.operator_name, read.max_mailbox_size_mib) == ("Carol & Co", 1024)
    assert read == Settings.from_text(CARRIED)


def test_errors_name_the_line_of_the_file() -> None:
    """Reading moves no line, so that an error is found where it says."""
    with pytest.raises(SettingsError, match=r"^ini:11: max_user_send_burst"):
        Settings.from_text(f"{OWN}max_user_send_burst = many\n", "ini")
    assert in_present_words(OWN).count("\n") == OWN.count("\n")


DIFFICULT = {
    "both names": (
        "operator = Old\noperator_name = New\n",
        "#operator = Old\noperator_name = New\n",
        "operator is operator_name since version 0.2.0, and that is set as well; "
        "the line of operator is a comment now",
    ),
    "a value that is impossible now": (
        "mailbox_size = 5\n",
        "#mailbox_size = 5\n",
        "mailbox_size is max_mailbox_size_mib since version 0.3.0, which cannot have its value: "
        "it is no whole number of MiB; set max_mailbox_size_mib if its default is wrong",
    ),
    "a default": ("#mailbox_size = 1048576\n", "#max_mailbox_size_mib = 1\n", ""),
    "a comment that is no default": ("#mailbox_size = many\n", "#mailbox_size = many\n", ""),
    "an empty value": (
        "operator =\n",
        "operator_name =\n",
        "operator is operator_name since version 0.2.0; its value was carried over",
    ),
    "a word of a comment": ("# operator means us\n", "# operator means us\n", ""),
}


@pytest.mark.parametrize("case", DIFFICULT)
def test_difficult_lines(case: str) -> None:
    """Nothing is lost, nothing is set twice, and what cannot be kept is said."""
    text, expected, note = DIFFICULT[case]
    start = "[params]\nmail_domain = _alpha.lab\n"
    assert in_present_words(start + text) == start + expected
    assert carry_over(start + text).notes == ((note,) if note else ())
    Settings.from_text(start + text)


def test_a_renamed_setting_is_not_new() -> None:
    """Who knew its earlier name need not be told of it."""
    assert were_known(["operator"]) == {"operator", "operator_name"}


@pytest.fixture
def shipped() -> Mapping[str, Earlier]:
    """The table of this version."""
    return EARLIER


def test_the_table_is_about_settings(shipped: Mapping[str, Earlier]) -> None:
    """An earlier name is none of today, a present one is, and whatever went has its reason."""
    for key, item in shipped.items():
        assert key not in abouts()
        assert item.now in abouts() if item.now else item.reason


def test_the_shell_scripts_know_earlier_names(shipped: Mapping[str, Earlier]) -> None:
    """debconf's script finds a renamed setting that it asks for, whose value is then the same."""
    script = (REPOSITORY / "debian/chatmail-relay.config").read_text(encoding="utf-8")
    (words,) = (line for line in script.splitlines() if line.startswith("RENAMED="))
    pairs = {f"{item.now}={key}" for key, item in shipped.items() if item.now in asked()}
    assert {*words.removeprefix("RENAMED=").strip('"').split()} == pairs
    assert all(item.value is str for item in shipped.values() if item.now in asked())
    removal = Path(REPOSITORY / "debian/chatmail-relay.postrm").read_text(encoding="utf-8")
    assert not [item for item in shipped.values() if f"value_of {item.now})" in removal]
