"""What the doctor found last, for `chatmail-relay status`: a small file in the relay's folder."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree

PATH = STATE_DIR / "doctor.json"


@dataclass(frozen=True)
class Record:
    """When the doctor looked, in Unix seconds, and the names of the faults."""

    when: float
    faults: tuple[str, ...]


def keep(tree: Tree, record: Record) -> None:
    """Remember RECORD in place of the one before."""
    content = json.dumps({"when": record.when, "faults": record.faults}).encode()
    tree.put(PATH, Found(content, mode=0o644))


def last(tree: Tree) -> Record | None:
    """The one that is remembered; None where there is none."""
    try:
        found = json.loads(tree.look(PATH).content or b"")
        return Record(float(found["when"]), tuple(map(str, _listed(found["faults"]))))
    except (ValueError, LookupError, TypeError):
        return None


def _listed(value: object) -> Iterable[object]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value
