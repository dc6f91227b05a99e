"""Rewrites what is made of the settings and the units: `python3 -m chatmail_relay.generate [ROOT]`.

That is the sample ini, the settings' section of chatmail.ini(5), and the debconf templates; the
units' section of chatmail-relay(8), and which settings each daemon reads in its manual page. They
are checked in, so that packages are built without running anything, and a test fails on drift.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from chatmail_relay.debconf_templates import render_templates
from chatmail_relay.ini import explanation, render_ini
from chatmail_relay.settings import Settings, about, abouts, default_text
from chatmail_relay.units import UNITS

SAMPLE_DOMAIN = "chat.example.org"
MARKS = '.\\" {} GENERATED: {}\n'
UNIT_FILES = ("service", "timer", "path", "socket", "target")


def generated(root: Path) -> Iterator[tuple[Path, str]]:
    """Each generated file of the repository at ROOT with the text it should have."""
    config = root / "chatmail-relay-config"
    yield config / "examples/chatmail.ini", sample_ini()
    manual = config / "man/chatmail.ini.5"
    yield manual, _section(manual, "settings", settings_section())
    command = config / "man/chatmail-relay.8"
    yield command, _section(command, "units", units_section(root / "debian"))
    for page in sorted((root / "chatmaild/man").glob("*.8")):
        yield page, _section(page, "settings", settings_read(page.stem))
    yield root / "debian/chatmail-relay.templates", render_templates()


def sample_ini() -> str:
    """A complete ini with every default."""
    return render_ini(Settings.from_text(f"[params]\nmail_domain = {SAMPLE_DOMAIN}\n"))


def settings_section() -> str:
    """The settings as paragraphs of a manual page."""
    return "".join(_paragraph(key) for key in abouts())


def units_section(folder: Path) -> str:
    """The units that the package brings, from their files in FOLDER, as a manual page has them."""
    paths = [path for kind in UNIT_FILES for path in folder.glob(f"chatmail-relay.*.{kind}")]
    named = sorted((path.name.removeprefix("chatmail-relay."), path) for path in paths)
    return "".join(f".TP\n.B {_escaped(name)}\n{_described(path)}\n" for name, path in named)


def _described(path: Path) -> str:
    found = re.search(r"^Description=(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise SystemExit(f"{path} has no Description=")
    return _escaped(f"{found[1]}.")


def settings_read(daemon: str) -> str:
    """Which settings DAEMON is given, as its manual page says it."""
    keys = next((unit.settings for unit in UNITS if unit.name.rpartition(".")[0] == daemon), ())
    if not keys:
        raise SystemExit(f"{daemon} is none of the units that read settings")
    lines = wrap(f"It reads {', '.join(sorted(keys))}.", 90)
    return "".join(f"{_escaped(line)}\n" for line in lines)


def _paragraph(key: str) -> str:
    default = default_text(key)
    words = "required" if default is None else f"default: {default or 'empty'}"
    lines = [line for text in explanation(key) for line in wrap(text, 90)]
    if about(key).secret:
        lines.append("The packaging never asks for it: it is set in the file only.")
    body = "".join(f"{_escaped(line)}\n" for line in lines)
    return f'.TP\n.BR {_escaped(key)} " ({_escaped(words)})"\n{body}'


def _escaped(text: str) -> str:
    """TEXT as roff prints it: a hyphen is a minus, and no line starts with a control character."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


def _section(page: Path, name: str, section: str) -> str:
    """The text of PAGE with SECTION between the marks of that name."""
    begin, end = (MARKS.format(word, name) for word in ("BEGIN", "END"))
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{section}{end}{after}"


def main() -> None:
    root = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[2]
    for path, text in generated(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"rewrote {path}\n")


if __name__ == "__main__":
    main()
