"""A message from the doctor's account to itself, encrypted, through the ports that apps use."""

import secrets
import time

from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.doctor.openpgp import Key, Unreadable, encrypted
from chatmail_relay.doctor.post import Mailbox, Trouble, send
from chatmail_relay.doctor.world import Identity, World

PATIENCE = 15.0
"""Seconds until it has to be in the mailbox."""
CALLS = "/shared/vendor/deltachat/turn"


def look(world: World) -> Finding:
    """Send it, wait for it, read it, and delete it."""
    identity = world.identity
    if identity is None:
        raise AssertionError("the account is there when this runs")
    try:
        seconds = _round(world, identity)
    except (Trouble, Unreadable) as trouble:
        return judge(0.0, str(trouble))
    return judge(seconds)


def _round(world: World, identity: Identity) -> float:
    key, text = Key.generate(identity.address), secrets.token_hex(16).encode()
    letter = encrypted(identity.address, identity.address, key.encrypt(text), world.clock())
    with Mailbox(world.here, identity) as box:
        world.call_credential = box.metadata(CALLS)
        box.empty()
        begin = time.monotonic()
        send(world.here, identity, identity.address, letter)
        content = box.wait_for("Message-ID", letter.message_id, PATIENCE)
        seconds = time.monotonic() - begin
        box.empty()
    if key.decrypt(content) != text:
        raise Trouble("what arrived is not what was sent")
    return seconds


def judge(seconds: float, problem: str = "") -> Finding:
    """Whether it came, after so many SECONDS; or what did not work."""
    if not problem:
        return fine(f"sent, delivered and read in {seconds:.1f} s")
    return fault(
        f"a message to oneself does not get through: {problem}",
        meaning="people cannot write to each other",
        cause="the step it names does not work, though the services run",
        command="journalctl --namespace=chatmail -n 50",
    )
