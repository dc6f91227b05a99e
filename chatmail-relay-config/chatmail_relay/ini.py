"""Writes chatmail.ini: commented from the settings' metadata, or an admin's own text kept.

A setting that has its default stands in a comment, `#key = value`, so that a later default takes
effect; everything else is an ordinary line. Where there is a text already, only the values that
differ are changed: comments, order and the settings nobody touched stay as they are.
"""

from collections.abc import Iterable
from textwrap import wrap

from chatmail_relay.inifile import COMMENTED, LIVE
from chatmail_relay.settings import SECTION, Settings, about, abouts, default_text

WIDTH = 88

HEADER = """\
# The settings of this chatmail relay. After a change run `chatmail-relay apply`.
# `#key = value` shows a default; remove the # to change it. See chatmail.ini(5).
"""


def render_ini(settings: Settings, previous_text: str | None = None) -> str:
    """The text of an ini for SETTINGS, which must be what `Settings.from_text` reads back.

    PREVIOUS_TEXT is a readable ini of the admin's.
    """
    if previous_text is None:
        return _fresh(settings)
    return _changed(previous_text, settings)


def explanation(key: str) -> list[str]:
    """What the ini's comment and the manual page say about the setting KEY, in sentences."""
    item = about(key)
    unit = f" (in {item.unit})" if item.unit else ""
    return [item.meaning, f"Allowed{unit}: {item.kind.allowed}."]


def with_new(text: str, keys: Iterable[str], domain: str) -> str:
    """The readable ini TEXT with the settings KEYS, explained and with their defaults for DOMAIN.

    Each comes behind the one that it follows in a fresh ini, or at the end.
    """
    lines = text.rstrip("\n").split("\n")
    for key in keys:
        block = _block(key, default_text(key, domain) or "", domain).rstrip("\n").split("\n")
        at = _behind(key, lines)
        lines[at:at] = ["", *block]
    return "\n".join(lines) + "\n"


def mentioned(text: str) -> set[str]:
    """The settings that an ini has, their commented defaults included."""
    found = (LIVE.fullmatch(line) or COMMENTED.fullmatch(line) for line in text.split("\n"))
    return {line["key"] for line in found if line}


def _behind(key: str, lines: list[str]) -> int:
    """Where the paragraph ends that has the setting before KEY; the end when none has."""
    order = list(abouts())
    before = order[order.index(key) - 1]
    found = (LIVE.fullmatch(line) or COMMENTED.fullmatch(line) for line in lines)
    start = next(
        (at for at, line in enumerate(found) if line and line["key"] == before), len(lines)
    )
    return next((at for at in range(start, len(lines)) if not lines[at].strip()), len(lines))


def _fresh(settings: Settings) -> str:
    domain = settings.mail_domain
    blocks = [_block(key, value, domain) for key, value in settings.values().items()]
    return "\n".join([HEADER, f"[{SECTION}]\n", *blocks])


def _block(key: str, value: str, domain: str) -> str:
    comment = [line for text in explanation(key) for line in wrap(text, WIDTH - 2)]
    mark = "#" if value == default_text(key, domain) else ""
    lines = [*(f"# {line}" for line in comment), f"{mark}{key} = {value}".rstrip()]
    return "\n".join(lines) + "\n"


def _changed(text: str, settings: Settings) -> str:
    wanted = settings.values()
    lines = text.splitlines()
    live = {found["key"]: at for at, line in enumerate(lines) if (found := LIVE.fullmatch(line))}
    for key, value in wanted.items():
        if key in live:
            lines[live[key]] = _replaced(lines[live[key]], value)
    missing = {
        key: value
        for key, value in wanted.items()
        if key not in live and value != default_text(key, settings.mail_domain)
    }
    return "\n".join(_with_missing(lines, missing)) + "\n"


def _replaced(line: str, value: str) -> str:
    found = LIVE.fullmatch(line)
    if found is None or found["value"] == value:
        return line
    return f"{found['key']}{found['between']}{value}".rstrip()


def _with_missing(lines: list[str], missing: dict[str, str]) -> list[str]:
    """The LINES with each MISSING setting behind its commented default, or else at the end.

    A default that is commented before the section begins is none.
    """
    result = []
    left = dict(missing)
    inside = False
    for line in lines:
        result.append(line)
        inside = inside or line.startswith("[")
        found = COMMENTED.fullmatch(line)
        if inside and found and found["key"] in left:
            key = found["key"]
            result.append(f"{key} = {left.pop(key)}")
    for key, value in left.items():
        result += ["", *_block(key, value, "").splitlines()]
    return result
