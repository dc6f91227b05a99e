"""What builds need from registries that have clients of their own: crates, Go modules.

The client runs in the root that will build, so that this machine needs none, with network and as a
user without privileges. It gets the files that name what is wanted, and nothing else, and has to
hold what it gets to the hashes in them. The result is kept in the cache under the hash of these
files, and belongs to nobody who builds.
"""

from __future__ import annotations

import os
from pathlib import Path

from devtools import roots
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, run, stream
from devtools.sources import Fetch, Job

INSIDE = "/build/fetched"
"""Where what was fetched is found inside the root, by the client and by the build."""

RESOLVER = Path("/etc/resolv.conf")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

PASSED_ON = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("GOPROXY", "GOSUMDB"),
)
"""What of our environment says how registries are reached."""


def fetched(task: Job, base: Path, progress: Progress) -> Path | None:
    """Return the directory of what `task` takes from a registry; None when it takes nothing.

    `base` is the root that has the client. Raises `Failure`.
    """
    fetch = task.source.fetch
    if fetch is None:
        return None

    def make(folder: Path) -> None:
        with progress.stage(f"fetching what {task.source.name} is made of"):
            _fetch(task, fetch, base, folder, progress)

    inputs = [fetch.command, task.root, *task.source.packages, *task.select(fetch.locks).digests()]
    made = roots.cached(f"fetched-{task.source.name}", inputs, make)
    roots.forget(f"fetched-{task.source.name}", keep=2)
    return made


def _fetch(task: Job, fetch: Fetch, base: Path, folder: Path, progress: Progress) -> None:
    os.chown(folder, BUILDER, BUILDER)
    with roots.overlay(base, f"fetch-{task.source.name}") as tree:
        place = tree / "build/source"
        task.select(fetch.locks).write(place)
        run(["chown", "-R", f"{BUILDER}:{BUILDER}", place])
        command = inside(
            tree,
            ["sh", "-euc", fetch.command],
            cwd="/build/source",
            env={"FETCHED": INSIDE, **_passed_on()},
            binds={folder: INSIDE, RESOLVER: str(RESOLVER), authorities(): AUTHORITIES},
            unprivileged=True,
            network=True,
        )
        try:
            stream(command, progress.detail)
        except CommandFailed as error:
            last = "\n".join(f"    {line}" for line in error.output.rstrip().splitlines()[-8:])
            raise Failure(
                f"what {task.source.name} is made of cannot be fetched:\n{last}",
                "Is this machine connected? A proxy is taken from https_proxy.",
            ) from None
    run(["chown", "-R", "0:0", folder])


def authorities() -> Path:
    """Return the file of the authorities that this machine trusts."""
    return Path(os.environ.get("SSL_CERT_FILE") or AUTHORITIES)


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}
