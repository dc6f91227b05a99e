"""The ini's writer: an admin's own words stay, only values change."""

import pytest
from chatmail_relay.ini import render_ini
from chatmail_relay.settings import Settings

OWN = """\
# Carol runs this; call her first
[params]
  # indented
registration=closed
mail_domain   =  a.example
;max_message_size = 70000
#admin_contact =

# the end
"""


def settings(**changed: str) -> Settings:
    """The settings of OWN with some CHANGED."""
    values = {"mail_domain": "a.example", "registration": "closed", **changed}
    return Settings.from_text("[params]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()))


def test_fresh_text_reads_back() -> None:
    """What is written is what was meant, and defaults are comments."""
    wanted = settings(max_mailbox_size_mib="9", invite_token="12345678")
    text = render_ini(wanted)
    assert Settings.from_text(text) == wanted
    live = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert sorted(line.split(" =")[0] for line in live) == [
        "invite_token",
        "mail_domain",
        "max_mailbox_size_mib",
        "registration",
    ]


def test_nothing_changes_without_need() -> None:
    """The same settings leave the same bytes."""
    assert render_ini(settings(), OWN) == OWN


def test_only_values_change() -> None:
    """Spacing, order and comments stay; the new line stands behind its commented default."""
    text = render_ini(settings(mail_domain="b.example", admin_contact="x@y.z"), OWN)
    assert text == OWN.replace("a.example", "b.example").replace(
        "#admin_contact =", "#admin_contact =\nadmin_contact = x@y.z"
    )


def test_a_setting_without_a_line_is_appended() -> None:
    """With its explanation, at the end of the only section."""
    text = render_ini(settings(imap_compress="yes"), OWN)
    assert text.startswith(OWN)
    assert text.endswith("\nimap_compress = yes\n")
    assert Settings.from_text(text) == settings(imap_compress="yes")


def test_a_comment_before_the_section_is_no_default() -> None:
    """Nothing is put where no section has begun."""
    text = "#admin_contact = x\n" + OWN
    changed = render_ini(settings(admin_contact="x@y.z"), text)
    assert Settings.from_text(changed) == settings(admin_contact="x@y.z")


@pytest.mark.parametrize("changed", [{"admin_contact": ""}, {"resolver_forward": "9.9.9.9 ::1"}])
def test_back_and_forth(changed: dict[str, str]) -> None:
    """A change and its opposite lead back to the same settings."""
    there = render_ini(settings(**changed), OWN)
    assert Settings.from_text(there) == settings(**changed)
    assert Settings.from_text(render_ini(settings(), there)) == settings()


def test_emptied_value_leaves_no_blank() -> None:
    """`key =` and nothing behind it."""
    text = render_ini(settings(), OWN + "admin_contact = x@y.z\n")
    assert text == OWN + "admin_contact =\n"
