"""Whether the relay's secrets are as strong as they should be, and only for those who need them."""

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay import turnsecret
from chatmail_relay.command import run
from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.doctor.world import World

LEAST_RSA, LEAST_CURVE = 2048, 224
"""Bits."""
LEAST_SECRET, LEAST_VARIETY = 32, 6
"""Characters of a secret that is no key, and how many different ones."""
ENTROPY = PurePosixPath("/proc/sys/kernel/random/entropy_avail")
ENOUGH_ENTROPY = 128
"""Bits. Linux since 5.18 says 256 once its generator has been seeded."""

_BITS = re.compile(r"Private-Key: \((\d+) bit")
_EDWARDS = re.compile(r"ED(25519|448) Private-Key:")


@dataclass(frozen=True)
class Secret:
    """What is known of a secret in a file; BITS of a key, or else TEXT. Neither: unreadable."""

    path: str
    mode: int
    rsa: bool = False
    bits: int = 0
    text: str = ""


def look(world: World) -> Finding:
    """Look at each key's length, and at who can read it."""
    entropy = world.tree.real(ENTROPY)
    available = int(entropy.read_text(encoding="ascii")) if entropy.exists() else ENOUGH_ENTROPY
    return judge(_secrets(world), available)


def _secrets(world: World) -> Iterator[Secret]:
    settings, tree = world.settings, world.tree
    paths = [settings.private_key]
    if not settings.is_address_literal:
        paths.append(settings.dkim_key)
    for path in paths:
        found = tree.look(path)
        if found.content is not None:
            yield _key(path, found.mode, found.content.decode("ascii", "replace"))
    found = tree.look(turnsecret.PATH)
    if settings.turn_enabled and found.content is not None:
        text = found.content.decode("ascii", "replace").strip()
        yield Secret(str(turnsecret.PATH), found.mode, text=text)


def _key(path: PurePosixPath, mode: int, pem: str) -> Secret:
    shown = run(["openssl", "pkey", "-noout", "-text"], check=False, stdin=pem).stdout
    if _EDWARDS.search(shown):
        return Secret(str(path), mode, bits=256)
    found = _BITS.search(shown)
    bits = int(found[1]) if found else 0
    return Secret(str(path), mode, rsa="modulus" in shown, bits=bits)


def judge(secrets: Iterable[Secret], entropy: int) -> Finding:
    """Whether nobody guesses or reads them."""
    known = list(secrets)
    if entropy < ENOUGH_ENTROPY:
        return fault(
            f"the kernel has {entropy} bits of entropy, and {ENOUGH_ENTROPY} are wanted",
            meaning="keys made now could be guessed",
            cause="a virtual machine without a source of randomness",
            command="apt install rng-tools5",
        )
    for one in known:
        if problem := _problem(one):
            return _weak(one, problem)
    said = ", ".join(f"{PurePosixPath(one.path).name} {one.bits} bits" for one in known if one.bits)
    return fine(said or "no keys yet")


def _problem(one: Secret) -> str:
    if one.mode & (stat.S_IRWXO | stat.S_IWGRP):
        return "can be read or written by others on this machine"
    if one.text:
        poor = len(one.text) < LEAST_SECRET or len(set(one.text)) < LEAST_VARIETY
        return "is short or simple enough to be guessed" if poor else ""
    least = LEAST_RSA if one.rsa else LEAST_CURVE
    if not one.bits:
        return "is no private key in PEM"
    return f"has {one.bits} bits, and {least} are wanted" if one.bits < least else ""


def _weak(one: Secret, problem: str) -> Finding:
    readable = "read or written" in problem
    return fault(
        f"{one.path} {problem}",
        meaning="who has it can speak in this relay's name",
        cause="it was copied or edited by hand",
        command=f"chmod 600 {one.path}"
        if readable
        else f"mv {one.path} {one.path}.weak && chatmail-relay apply",
    )
