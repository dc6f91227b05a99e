"""The key that signs the package repository: made once, kept outside the checkout.

It is an Ed25519 key without a passphrase in a GnuPG home of its own, which only its owner may
enter. GnuPG itself runs in a root of its own, so this machine needs none.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from devtools import roots
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import Failure, run
from devtools.sources import REPOSITORY

TOOLS = ("gnupg", "lintian", "reprepro", "shellcheck")
"""What the root holds in which packages are checked, signed and published."""

TOOLS_SUITE = "trixie"
NAME = "chatmail-relay repository"
PUBLIC = "public.gpg"
INSIDE = "/run/archive-key"
"""Where the GnuPG home is seen inside the root."""


def home() -> Path:
    """Return the GnuPG home of the key, which need not exist yet.

    Raises `Failure` when it would lie where it could get out with the checkout.
    """
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    place = Path(base).absolute() / "chatmail-relay" / "archive-key"
    if place.resolve().is_relative_to(REPOSITORY):
        raise Failure(
            f"the repository's signing key would be inside the checkout: {place}",
            "Set XDG_DATA_HOME to a place from which nothing is published.",
        )
    return place


def locked() -> AbstractContextManager[None]:
    """Have the key to oneself for a `with` block."""
    return roots.locked(home().with_name("archive-key.lock"))


def tools_root(progress: Progress) -> Path:
    """Return the root with the tools, which is only to be read."""
    return roots.root(TOOLS_SUITE, TOOLS, progress)


def public(progress: Progress) -> bytes:
    """Return the public key as apt reads it (binary OpenPGP), made when there is none."""
    exported = home() / PUBLIC
    with locked():
        if not exported.exists():
            with progress.stage("making the key that signs the repository"):
                _make(exported, progress)
    return exported.read_bytes()


def _make(exported: Path, progress: Progress) -> None:
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    script = (
        f"gpg --batch --list-secret-keys {NAME!r} >/dev/null 2>&1 ||"
        f" gpg --batch --passphrase '' --quick-generate-key {NAME!r} ed25519 sign never;"
        f" gpg --batch --yes --output {PUBLIC}.new --export {NAME!r} && mv {PUBLIC}.new {PUBLIC}"
    )
    with roots.overlay(tools_root(progress), "key") as tree:
        run(
            inside(
                tree,
                ["sh", "-euc", script],
                cwd=INSIDE,
                env={"GNUPGHOME": INSIDE},
                binds={home(): INSIDE},
            )
        )
    assert exported.exists()
