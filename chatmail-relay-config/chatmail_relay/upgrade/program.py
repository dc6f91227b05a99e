"""A copy of the relay's own program, which no upgrade replaces: what decides on one runs from it.

It is one file, a zip archive of Python's sources (https://docs.python.org/3/library/zipapp.html).
Templates and pages are not in it: going back needs files as they were, and renders none.
"""

import io
import zipfile
from pathlib import Path

import chatmail_relay
from chatmail_relay.tree import Found, Tree
from chatmail_relay.upgrade.state import PLACE

PROGRAM = PLACE / "program.pyz"
MAIN = "from chatmail_relay.cli import main\n\nmain()\n"
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def packed(package: Path) -> bytes:
    """The Python package in a folder as a program, the same bytes for the same sources."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", MAIN.encode())
        for path in sorted(package.rglob("*.py")):
            name = f"{package.name}/{path.relative_to(package)}"
            _add(archive, name, path.read_bytes())
    return made.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    about = zipfile.ZipInfo(name, LONG_AGO)
    about.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(about, content)


def keep(tree: Tree) -> None:
    """Keep a copy of the program that is running, unless it is running from that copy."""
    [folder] = chatmail_relay.__path__
    if Path(folder).is_dir():
        owner = tree.ids("root", "root")
        tree.make_directory(PROGRAM.parent, *owner, 0o700)
        content = packed(Path(folder))
        if tree.look(PROGRAM).content != content:
            tree.put(PROGRAM, Found(content, None, *owner, 0o600))


def kept(tree: Tree) -> bool:
    """Whether there is a copy."""
    return tree.look(PROGRAM).exists
