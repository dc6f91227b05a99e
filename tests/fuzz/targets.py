"""The targets by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.dictproto import Dict
from tests.fuzz.doveauth import Lines
from tests.fuzz.ini import Ini
from tests.fuzz.mail import Rules
from tests.fuzz.mailbox import Address
from tests.fuzz.openpgp import OpenPGP
from tests.fuzz.socketmap import Map
from tests.fuzz.target import Target

TARGETS: dict[str, Callable[[], Target]] = {
    "openpgp": OpenPGP,
    "mail": Rules,
    "mailbox": Address,
    "dict": Dict,
    "socketmap": Map,
    "doveauth": Lines,
    "ini": Ini,
}
