"""The secret under which credentials for relayed calls are made (chatmail-turn(8)).

Random, made by the first apply and kept by those after it. To replace it, remove the file and apply
again: credentials that were handed out before are then good for nothing, and apps get others when
they connect again.
"""

import secrets

from chatmail_relay.plan import File
from chatmail_relay.settings import STATE_DIR, Settings
from chatmail_relay.tree import Tree
from chatmail_relay.units import TURN

PATH = STATE_DIR / "turn" / "secret"
USER = "_chatmail-turn"
BYTES = 32


def secret_files(settings: Settings, tree: Tree) -> tuple[File, ...]:
    """The secret, the present one or a new one, which only chatmail-turn reads."""
    if not settings.turn_enabled:
        return ()
    present = tree.look(PATH).content
    if present is None or len(present.strip()) < BYTES:
        present = f"{secrets.token_hex(BYTES)}\n".encode()
    return (File(PATH, present, USER, USER, 0o600, reload=(TURN,)),)
