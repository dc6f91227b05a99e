"""What would have to change on disk: the plan's files compared with what is there."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay.plan import File
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import POSTFIX, POSTFIX_INSTANCE

APPLIED = STATE_DIR / "applied"
"""The paths of all files which the last apply wrote, one a line."""

ORIGINALS = STATE_DIR / "original"
"""Files of other packages as they were before, by their path below this folder."""

REPLACED = (PurePosixPath("/etc/postfix/main.cf"), PurePosixPath("/etc/postfix/master.cf"))
"""Files of other packages which the relay needs for itself."""

_DROP_INS = PurePosixPath("/etc/systemd/system")


@dataclass(frozen=True)
class Change:
    """One path, as it is and as it should be, and the units that have to notice."""

    path: PurePosixPath
    before: Found
    after: Found
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """What happens to the file, in a word."""
        if not self.after.exists:
            return "removed"
        if not self.before.exists:
            return "new"
        return "changed" if self.before.content != self.after.content else "owner or mode"

    def diff(self) -> str:
        """The change as a unified diff; files only root reads are not shown."""
        if (self.before.exists and self.before.mode == 0o600) or self.after.mode == 0o600:
            return f"{self.path}: {self.verb}, not shown\n"
        lines = difflib.unified_diff(
            _lines(self.before), _lines(self.after), f"{self.path}", f"{self.path} (new)"
        )
        return "".join(lines) or f"{self.path}: {self.verb}\n"


def compare(
    files: Iterable[File], tree: Tree, lasting: Iterable[PurePosixPath] = ()
) -> Iterator[Change]:
    """The changes which make the tree hold FILES and none that an earlier apply wrote besides.

    LASTING files may have been written earlier and stay as they are.
    """
    paths = set(lasting)
    for file in files:
        paths.add(file.path)
        before = tree.look(file.path)
        after = Found(file.content, None, *tree.ids(file.owner, file.group), file.mode)
        if not _same(before, after, tree):
            yield Change(file.path, before, after, file.restart, file.reload)
    for path in applied(tree):
        if path not in paths and (before := tree.look(path)).exists:
            yield Change(path, before, Found(), restart=_unit_of_drop_in(path))
    yield from _remember(paths, tree)


def applied(tree: Tree) -> list[PurePosixPath]:
    """The files which the last apply wrote; empty where there was none."""
    content = tree.look(APPLIED).content or b""
    return [PurePosixPath(line) for line in content.decode().splitlines()]


def keep_originals(tree: Tree) -> Iterator[Change]:
    """Copies of other packages' files which are replaced for the first time."""
    ours = applied(tree)
    for path in REPLACED:
        copy = ORIGINALS / path.relative_to("/")
        present = tree.look(path)
        if path not in ours and present.content is not None and not tree.look(copy).exists:
            yield Change(copy, Found(), present)


def _remember(paths: set[PurePosixPath], tree: Tree) -> Iterator[Change]:
    text = "".join(f"{path}\n" for path in sorted(paths))
    before = tree.look(APPLIED)
    if before.content != text.encode():
        yield Change(APPLIED, before, Found(text.encode(), None, *tree.ids("root", "root"), 0o644))


def _same(before: Found, after: Found, tree: Tree) -> bool:
    if before.content != after.content or before.mode != after.mode:
        return False
    # In another root only contents and modes count: one may not be allowed to give files away.
    return not tree.is_system or (before.uid, before.gid) == (after.uid, after.gid)


def _unit_of_drop_in(path: PurePosixPath) -> tuple[str, ...]:
    folder = path.parent
    if folder.parent != _DROP_INS:
        return ()
    unit = folder.name.removesuffix(".d")
    # After an upgrade from Debian 12 the instance still runs, and can only be stopped.
    return (POSTFIX if unit == POSTFIX_INSTANCE else unit,)


def _lines(found: Found) -> list[str]:
    if found.target is not None:
        return [f"symbolic link to {found.target}\n"]
    text = (found.content or b"").decode(errors="replace")
    return text.splitlines(keepends=True)
