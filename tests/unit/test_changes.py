"""What would have to change on disk, and who has to notice."""

from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay import changes
from chatmail_relay.tree import Tree
from chatmail_relay.units import DOVEAUTH, POSTFIX, POSTFIX_INSTANCE


@pytest.mark.parametrize(
    ("path", "restarted"),
    [
        (f"/etc/systemd/system/{DOVEAUTH}.d/50-chatmail-relay.conf", (DOVEAUTH,)),
        (f"/etc/systemd/system/{POSTFIX_INSTANCE}.d/50-chatmail-relay.conf", (POSTFIX,)),
        ("/etc/dovecot/chatmail/push.lua", ()),
    ],
)
def test_what_is_needed_no_more(tmp_path: Path, path: str, restarted: tuple[str, ...]) -> None:
    """Its unit is restarted without it; Postfix's instance hands on what postfix.service does."""
    for name, text in {path: "old", str(changes.APPLIED): f"{path}\n"}.items():
        file = tmp_path / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    removed, remembered = changes.compare([], Tree(tmp_path))
    assert (removed.path, removed.verb) == (PurePosixPath(path), "removed")
    assert removed.restart == restarted
    assert remembered.path == changes.APPLIED
