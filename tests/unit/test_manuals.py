"""Manual pages: one for every command, file, daemon and package, and each says everything."""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from chatmail_relay.cli import make_parser

from devtools.sources import REPOSITORY, SOURCES, exported

PAGES = {Path(name).name: REPOSITORY / name for name in exported(["*.[1578]"])}
PYPROJECT = tomllib.loads((REPOSITORY / "chatmaild/pyproject.toml").read_text(encoding="utf-8"))
DAEMONS: dict[str, str] = PYPROJECT["project"]["scripts"]
FILES = ("chatmail.ini.5",)
"""What an admin edits."""

DOCUMENTED_ELSEWHERE = {"chatmaild": "doveauth.8", "chatmail-relay-config": "chatmail-relay.8"}
"""Packages of which no program has the name, and the first page they have."""


def words(page: str) -> str:
    """The text of a page, without what roff makes of it."""
    return PAGES[page].read_text(encoding="utf-8").replace("\\-", "-")


def options(text: str) -> set[str]:
    """The options that are named in a text, but for the short form of --help."""
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", text)) - {"-h"}


def parsers(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, list[set[str]]]]:
    """Each command of the command line, and the forms of each of its options."""
    forms = [set(action.option_strings) for action in parser._actions if action.option_strings]
    yield name, [each for each in forms if "--help" not in each]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from parsers(inner, f"{name} {word}".strip())


def test_every_daemon_has_a_page() -> None:
    """One in section 8 for each program of chatmaild, and none for what is no program."""
    folder = REPOSITORY / "chatmaild/man"
    assert {path.name for path in folder.iterdir()} == {f"{name}.8" for name in DAEMONS}


@pytest.mark.parametrize("name", [name for source in SOURCES for name in source.binaries])
def test_every_package_has_a_page(name: str) -> None:
    """It is named as the package, unless the package's programs have other names."""
    wanted = {DOCUMENTED_ELSEWHERE.get(name, "")} | {f"{name}.{section}" for section in (1, 7, 8)}
    assert wanted & PAGES.keys()


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_a_page(name: str) -> None:
    """What an admin edits is described."""
    assert name in PAGES


@pytest.mark.parametrize("page", list(PAGES))
def test_a_page_is_named_as_its_file(page: str) -> None:
    """Its title, its section and its first line are those of the file."""
    name, _, section = page.rpartition(".")
    assert words(page).startswith(f".TH {name.upper()} {section} ")
    assert re.search(rf"^\.SH NAME\n{re.escape(name)} - ", words(page), re.MULTILINE)


@pytest.mark.parametrize(("command", "known"), list(parsers(make_parser())))
def test_the_command_is_described(command: str, known: list[set[str]]) -> None:
    """Each command of chatmail-relay, and each option of it in one of its forms, is in its page."""
    said = words("chatmail-relay.8")
    assert f"chatmail-relay {command}".strip() in said
    assert [forms for forms in known if not forms & options(said)] == []


@pytest.mark.parametrize(("name", "entry"), list(DAEMONS.items()))
def test_daemons_options_are_described(
    name: str, entry: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon's page has the options that the daemon itself shows."""
    module, _, function = entry.partition(":")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        getattr(import_module(module), function)()
    assert options(words(f"{name}.8")) == options(capsys.readouterr().out)


def test_units_point_at_pages_that_there_are() -> None:
    """`systemctl help` shows a page: ours exist, and each unit names one of ours."""
    for path in (REPOSITORY / "debian").glob("chatmail-relay.*.*"):
        if path.suffix in (".service", ".timer", ".path"):
            found = re.findall(r"man:([\w.-]+)\((\d)\)", path.read_text(encoding="utf-8"))
            ours = [f"{name}.{section}" for name, section in found if "chatmail" in name]
            assert ours, path
            assert set(ours) <= PAGES.keys(), path
