"""Mail addresses that a header of HTTP can carry without any reader taking them for more."""

from __future__ import annotations

import re

MAX_ADDRESS = 254

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(
    rf"{_ATOM}(?:\.{_ATOM})*@"
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[(?:[Ii][Pp][Vv]6:)?[0-9A-Fa-f:.]+\])"
)


def is_mail_address(text: str) -> bool:
    """Whether it is such an address: no quotes, no controls, ASCII alone."""
    return len(text) <= MAX_ADDRESS and _ADDRESS.fullmatch(text) is not None
