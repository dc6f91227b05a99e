"""A real browser without a window: Debian's Chromium in a root of its own, for tests and pictures.

It is told what to do by the DevTools protocol over a pipe
(https://chromedevtools.github.io/devtools-protocol/), so it needs no driver and no port. What keeps
people from using a page is found by axe-core (https://github.com/dequelabs/axe-core), which npm
fetches as `requirements/npm` locks it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devtools import fetched, roots
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import Failure, environment, run
from devtools.sources import REPOSITORY

SUITE = "trixie"
PROGRAMS = ("chromium", "fonts-dejavu-core", "fonts-noto-core", "zbar-tools")
LOCKS = tuple(
    REPOSITORY / "requirements/npm" / name for name in ("package-lock.json", "package.json")
)
INSTALL = (
    "export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt HOME=/tmp; "
    "npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && cp -r node_modules/. $FETCHED"
)
PATIENCE = 60.0  # seconds for any one answer
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--no-first-run", "--disable-background-networking"),
    *("--ignore-certificate-errors", "--user-data-dir=/tmp/profile", "--remote-debugging-pipe"),
)


@dataclass(frozen=True)
class Screen:
    """What somebody looks at a page with."""

    width: int
    height: int
    dark: bool = False
    phone: bool = False


@dataclass
class Visit:
    """What came of opening a page."""

    requests: list[str] = field(default_factory=list)
    """The addresses asked for."""
    transferred: int = 0
    """Bytes of answers, with their heads, as they were on the wire."""
    errors: list[str] = field(default_factory=list)
    """What the browser complained about."""


def programs(progress: Progress) -> Path:
    """Return the root that has the browser."""
    return roots.root(SUITE, PROGRAMS, progress)


def axe(progress: Progress) -> str:
    """Return the program that finds what keeps people from using a page."""

    def make(folder: Path) -> None:
        def lay(place: Path) -> None:
            for lock in LOCKS:
                shutil.copy(lock, place)

        base = roots.root(SUITE, ("npm",), progress)
        with progress.stage("fetching axe-core"):
            fetched.ask(INSTALL, lay, base, folder, "npm", progress)

    inputs = [INSTALL, *(lock.read_text(encoding="utf-8") for lock in LOCKS)]
    made = roots.cached("fetched-npm", inputs, make)
    return (made / "axe-core/axe.min.js").read_text(encoding="utf-8")


def read_code(picture: bytes, progress: Progress) -> list[str]:
    """Return what the QR codes in a PNG say."""
    place = "/mnt/picture"
    command = ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", f"{place}/it.png"]
    with roots.overlay(programs(progress), "codes") as tree:
        folder = tree.parent / "picture"
        folder.mkdir()
        (folder / "it.png").write_bytes(picture)
        done = run(inside(tree, command, binds={folder: place}), check=False)
    return done.stdout.splitlines()


class Browser:
    """A running browser with one page; a context manager."""

    def __init__(
        self, progress: Progress, entering: Sequence[str] = (), flags: Sequence[str] = ()
    ) -> None:
        """Run behind the words ENTERING, which lead into a network, with more FLAGS."""
        self._progress = progress
        self._entering = entering
        self._flags = flags
        self._buffer = bytearray()
        self._number = 0
        self._session = ""
        self._visit = Visit()

    def __enter__(self) -> Self:
        self._root = ExitStack()
        tree = self._root.enter_context(roots.overlay(programs(self._progress), "browser"))
        # The pipe is on 3 and 4.
        start = f"exec {shlex.join(['chromium', *FLAGS, *self._flags])} 3<&0 4>&1 >&2"
        command = inside(tree, ["sh", "-c", start], network=True)
        self._log = (tree.parent / "log").open("w+b")
        self._process = subprocess.Popen(
            [*self._entering, *command],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        try:
            self._attach()
        except BaseException:
            self._end()
            raise
        return self

    def _attach(self) -> None:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()
        self._root.close()

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """Have the browser do something, and return its answer."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while True:
            heard = self._hear(deadline)
            if heard.get("id") == self._number:
                if "error" in heard:
                    raise Failure(f"the browser refuses {method}: {heard['error']}")
                return dict(heard["result"])

    def _hear(self, deadline: float) -> dict[str, Any]:
        """Return the browser's next message; what is of interest is noted."""
        assert self._process.stdout is not None  # it is a pipe
        while (end := self._buffer.find(b"\0")) < 0:
            ready, _, _ = select.select([self._process.stdout], [], [], deadline - time.monotonic())
            piece = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                self._log.seek(0)
                said = self._log.read()[-2000:].decode(errors="replace")
                raise Failure(f"the browser does not answer; it said:\n{said}")
            self._buffer += piece
        message: dict[str, Any] = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self._visit.requests.append(about["request"]["url"])
        elif method == "Network.loadingFinished":
            self._visit.transferred += int(about["encodedDataLength"])
        elif method == "Log.entryAdded":
            self._visit.errors.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
        elif method == "Page.loadEventFired":
            self._loaded = True

    def open(self, url: str, screen: Screen, language: str = "") -> Visit:
        """Open a page, as if for the first time, and return what came of it."""
        self.ask("Network.clearBrowserCache")
        self.ask(
            "Network.setExtraHTTPHeaders", headers={"Accept-Language": language} if language else {}
        )
        self.look_with(screen)
        self._visit, self._loaded = Visit(), False
        if problem := self.ask("Page.navigate", url=url).get("errorText"):
            raise Failure(f"{url}: {problem}")
        deadline = time.monotonic() + PATIENCE
        while not self._loaded:
            self._hear(deadline)
        return self._visit

    def look_with(self, screen: Screen) -> None:
        """Change the screen; the page stays."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=1,
            mobile=screen.phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if screen.dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of what it promises, in the page."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise Failure(f"{expression[:80]!r} raises {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen, or the whole page, as a PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def complaints(self, program: str) -> list[str]:
        """Return what axe-core finds wrong with the page: rule, what it wants, and where."""
        self.evaluate(program + "; null")
        found = self.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{rule['id']}: {rule['help']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
