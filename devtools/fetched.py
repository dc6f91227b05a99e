"""What builds and tests need from registries that have clients of their own: crates, Go modules,
npm's packages.

The client runs in the root that will build, so that this machine needs none, with network and as a
user without privileges. It gets the files that name what is wanted, and nothing else, and has to
hold what it gets to the hashes in them. The result is kept in the cache under the hash of these
files, and belongs to nobody who builds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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
    *("GOPROXY", "GOSUMDB", "npm_config_registry"),
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
    name = task.source.name
    ask(fetch.command, task.select(fetch.locks).write, base, folder, name, progress)


def ask(
    command: str,
    lay: Callable[[Path], None],
    base: Path,
    folder: Path,
    name: str,
    progress: Progress,
) -> None:
    """Fill the empty `folder` by a registry's client, which the root `base` has.

    `lay` puts what names the wanted files into the directory in which the shell runs `command`;
    there, the variable FETCHED is the folder. Raises `Failure`.
    """
    os.chown(folder, BUILDER, BUILDER)
    with roots.overlay(base, f"fetch-{name}") as tree:
        place = tree / "build/source"
        place.mkdir(parents=True, exist_ok=True)
        lay(place)
        run(["chown", "-R", f"{BUILDER}:{BUILDER}", place])
        words = inside(
            tree,
            ["sh", "-euc", command],
            cwd="/build/source",
            env={"FETCHED": INSIDE, **_passed_on()},
            binds={folder: INSIDE, RESOLVER: str(RESOLVER), authorities(): AUTHORITIES},
            unprivileged=True,
            network=True,
        )
        try:
            stream(words, progress.detail)
        except CommandFailed as error:
            last = "\n".join(f"    {line}" for line in error.output.rstrip().splitlines()[-8:])
            raise Failure(
                f"what is wanted for {name} cannot be fetched:\n{last}",
                "Is this machine connected? A proxy is taken from https_proxy.",
            ) from None
    run(["chown", "-R", "0:0", folder])


def authorities() -> Path:
    """Return the file of the authorities that this machine trusts."""
    return Path(os.environ.get("SSL_CERT_FILE") or AUTHORITIES)


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}
