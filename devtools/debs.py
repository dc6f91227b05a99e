"""Build the Debian packages: each source for each suite, in a clean root, without network.

What `devtools.building` makes of each is laid into dist/SUITE/; a source that is built once leaves
the same files for every suite. Two builds run side by side, those that take long first.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devtools import archive_key, roots
from devtools.building import built
from devtools.progress import Progress
from devtools.run import Failure
from devtools.sources import (
    KEYRING,
    REPOSITORY,
    Job,
    Source,
    chosen,
    job,
)

DIST = REPOSITORY / "dist"
BUILDERS = 2
"""How many packages are built at the same time."""


def build(
    suites: Iterable[str],
    packages: Iterable[str],
    progress: Progress,
    url: str | None = None,
) -> list[Path]:
    """Build `packages` for `suites`, all when empty, and return their .deb files in dist/.

    A package may be named by its source or as what the source makes. `url` is where the keyring
    package tells apt to look (see `repository_url`). Raises `Failure`.
    """
    made = results(suites, packages, progress, url)
    with roots.locked(DIST / ".lock"):
        return [deb for task, folder in made for deb in _lay_out(folder, task)]


def results(
    suites: Iterable[str],
    packages: Iterable[str],
    progress: Progress,
    url: str | None = None,
) -> list[tuple[Job, Path]]:
    """Build as `build` does, and return each job with the cache's directory of what it made."""
    wanted = list(suites) or list(roots.SUITES)
    for suite in wanted:
        if suite not in roots.SUITES:
            raise Failure(f"unknown suite {suite!r}", f"Known are {', '.join(roots.SUITES)}.")
    sources = chosen(packages)
    jobs = [_job(source, suite, url, progress) for suite in wanted for source in sources]
    return list(zip(jobs, _all_built(jobs, progress), strict=True))


def _all_built(jobs: Sequence[Job], progress: Progress) -> list[Path]:
    """Return what `built` does for each of the jobs; what is built once is so here, too."""
    each = {(task.source.name, task.root): task for task in jobs}
    # What is built once takes the longest, and the others are done beside it.
    order = sorted(each.items(), key=lambda item: not item[1].source.once_in)
    with ThreadPoolExecutor(BUILDERS) as pool:
        folders = pool.map(lambda item: built(item[1], progress), order)
        made = dict(zip((key for key, _ in order), folders, strict=True))
    return [made[task.source.name, task.root] for task in jobs]


def repository_url(url: str | None = None) -> str:
    """Return where apt will find the repository: `url`, else as the environment says, else here."""
    return url or os.environ.get("CHATMAIL_REPOSITORY_URL") or (DIST / "repo").as_uri()


def _job(source: Source, suite: str, url: str | None, progress: Progress) -> Job:
    if source is not KEYRING:
        return job(source, suite)
    folder = "packaging/archive-keyring"
    template = (REPOSITORY / folder / "chatmail-relay.sources.in").read_text(encoding="utf-8")
    sources = template.replace("@URL@", repository_url(url)).replace("@SUITE@", suite)
    return job(
        source,
        suite,
        {
            f"{folder}/chatmail-relay.sources": sources.encode(),
            f"{folder}/chatmail-archive-keyring.gpg": archive_key.public(progress),
        },
    )


def _lay_out(made: Path, task: Job) -> list[Path]:
    """Make dist/SUITE hold what is in `made`, and nothing else of the same source."""
    folder = DIST / task.suite
    folder.mkdir(parents=True, exist_ok=True)
    fresh = {path.name for path in made.iterdir()}
    for path in folder.iterdir():
        if task.source.makes(path.name.split("_")[0]) and path.name not in fresh:
            path.unlink()
    for name in fresh:
        target = folder / name
        if not target.exists() or not filecmp.cmp(made / name, target, shallow=False):
            shutil.copyfile(made / name, target)
    return sorted(folder / name for name in fresh if name.endswith(".deb"))
