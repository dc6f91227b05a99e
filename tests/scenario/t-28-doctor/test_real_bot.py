"""Purpose: the bot that answers the doctor is the real one, at a relay of the other suite."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.clients.core import Core
from tests.clients.relay import Relay

Several = Callable[..., AbstractContextManager[dict[str, Relay]]]
RELAYS = {"_alpha.lab": "trixie", "_beta.lab": "bookworm"}


@pytest.mark.long
def test_real_bot(several: Several, tmp_path: Path) -> None:
    """The real core answers the request to join, encrypted for the key that came with it."""
    with several(RELAYS) as relays:
        alpha, beta = relays.values()
        with Core(beta.place, tmp_path) as core:
            bot = core.join(beta.domain, "bot")
            link = bot.account.get_qr_code()
            with alpha.changed(doctor_peer=link):
                shown = alpha.machine.run("chatmail-relay doctor --json", check=False).stdout
        checks = {check["name"]: check for check in json.loads(shown)["checks"]}
        for name in ("port-25-out", "peer", "port-25-in"):
            assert checks[name]["state"] == "fine", checks[name]
