"""The targets by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.dictproto import Dict
from tests.fuzz.dkim import Signatures
from tests.fuzz.doveauth import Lines
from tests.fuzz.envelope import Argument
from tests.fuzz.ini import Ini
from tests.fuzz.mail import Rules
from tests.fuzz.mailbox import Address
from tests.fuzz.mxdeliv import Dots, Head
from tests.fuzz.openpgp import OpenPGP
from tests.fuzz.push import Journal, News
from tests.fuzz.socketmap import Map
from tests.fuzz.target import Target
from tests.fuzz.wire import Wire

TARGETS: dict[str, Callable[[], Target]] = {
    "openpgp": OpenPGP,
    "mail": Rules,
    "mailbox": Address,
    "envelope": Argument,
    "wire": Wire,
    "mxdeliv": Head,
    "dots": Dots,
    "dkim": Signatures,
    "dict": Dict,
    "socketmap": Map,
    "doveauth": Lines,
    "push": News,
    "journal": Journal,
    "ini": Ini,
}
