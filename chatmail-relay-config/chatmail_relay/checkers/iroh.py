"""The configuration of iroh-relay, judged here key by key, before each of its starts, too.

The program itself takes a misspelled key for none, and where there is no file it writes one and
listens on port 80 of all addresses.

    python3 -m chatmail_relay.checkers.iroh FILE
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from chatmail_relay.errors import OperatorError
from chatmail_relay.stage import Stage

PREFIX = "/etc/chatmail-relay/iroh-relay.toml"

VALUES: Mapping[str, object] = {
    "enable_relay": True,
    "http_bind_addr": "127.0.0.1:3340",
    "enable_stun": False,
    "enable_quic_addr_discovery": False,
    "enable_metrics": False,
}
"""Keys that have to be there, with their only values."""

NUMBERS = ("limits.client.rx.bytes_per_second", "limits.client.rx.max_burst_bytes")
"""Keys that have to be there, with whole numbers above 0 in 32 bits."""

HINT = "Run `chatmail-relay apply`, which writes that file anew."


def check(stage: Stage) -> None:
    """Raise OperatorError when it is not as the relay needs it."""
    check_file(stage.path(PREFIX), PREFIX)


def check_file(path: Path, name: str) -> None:
    """Raise OperatorError, in which the file at PATH is called NAME."""
    try:
        text = path.read_text(encoding="utf-8")
        found = dict(_flat(tomllib.loads(text)))
    except OSError as error:
        raise OperatorError(f"{name} cannot be read: {error.strerror}", HINT) from None
    except ValueError as error:
        raise OperatorError(f"{name} is no TOML: {error}", HINT) from None
    for problem in _problems(found):
        raise OperatorError(f"{name}: {problem}", HINT)


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key with the names of the tables it is in."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _problems(found: Mapping[str, object]) -> Iterator[str]:
    for key, value in found.items():
        if key not in VALUES and key not in NUMBERS:
            yield f"there is no such key as {key}; known are {', '.join((*VALUES, *NUMBERS))}"
        elif key in VALUES and not _same(value, VALUES[key]):
            yield f"{key} = {value!r} is not allowed; allowed is {VALUES[key]!r}"
        elif key in NUMBERS and not _is_number(value):
            yield f"{key} = {value!r} is not allowed; allowed is a whole number from 1 to 2**32-1"
    for key in (*VALUES, *NUMBERS):
        if key not in found:
            yield f"{key} is missing"


def _same(value: object, wanted: object) -> bool:
    return type(value) is type(wanted) and value == wanted


def _is_number(value: object) -> bool:
    return type(value) is int and 0 < value < 2**32


def main(arguments: list[str]) -> int:
    """What the unit asks before it starts the program."""
    (path,) = arguments
    try:
        check_file(Path(path), path)
    except OperatorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
