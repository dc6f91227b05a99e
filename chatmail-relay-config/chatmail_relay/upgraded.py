"""The ini after an upgrade: what became of earlier settings, and what is new, said once.

Which settings the last apply knew is in a file of the plan, so that a failure, or a return to an
earlier configuration, takes that back together with the rest.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from chatmail_relay.changes import Change
from chatmail_relay.earlier import CarriedOver, carry_over, were_known
from chatmail_relay.ini import explanation, mentioned, with_new
from chatmail_relay.plan import KNOWN
from chatmail_relay.settings import DEFAULT_PATH, Settings, abouts, default_text
from chatmail_relay.tree import Tree

INI = PurePosixPath(DEFAULT_PATH)


def upgraded(text: str, known: Collection[str] | None, settings: Settings) -> CarriedOver:
    """The ini TEXT of SETTINGS as this version writes it back, and what there is to say.

    KNOWN are the settings that there were when it was last applied; None where that is not known.
    """
    carried = carry_over(text)
    if known is None:
        return carried
    before = were_known(known) | mentioned(carried.text)
    new = [key for key in abouts() if key not in before]
    if not new:
        return carried
    notes = (*carried.notes, *_introduced(new, settings))
    return CarriedOver(with_new(carried.text, new, settings.mail_domain), notes)


def ini_change(tree: Tree, settings: Settings) -> tuple[Change | None, tuple[str, ...]]:
    """How the ini in TREE, which says SETTINGS, is to change for that; and what there is to say."""
    present = tree.look(INI)
    text = (present.content or b"").decode()
    recorded = tree.look(KNOWN).content
    known = None if recorded is None else recorded.decode().split()
    now = upgraded(text, known, settings)
    after = replace(present, content=now.text.encode())
    return (Change(INI, present, after) if now.text != text else None), now.notes


def _introduced(keys: list[str], settings: Settings) -> Iterator[str]:
    for key in keys:
        value = default_text(key, settings.mail_domain) or "(empty)"
        meaning = explanation(key)[0].removesuffix(".")
        yield f"{key} is a new setting, and {value} until you change it: {meaning}"
