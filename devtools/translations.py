"""What the web pages say, for translators: `python3 -m devtools.translations`.

Takes the texts out of `www/pages/` into `www/po/www.pot` and brings each language's catalogue up to
it, by gettext's own tools; texts that are new are empty there, and a test fails until somebody has
translated them. `compiled` makes the catalogues that the checkout's own programs read: packages
have theirs made when they are built.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chatmail_relay.render import environment
from chatmail_relay.translations import DOMAIN, FOLDER

from devtools.run import run
from devtools.sources import REPOSITORY

PAGES = REPOSITORY / "www/pages"
CATALOGUES = REPOSITORY / "www/po"
TEMPLATE = CATALOGUES / f"{DOMAIN}.pot"
HEADER = """\
# The texts of a relay's web pages. They are HTML: tags stay as they are, and so does %(…)s.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"""


def template() -> str:
    """Return the texts of all pages as gettext's template, each once."""
    places: dict[tuple[str, ...], list[str]] = {}
    for path in sorted(PAGES.glob("*.j2")):
        for message in _messages(path):
            places.setdefault(message, [])
            if path.name not in places[message]:
                places[message].append(path.name)
    entries = [_entry(message, files) for message, files in places.items()]
    return "\n".join([HEADER, *entries])


def _messages(path: Path) -> Iterator[tuple[str, ...]]:
    extract = getattr(environment(), "extract_translations")  # noqa: B009 # made by the extension
    for _line, function, message in extract(path.read_text(encoding="utf-8")):
        # Behind the texts are the values.
        words = message if isinstance(message, tuple) else (message,)
        yield words[: 2 if function == "ngettext" else 1]


def _entry(message: tuple[str, ...], files: list[str]) -> str:
    lines = [f"#: {name}" for name in files]
    if "%(" in message[-1]:
        lines.append("#, python-format")
    keys = ("msgid", "msgid_plural")
    lines += [f"{key} {_quoted(text)}" for key, text in zip(keys, message, strict=False)]
    empty = ['msgstr ""'] if len(message) == 1 else ['msgstr[0] ""', 'msgstr[1] ""']
    return "\n".join([*lines, *empty, ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def catalogues() -> list[Path]:
    """Return the catalogue of each language, named by it."""
    return sorted(CATALOGUES.glob("*.po"))


def compiled() -> None:
    """Have the catalogues that the configurator of this checkout reads."""
    for source in catalogues():
        target = FOLDER / source.stem / "LC_MESSAGES" / f"{DOMAIN}.mo"
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        # Several runs may want it at the same time.
        handle, beside = tempfile.mkstemp(dir=target.parent)
        os.close(handle)
        run(["msgfmt", "--check", "--output-file", beside, source])
        Path(beside).replace(target)


def main() -> None:
    TEMPLATE.write_text(template(), encoding="utf-8")
    for path in catalogues():
        merge = ["msgmerge", "--quiet", "--update", "--backup=none", "--no-fuzzy-matching"]
        run([*merge, "--no-wrap", path, TEMPLATE])


if __name__ == "__main__":
    main()
