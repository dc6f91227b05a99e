"""tests.lab.servers: what the apt proxy keeps, and what it asks for again."""

import http.server
import os
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.servers import FRESH_SECONDS, Store


class Mirror(http.server.BaseHTTPRequestHandler):
    """A mirror that counts."""

    asked = 0

    def do_GET(self) -> None:
        """Answer with the number of the request."""
        type(self).asked += 1
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d" % self.asked)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a mirror."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Mirror.asked = 0
    with http.server.HTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def age(path: Path) -> None:
    """Let a file be older than what is given out without asking."""
    then = time.time() - FRESH_SECONDS - 1
    os.utime(path, (then, then))


@pytest.mark.parametrize("name", ["/pool/a_1_all.deb", "/dists/s/by-hash/SHA256/00"])
def test_immutable_files_are_fetched_once(mirror: str, tmp_path: Path, name: str) -> None:
    """A file whose content its name determines is never asked for again."""
    store = Store(tmp_path)
    age(store.get(mirror + name))
    assert store.get(mirror + name).read_text() == "1"


def test_release_file_is_fetched_again(mirror: str, tmp_path: Path) -> None:
    """A file that changes is asked for again, but not at once."""
    store = Store(tmp_path)
    url = f"{mirror}/dists/trixie/InRelease"
    store.get(url)
    assert store.get(url).read_text() == "1"
    age(store.get(url))
    assert store.get(url).read_text() == "2"


def test_without_mirror_the_old_file_serves(tmp_path: Path) -> None:
    """What was fetched once is there without network."""
    store = Store(tmp_path)
    kept = tmp_path / "127.0.0.1:1" / "InRelease"
    kept.parent.mkdir()
    kept.write_text("old")
    age(kept)
    assert store.get("http://127.0.0.1:1/InRelease").read_text() == "old"
    with pytest.raises(OSError, match="refused"):
        store.get("http://127.0.0.1:1/other")


def test_missing_file(mirror: str, tmp_path: Path) -> None:
    """The mirror's word that there is no such file is handed on, and nothing is kept."""
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        Store(tmp_path).get(f"{mirror}/missing")
    caught.value.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_paths_stay_inside(mirror: str, tmp_path: Path) -> None:
    """A path that climbs is kept below the folder like any other."""
    path = Store(tmp_path / "kept").get(f"{mirror}/a/../../../x.deb")
    assert path.resolve().is_relative_to(tmp_path / "kept")
