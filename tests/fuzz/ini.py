"""The settings' file beside Python's configparser, and what is written beside what is read."""

from __future__ import annotations

import configparser
from collections.abc import Iterable
from dataclasses import replace

from chatmail_relay.errors import SettingsError
from chatmail_relay.ini import render_ini
from chatmail_relay.settings import SECTION, Settings, abouts, default_text

from tests.fuzz.target import FalseAccept, Target


class Ini(Target):
    """The text of an ini."""

    words = (
        *(f"{key} = ".encode() for key in abouts()),
        *(f"{default_text(key) or ''}\n".encode() for key in abouts()),
        *(
            b"[params]\n",
            b"[params]",
            b"[other]\n",
            b"#",
            b";",
            b" = ",
            b": ",
            b"\n",
            b"\n ",
            b"yes",
        ),
        *(
            b"_alpha.lab",
            b"chat.example.org",
            b"invite",
            b"closed",
            b"::1 192.0.2.1",
            b"${x}",
            b"%(x)s",
        ),
        *(
            b"\xc2\x85",
            b"\xe2\x80\xa8",
            b"\x0b",
            b"\x0c",
            b"\xef\xbb\xbf",
            b"\xd9\xa3",
            b"0",
            b"9" * 30,
        ),
    )

    def seeds(self) -> Iterable[bytes]:
        """A short ini, the sample with all settings, and unusual but right ones."""
        short = "[params]\nmail_domain = _alpha.lab\n"
        yield short.encode()
        full = Settings.from_text(short)
        yield render_ini(full).encode()
        yield ("[params]\n" + "".join(f"{k} = {v}\n" for k, v in full.values().items())).encode()
        yield b"# x\n\n[params] # y\nmail_domain: chat.example.org\nadmin_contact=a@example.org\n"
        yield short.encode() + b"registration = invite\ninvite_token = 0123456789abcdef\n"
        yield short.encode() + b"resolver_forward = 192.0.2.1, 2001:db8::1\nimap_compress = yes\n"

    def check(self, data: bytes) -> bool:
        """Hold the values to configparser's, and every way of writing them to what is read."""
        try:
            text = data.decode()
            settings = Settings.from_text(text, "x.ini")
        except (UnicodeDecodeError, SettingsError) as error:
            if "\n" in str(error).split("\nCorrect")[0]:
                raise FalseAccept("an error of more than one line") from None
            return False
        self._compare(settings, text)
        changed = replace(settings, max_mailbox_size_mib=settings.max_mailbox_size_mib + 1)
        for wanted, previous in ((settings, None), (settings, text), (changed, text)):
            if wanted.max_mailbox_size_mib > 10_000_000:
                continue
            if Settings.from_text(render_ini(wanted, previous)) != wanted:
                raise FalseAccept("it is written as something else than it was read")
        return True

    def _compare(self, settings: Settings, text: str) -> None:
        other = configparser.RawConfigParser(
            strict=True, comment_prefixes="#;", default_section="\0"
        )
        setattr(other, "optionxform", str)  # noqa: B010 - keys as they stand
        try:
            other.read_string(text.removeprefix("\ufeff"))
        except configparser.Error as error:
            raise FalseAccept(f"configparser: {type(error).__name__}") from None
        names = other.sections()
        if [name.partition("]")[0] for name in names] != [
            SECTION
        ]:  # a comment after it may have one
            raise FalseAccept(f"sections {names}")
        for key, value in other.items(names[0]):
            if abouts()[key].kind.parse(value) != getattr(settings, key):
                raise FalseAccept(f"{key} is {value!r}")
