"""An ini after an upgrade: new settings appear in it, and are said once."""

from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.ini import render_ini
from chatmail_relay.plan import KNOWN
from chatmail_relay.settings import Settings, abouts, default_text
from chatmail_relay.tree import Found, Tree
from chatmail_relay.upgraded import INI, ini_change, upgraded

DOMAIN = "_alpha.lab"
NEW = "max_user_send_burst"
OLDER = [key for key in abouts() if key != NEW]
FRESH = render_ini(Settings.from_text(f"[params]\nmail_domain = {DOMAIN}\n"))


def settings(text: str) -> Settings:
    """What an ini says."""
    return Settings.from_text(text)


def without(key: str, text: str) -> str:
    """An ini that was written before there was this setting."""
    blocks = text.split("\n\n")
    return "\n\n".join(block for block in blocks if f"\n#{key} = " not in block)


def test_a_new_setting_comes_where_a_fresh_ini_has_it() -> None:
    """With its explanation and its default, and it is said what it means."""
    before = without(NEW, FRESH)
    assert before != FRESH
    now = upgraded(before, OLDER, settings(before))
    assert now.text == FRESH
    (note,) = now.notes
    assert note.startswith(f"{NEW} is a new setting, and {default_text(NEW)} until you change it: ")


def test_in_a_short_ini_it_comes_at_the_end() -> None:
    """An admin who keeps only what counts gets no more than what is new."""
    own = f"# mine\n[params]\nmail_domain = {DOMAIN}\n"
    now = upgraded(own, OLDER, settings(own))
    assert now.text.startswith(own)
    assert now.text.endswith(f"\n#{NEW} = {default_text(NEW)}\n")
    assert settings(now.text) == settings(own)
    assert upgraded(now.text, list(abouts()), settings(own)).notes == ()


@pytest.mark.parametrize("line", [f"{NEW} = 3\n", f"#{NEW} = 10\n"])
def test_one_that_is_there_already_is_not_new(line: str) -> None:
    """Whoever wrote it down knows of it."""
    own = f"[params]\nmail_domain = {DOMAIN}\n{line}"
    assert upgraded(own, OLDER, settings(own)) == upgraded(own, None, settings(own))


def test_nothing_is_new_where_nobody_knows_what_was() -> None:
    """An ini that was never applied stays as it is."""
    own = f"[params]\nmail_domain = {DOMAIN}\n"
    assert upgraded(own, None, settings(own)).text == own


def test_the_file_changes_with_its_owner_and_mode(tmp_path: Path) -> None:
    """The change is one of those that an apply makes and can undo."""
    tree = Tree(tmp_path)
    own = without(NEW, FRESH).encode()
    tree.put(INI, Found(own, None, 0, 0, 0o600))
    assert ini_change(tree, settings(FRESH)) == (None, ())
    tree.put(PurePosixPath(KNOWN), Found("\n".join(OLDER).encode(), None, 0, 0, 0o644))
    change, notes = ini_change(tree, settings(FRESH))
    assert change is not None
    assert change.before == tree.look(INI)
    assert (change.after.content, change.after.mode) == (FRESH.encode(), 0o600)
    assert len(notes) == 1


def test_it_does_not_part_a_setting_from_its_value() -> None:
    """A value stands behind its commented default; the new setting comes after both."""
    before = "max_user_send_per_minute"
    own = without(NEW, FRESH).replace(f"#{before} = 60", f"#{before} = 60\n{before} = 7")
    now = upgraded(own, OLDER, settings(own))
    assert f"#{before} = 60\n{before} = 7\n\n# " in now.text
