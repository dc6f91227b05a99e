"""Settings of earlier versions which have another name now, or are none any more.

Whoever reads an ini reads it with the names of today (`in_present_words`), so that neither an
upgrade nor a return to an earlier configuration stops at a name. `apply` then changes the file,
and says so once (`carry_over`): an admin's comments, order and values stay.

A setting that gets another name, or goes, has its line here in the same release.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from chatmail_relay.inifile import COMMENTED, LIVE


@dataclass(frozen=True)
class Earlier:
    """What became of a setting."""

    since: str
    """The first version without it."""
    now: str = ""
    """The setting that has its place; empty when none has."""
    reason: str = ""
    """Why none has, and what to do instead, in a sentence without a full stop."""
    value: Callable[[str], str] = str
    """Makes the value of today of its value; ValueError says in words why that is not possible."""


EARLIER: Mapping[str, Earlier] = {}
"""By the names in earlier versions."""


@dataclass(frozen=True)
class CarriedOver:
    """An ini with the names of today, and what there is to say about that, one thing each."""

    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """What becomes of a line: itself, comments to be put above it, and what is to be said."""

    text: str
    comments: tuple[str, ...] = ()
    note: str = ""


def in_present_words(text: str) -> str:
    """The ini TEXT with the names of today, each line in its place."""
    if not EARLIER:
        return text
    # Not splitlines(), which knows more ends of a line than an ini has.
    return "\n".join(line.text for line in _lines(text.split("\n")))


def carry_over(text: str) -> CarriedOver:
    """The readable ini TEXT as it is written back."""
    lines: list[str] = []
    notes = []
    for line in _lines(text.split("\n")):
        lines += [*(f"# {comment}" for comment in line.comments), line.text]
        if line.note:
            notes.append(line.note)
    return CarriedOver("\n".join(lines), tuple(notes))


def were_known(keys: Collection[str]) -> set[str]:
    """The settings of today that were known to a version which had the settings KEYS."""
    return {*keys, *(item.now for key, item in EARLIER.items() if key in keys)}


def _lines(lines: list[str]) -> Iterator[_Line]:
    given = {found["key"] for line in lines if (found := LIVE.fullmatch(line))}
    for line in lines:
        if (found := LIVE.fullmatch(line)) and found["key"] in EARLIER:
            key, between, value = found.group("key", "between", "value")
            yield _moved(line, key, between, value, given)
        elif (found := COMMENTED.fullmatch(line)) and found["key"] in EARLIER:
            yield _Line(_moved_comment(line, found["key"], found["value"]))
        else:
            yield _Line(line)


def _moved(line: str, key: str, between: str, value: str, given: set[str]) -> _Line:
    item = EARLIER[key]
    if not item.now:
        problem = f"{key} is no setting since version {item.since}: {item.reason}"
        return _Line(f"#{line}", (problem,), f"{problem}; its line is a comment now")
    renamed = f"{key} is {item.now} since version {item.since}"
    if item.now in given:
        problem = f"{renamed}, and that is set as well"
        return _Line(f"#{line}", (problem,), f"{problem}; the line of {key} is a comment now")
    try:
        now = item.value(value)
    except ValueError as error:
        problem = f"{renamed}, which cannot have its value: {error}"
        return _Line(f"#{line}", (problem,), f"{problem}; set {item.now} if its default is wrong")
    given.add(item.now)
    text = f"{item.now}{between}{now}".rstrip()
    return _Line(text, (f"{renamed}.",), f"{renamed}; its value was carried over")


def _moved_comment(line: str, key: str, value: str) -> str:
    """A default, or a value that somebody keeps in a comment, by the name of today."""
    item = EARLIER[key]
    try:
        return f"#{item.now} = {item.value(value)}".rstrip() if item.now else line
    except ValueError:
        return line
