"""`chatmail-relay www preview`: serves the web pages as the next apply would publish them.

HTTP on one address of this machine, for the admin's own browser. Settings and files are read anew
for every request, so that an edit is seen at once. Which file is served, in what language and with
what headers is decided as nginx does it (`templates/etc/nginx/chatmail-relay.conf.j2`).
"""

import argparse
import mimetypes
import re
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from chatmail_relay.errors import OperatorError
from chatmail_relay.host import ECHOBOT
from chatmail_relay.output import say
from chatmail_relay.render import renderer
from chatmail_relay.settings import DEFAULT_PATH, load
from chatmail_relay.webpage import (
    CONTENT_POLICY,
    LANGUAGES,
    OVERRIDES,
    PAGES,
    published,
    tapped,
)

_NOT_SERVED = re.compile(r"/\.(?!well-known/)|~$")
_ZERO = re.compile(r"q=0(\.0*)?")


@dataclass(frozen=True)
class Page:
    """An answer: where it leads to, or what is there."""

    status: HTTPStatus
    kind: str = "text/plain; charset=utf-8"
    content: bytes = b""
    location: str = ""


class Site:
    """The web pages of the relay whose system is at ROOT."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def page(self, path: str, accepted: str = "") -> Page:
        """The answer to a GET of PATH by a browser that accepts these languages."""
        try:
            return self._page(path, accepted)
        except OperatorError as error:
            return Page(HTTPStatus.INTERNAL_SERVER_ERROR, content=f"{error}\n".encode())

    def _page(self, path: str, accepted: str) -> Page:
        settings = load(self._real(PurePosixPath(DEFAULT_PATH)))
        if path == "/new":
            # That of a relay without a name is answered by a daemon.
            return Page(HTTPStatus.MOVED_PERMANENTLY, location=tapped(settings))
        render = renderer({"settings": settings})
        ours = dict(published(settings, render, echo_bot=(self._root / ECHOBOT).exists()))
        names = [] if _NOT_SERVED.search(path) else _names(path, accepted)
        for name in names:
            override = self._real(OVERRIDES / name)
            if ".." not in name.parts and override.is_file():
                return _found(name, override.read_bytes())
        for name in names:
            if name in ours:
                return _found(name, ours[name])
        return Page(HTTPStatus.NOT_FOUND, content=b"There is no such page.\n")

    def _real(self, path: PurePosixPath) -> Path:
        return self._root / path.relative_to("/")


def _names(path: str, accepted: str) -> list[PurePosixPath]:
    """The files that answer a request, the first that there is."""
    name = path.removeprefix("/") or "index.html"
    if name in PAGES:
        return [PurePosixPath(name), PurePosixPath(preferred(accepted), name)]
    return [PurePosixPath(name), PurePosixPath(name, "index.html")]


def preferred(accepted: str) -> str:
    """The language that a header Accept-Language (RFC 9110) names first, of those there are.

    Browsers name them in the order of preference.
    """
    for word in accepted.split(","):
        name, *parameters = (part.strip().lower() for part in word.split(";"))
        language = name.partition("-")[0]
        if language in LANGUAGES and not any(map(_ZERO.fullmatch, parameters)):
            return language
    return next(iter(LANGUAGES))


def _found(name: PurePosixPath, content: bytes) -> Page:
    kind = mimetypes.guess_type(name.name)[0] or "application/octet-stream"
    return Page(HTTPStatus.OK, kind, content)


class _Handler(BaseHTTPRequestHandler):
    """One connection; which site it is for, the class made of this one knows."""

    site: Site

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        page = self.site.page(path, self.headers.get("Accept-Language", ""))
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.content)))
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Vary", "Accept-Language")
        if page.location:
            self.send_header("Location", page.location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def server(site: Site, address: str, port: int) -> ThreadingHTTPServer:
    """The web server, which listens already; raises OperatorError."""
    handler = type("Handler", (_Handler,), {"site": site})
    try:
        return ThreadingHTTPServer((address, port), handler)
    except OSError as error:
        raise OperatorError(
            f"{address}, port {port} cannot be listened on: {error.strerror}",
            "Choose another with --port.",
        ) from error


def preview(options: argparse.Namespace) -> int:
    """Serve the pages until somebody ends it."""
    site = Site(options.root.resolve())
    load(options.root / PurePosixPath(DEFAULT_PATH).relative_to("/"))
    with server(site, options.address, options.port) as web:
        say(f"http://{options.address}:{web.server_port}/ shows what would be published; Ctrl-C")
        say("  ends it. From your own computer it is reached by a tunnel:")
        say(f"  ssh -L {web.server_port}:{options.address}:{web.server_port} root@THIS-MACHINE")
        try:
            web.serve_forever()
        except KeyboardInterrupt:
            say("")
    return 0
