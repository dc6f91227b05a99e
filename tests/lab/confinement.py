"""What an AppArmor profile allows, read from its text: `apparmor_parser --preprocess` prints it.

Only rules about files, which is what packages' paths are about; apparmor.d(5) says how they are
written. A profile is judged so without a kernel that knows AppArmor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_VARIABLE = re.compile(r"(?m)^\s*@\{(\w+)\}\s*(\+?=)\s*(.*?)\s*$")
_RULE = re.compile(
    r"^\s*(?P<deny>(?:audit\s+)?deny\s+)?(?:audit\s+|allow\s+)?(?:owner\s+)?"
    r"(?:(?P<early>[rwmklaixuUpPcC]+)\s+)?\"?(?P<path>[/@][^\s\"]*)\"?"
    r"(?:\s+(?P<late>[rwmklaixuUpPcC]+))?\s*(?:->\s*\S+\s*)?,\s*$"
)


class Rule(NamedTuple):
    """One rule about files: a pattern, what it is about (letters), and whether it forbids."""

    pattern: re.Pattern[str]
    permissions: str
    denies: bool


def rules(profile: str) -> Iterator[Rule]:
    """The rules about files in a profile whose includes are in place."""
    variables: dict[str, list[str]] = {}
    for name, how, words in _VARIABLE.findall(profile):
        variables[name] = (variables.get(name, []) if how == "+=" else []) + words.split()
    for line in profile.splitlines():
        if found := _RULE.match(line):
            for path in expanded(found["path"], variables):
                pattern = re.compile(expression(path))
                yield Rule(pattern, found["late"] or found["early"] or "", bool(found["deny"]))


def expanded(path: str, variables: dict[str, list[str]]) -> Iterator[str]:
    """The paths that one with variables stands for."""
    name = re.search(r"@\{(\w+)\}", path)
    if name is None:
        yield re.sub(r"//+", "/", path)
        return
    for value in variables.get(name[1], []):
        yield from expanded(path.replace(name[0], value, 1), variables)


def expression(path: str) -> str:
    """A regular expression for a path with the globs of apparmor.d(5)."""
    made, depth = "", 0
    for token in re.findall(r"\\.|\*\*|\[[^]]*\]|.", path):
        if token == "**":
            made += ".*"
        elif token == "*":
            made += "[^/]*"
        elif token == "?":
            made += "[^/]"
        elif token == "{":
            made, depth = made + "(?:", depth + 1
        elif token == "}" and depth:
            made, depth = made + ")", depth - 1
        elif token == "," and depth:
            made += "|"
        elif token.startswith("["):
            made += token
        else:
            made += re.escape(token.removeprefix("\\"))
    return made


def allows(known: Iterable[Rule], path: str, permission: str) -> bool:
    """Whether rules allow what the letter stands for, and none forbids it."""
    matching = [
        rule for rule in known if permission in rule.permissions and rule.pattern.fullmatch(path)
    ]
    return bool(matching) and not any(rule.denies for rule in matching)
