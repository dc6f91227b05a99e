"""The tokens by which users' devices are woken, from upstream's file into chatmail-metadata's.

There `metadata.json` in the mailbox, `{"devicetoken": {TOKEN: UNIX TIME}}`, from older versions a
list of tokens; here a file for each user with a line `DAY TOKEN` each, which is replaced whole
(chatmaild/tokens.py).
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from chatmail_relay.moving import identity
from chatmail_relay.tree import Tree

FOLDER = PurePosixPath("/var/lib/chatmail-metadata")
MAX_TOKEN = 4096
MAX_TOKENS = 20
LIFETIME_DAYS = 90


def of_upstream(content: bytes, now: float) -> dict[str, date]:
    """The living tokens in upstream's file, each with its day; none in what cannot be read."""
    try:
        found = json.loads(content).get("devicetoken", {})
    except (ValueError, AttributeError):
        return {}
    if isinstance(found, list):
        found = dict.fromkeys((token for token in found if isinstance(token, str)), now)
    if not isinstance(found, Mapping):
        return {}
    return {
        token: _day(when)
        for token, when in found.items()
        if _is_token(token) and isinstance(when, (int, float)) and _lives(when, now)
    }


def _is_token(token: object) -> bool:
    if not isinstance(token, str) or not 0 < len(token.encode(errors="replace")) <= MAX_TOKEN:
        return False
    return token.isprintable() and not any(character.isspace() for character in token)


def _lives(when: float, now: float) -> bool:
    return now - LIFETIME_DAYS * 86400 < when < now + 86400


def _day(when: float) -> date:
    return datetime.fromtimestamp(when, UTC).date()


def parse(text: str) -> dict[str, date]:
    """The tokens in the TEXT of one of this relay's files, each with its day."""
    found = {}
    for line in text.split("\n"):
        day, _, token = line.partition(" ")
        with suppress(ValueError):
            if _is_token(token):
                found[token] = date.fromisoformat(day)
    return found


class Devices:
    """The files of tokens below a root."""

    def __init__(self, tree: Tree, clock: Callable[[], float] = time.time) -> None:
        self._tree = tree
        self._clock = clock
        self._folder = tree.real(FOLDER / "tokens")

    def prepare(self) -> None:
        """Make the folder; raises OperatorError."""
        owner = self._tree.ids(identity.TOKENS, identity.TOKENS)
        for path in (FOLDER, FOLDER / "tokens"):
            self._tree.make_directory(path, *owner, 0o700)

    def take(self, address: str, content: bytes) -> int:
        """Add the tokens in upstream's file to those of ADDRESS; how many are new."""
        return self.add(address, of_upstream(content, self._clock()))

    def add(self, address: str, tokens: Mapping[str, date]) -> int:
        """Add TOKENS; how many are new. The later of two days counts."""
        if not tokens:
            return 0
        with identity.acting_as(identity.TOKENS, self._tree):
            before = self.read(address)
            after = dict(before)
            for token, day in tokens.items():
                after[token] = max(day, before.get(token, day))
            if after != before:
                self._write(address, after)
        return len(set(after) - set(before))

    def read(self, address: str) -> dict[str, date]:
        """The tokens of ADDRESS, each with its day."""
        with suppress(FileNotFoundError):
            return parse((self._folder / address).read_text(encoding="utf-8", errors="replace"))
        return {}

    def _write(self, address: str, tokens: Mapping[str, date]) -> None:
        latest = sorted(tokens.items(), key=lambda item: item[1])[-MAX_TOKENS:]
        text = "".join(f"{day.isoformat()} {token}\n" for token, day in latest)
        # Not the name of the daemon's own draft, which may be writing at this moment.
        draft = self._folder / f".import-{os.urandom(8).hex()}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / address)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
