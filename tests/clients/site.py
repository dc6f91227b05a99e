"""A web site with TLS: a few texts by their addresses, and what was asked for."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.clients.net import Place
from tests.clients.tls import server_context
from tests.lab.ca import Issued


class Site:
    """The site, on one of the clients' addresses; it runs inside a `with`."""

    def __init__(self, place: Place, address: str, issued: Issued, port: int = 443) -> None:
        self.pages: dict[str, str] = {}
        """Texts by host and path, as `host.lab/path`; anything else is not found."""
        self.ahead = 0.0
        """Seconds by which its clock is ahead."""
        self.asked: list[str] = []
        """The host and path of each request."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                where = f"{self.headers.get('Host')}{self.path}"
                site.asked.append(where)
                text = site.pages.get(where)
                body = (text or "not here\n").encode()
                self.send_response(404 if text is None else 200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                now = time.time() if timestamp is None else timestamp
                return super().date_time_string(now + site.ahead)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        with place.entered():
            self._server = ThreadingHTTPServer((address, port), Handler)
        context = server_context(issued)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
