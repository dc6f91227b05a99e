"""Rewrites what is made from the settings' metadata: `python3 -m chatmail_relay.generate [ROOT]`.

That is the sample ini, the settings' section of chatmail.ini(5), and the debconf templates. They
are checked in, so that packages are built without running anything, and a test fails on drift.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from chatmail_relay.debconf_templates import render_templates
from chatmail_relay.ini import explanation, render_ini
from chatmail_relay.settings import Settings, about, abouts, default_text

SAMPLE_DOMAIN = "chat.example.org"
BEGIN = '.\\" BEGIN GENERATED: settings\n'
END = '.\\" END GENERATED: settings\n'


def generated(root: Path) -> Iterator[tuple[Path, str]]:
    """Each generated file of the repository at ROOT with the text it should have."""
    config = root / "chatmail-relay-config"
    yield config / "examples/chatmail.ini", sample_ini()
    manual = config / "man/chatmail.ini.5"
    yield manual, _between(manual.read_text(encoding="utf-8"), settings_section())
    yield root / "debian/chatmail-relay.templates", render_templates()


def sample_ini() -> str:
    """A complete ini with every default."""
    return render_ini(Settings.from_text(f"[params]\nmail_domain = {SAMPLE_DOMAIN}\n"))


def settings_section() -> str:
    """The settings as paragraphs of a manual page."""
    return "".join(_paragraph(key) for key in abouts())


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


def _between(text: str, section: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{section}{END}{after}"


def main() -> None:
    root = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[2]
    for path, text in generated(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"rewrote {path}\n")


if __name__ == "__main__":
    main()
