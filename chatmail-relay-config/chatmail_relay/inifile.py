"""One ini file as text: its keys with their lines, and refusals that name the place.

Only the form is judged here: one known section, each key known and given once. iniconfig does
the reading, since it knows the line of each key and refuses doubles.
"""

import re
from collections.abc import Collection

from iniconfig import IniConfig, ParseError

from chatmail_relay.errors import SettingsError

LIVE = re.compile(r"(?P<key>\w+)(?P<between>\s*[=:]\s*)(?P<value>.*?)\s*")
"""A line that sets something."""
COMMENTED = re.compile(r"#\s?(?P<key>\w+)\s*=\s*(?P<value>.*?)\s*")
"""One that would, without its #."""

_UNREADABLE = re.compile(
    r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]|^[^\S\r\n]+[^\s#;]", re.MULTILINE
)
"""What some readers take for the end of a line, other control characters, and values that go on in
the next line: iniconfig takes them, editors and other readers show them as something else."""


class IniFile:
    """The lines `key = value` of an ini's only SECTION; SOURCE is its name in errors."""

    def __init__(self, text: str, source: str, section: str) -> None:
        self._source = source
        self._section = section
        self._ini = self._parse(text)
        for name in self._ini.sections:
            if name != section:
                raise SettingsError(
                    f"[{name}] is no section of this file",
                    file=source,
                    line=self._ini.lineof(name),
                    value=name,
                    allowed=f"only [{section}]",
                )

    def _parse(self, text: str) -> IniConfig:
        if found := _UNREADABLE.search(text):
            raise self._refuse_line("this line cannot be read", text.count("\n", 0, found.start()))
        try:
            return IniConfig(self._source, data=text)
        except ParseError as error:
            # iniconfig quotes an unexpected line, which may hold a secret.
            quoted = "unexpected" in error.msg
            problem = "this line cannot be read" if quoted else error.msg
            raise self._refuse_line(problem, error.lineno) from None

    def _refuse_line(self, problem: str, index: int) -> SettingsError:
        return SettingsError(
            problem,
            file=self._source,
            line=index + 1,
            allowed=f"[{self._section}] once, comments after '#', and lines `key = value`, "
            "each key once",
        )

    def keys(self, known: Collection[str]) -> list[str]:
        """The keys given; SettingsError when one is not among the KNOWN."""
        given = list(self._ini.sections.get(self._section, {}))
        for key in given:
            if key not in known:
                raise self.refuse(key, "there is no such setting", ", ".join(known), key)
        return given

    def text(self, key: str) -> str:
        """The text given for KEY."""
        return self._ini.sections[self._section][key]

    def refuse(
        self, key: str, problem: str, allowed: str, value: str | None = None
    ) -> SettingsError:
        """The error that says what is wrong with KEY, with its line when it is in the file."""
        return SettingsError(
            f"{key}: {problem}",
            file=self._source,
            line=self._ini.lineof(self._section, key),
            key=key,
            value=value,
            allowed=allowed,
        )
