"""The lab's web servers, one process: a caching proxy for apt, and sites of plain files.

Its listening sockets are opened in the bridge's namespace, everything else happens in the host's:
so machines reach Debian's mirrors, and only those, without any route out of the lab.

    python -m tests.lab.servers NAMESPACE DOWNLOADS SITES

SITES is a JSON file of host name → directory, read at each request.
"""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from pathlib import Path

from tests.lab import namespaces

PROXY_PORT = 3142
SITES_PORT = 80
FRESH_SECONDS = 3600.0
"""How long a file that may change (a suite's InRelease) is given out without asking again."""
MIRROR_SECONDS = 60.0


class Store:
    """Files fetched from mirrors, kept by host and path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, url: str) -> Path:
        """Return the file of `url`; raises urllib's errors when it is neither here nor there."""
        path = self._path(url)
        if path.exists() and (_immutable(url) or self._age(path) < FRESH_SECONDS):
            return path
        try:
            self._fetch(url, path)
        except urllib.error.HTTPError:
            raise
        except OSError:
            if not path.exists():  # The mirror cannot be reached: what we have is good enough.
                raise
        return path

    def _path(self, url: str) -> Path:
        parts = urllib.parse.urlsplit(url)
        words = [w for w in parts.path.split("/") if w not in ("", ".", "..")]
        return self._folder.joinpath(parts.netloc, *words)

    def _age(self, path: Path) -> float:
        return time.time() - path.stat().st_mtime

    def _fetch(self, url: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=MIRROR_SECONDS) as answer,
            tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file,
        ):
            shutil.copyfileobj(answer, file)
            Path(file.name).rename(path)


def _immutable(url: str) -> bool:
    return url.endswith(".deb") or "/by-hash/" in url


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers apt's requests for whole URLs."""

    protocol_version = "HTTP/1.1"

    def __init__(self, store: Store, *rest: object) -> None:
        self._store = store
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send the file of the request's URL."""
        if not self.path.startswith("http://"):
            self.send_error(403, "only plain HTTP to mirrors")
            return
        try:
            path = self._store.get(self.path)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
        except OSError as error:
            self.send_error(502, "mirror not reached", str(error))
        else:
            self._send(path)

    def _send(self, path: Path) -> None:
        with path.open("rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile)


class Sites(http.server.SimpleHTTPRequestHandler):
    """Answers requests for files, by the Host header."""

    protocol_version = "HTTP/1.1"

    def __init__(self, sites: Path, *rest: object) -> None:
        self._sites = sites
        super().__init__(*rest)  # type: ignore[arg-type]

    def send_head(self) -> object:  # type: ignore[override]
        """Choose the directory of the site before the file is looked for."""
        host = self.headers.get("Host", "").partition(":")[0]
        directory = json.loads(self._sites.read_text(encoding="utf-8")).get(host)
        if directory is None:
            self.send_error(404, "no such site")
            return None
        self.directory = directory
        return super().send_head()


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server on both address families, its socket in another network namespace."""

    address_family = socket.AF_INET6
    request_queue_size = 64

    def __init__(self, namespace: Path, port: int, handler: partial[Proxy] | partial[Sites]):
        self._namespace = namespace
        super().__init__(("::", port), handler, bind_and_activate=False)
        with namespaces.entered(namespace):
            self.socket.close()
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.server_bind()
            self.server_activate()

    def server_bind(self) -> None:
        """Bind without asking any resolver for our name, as the base class does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "lab", self.server_address[1]


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    bridge, downloads, sites = arguments
    namespace = namespaces.path(bridge)
    proxy = Server(namespace, PROXY_PORT, partial(Proxy, Store(Path(downloads))))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    Server(namespace, SITES_PORT, partial(Sites, Path(sites))).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
