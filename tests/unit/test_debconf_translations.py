"""The questions of the package in other languages: complete, current and consistent."""

import gettext
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.sources import REPOSITORY

CATALOGUES = sorted((REPOSITORY / "debian/po").glob("*.po"))
TEMPLATES = (REPOSITORY / "debian/chatmail-relay.templates").read_text(encoding="utf-8")


def texts(templates: str) -> Iterator[str]:
    """What is translated of TEMPLATES, as po-debconf(7) takes it apart."""
    field = r"^_+([A-Za-z]+): (.*\n(?:[ \t].*\n)*)"
    for name, value in re.findall(field, templates, re.MULTILINE):
        first, _, rest = value.partition("\n")
        yield from first.split(", ") if name == "Choices" else [first]
        for paragraph in re.split(r"(?m)^ \.\n", rest):
            if paragraph.strip():
                yield " ".join(line.strip() for line in paragraph.splitlines())


def loaded(catalogue: Path, folder: Path) -> gettext.GNUTranslations:
    """The catalogue as programs read it: without what is missing, or only guessed (fuzzy)."""
    made = folder / "made.mo"
    subprocess.run(["msgfmt", "--check", f"--output-file={made}", catalogue], check=True)
    with made.open("rb") as file:
        return gettext.GNUTranslations(file)


def missing(catalogue: Path, folder: Path) -> list[str]:
    """The texts that a catalogue does not translate."""
    known = loaded(catalogue, folder)
    return [text for text in texts(TEMPLATES) if known.gettext(text) == text and text != "acme"]


def test_texts_are_found_in_templates() -> None:
    """Short and long descriptions, paragraphs and choices are each a text."""
    template = (
        "Template: a/b\nType: select\nChoices-C: x, y\n__Choices: one, two\n"
        "_Description: Which?\n A line\n and another.\n .\n A paragraph.\n\nTemplate: c/d\n"
    )
    assert list(texts(template)) == ["one", "two", "Which?", "A line and another.", "A paragraph."]


def test_there_are_five_languages() -> None:
    """The questions are asked in English, and in five other languages."""
    assert {path.stem for path in CATALOGUES} >= {"de", "es", "fr", "pt_BR", "ru"}


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_every_text_is_translated(catalogue: Path, tmp_path: Path) -> None:
    """None is missing or fuzzy; after a change: debconf-updatepo, in debian/."""
    assert missing(catalogue, tmp_path) == []


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_choices_are_explained_by_the_names_they_have(catalogue: Path, tmp_path: Path) -> None:
    """A question's long text speaks of its choices as they stand in the list."""
    known = loaded(catalogue, tmp_path)
    for block in TEMPLATES.split("\n\n"):
        if "__Choices: " in block:
            *choices, _question, long = map(known.gettext, texts(f"{block}\n"))
            assert [word for word in choices if word not in long] == []


def test_the_catalogue_for_translators_is_current() -> None:
    """Its texts are those of the templates; otherwise: debconf-updatepo, in debian/."""
    wanted = ["msgcat", "--no-wrap", "--no-location", "debian/po/templates.pot"]
    done = subprocess.run(wanted, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    found = re.findall(r'^msgid "(.+)"$', done.stdout, re.MULTILINE)
    assert {text.replace('\\"', '"') for text in found} == set(texts(TEMPLATES))
