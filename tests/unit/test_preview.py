"""`chatmail-relay www preview`: the pages as nginx would serve them."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.preview import Site, preferred, server
from chatmail_relay.webpage import CONTENT_POLICY

INI = "etc/chatmail-relay/chatmail.ini"
OWN = "etc/chatmail-relay/www"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Another system with a relay's settings and a folder for the admin's own pages."""
    (tmp_path / OWN).mkdir(parents=True)
    (tmp_path / INI).write_text("[params]\nmail_domain = chat.example.org\n", encoding="utf-8")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    """Lay a file into the admin's folder."""
    path = root / OWN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at,en;q=0.5", "de"),
        ("pt-BR, fr;q=0.8, de;q=0.7", "fr"),
        ("pt,ja;q=0.9", "en"),
        ("*", "en"),
        ("de;q=0, es;q=0.1", "es"),
        ("de;q=0.000,ru", "ru"),
        ("de;q=0.001,ru", "de"),
        ("den, deutsch, esp, es-419", "es"),
        (";;,,;q=1,;", "en"),
        ("x" * 8000 + ",ru", "ru"),
    ],
)
def test_a_browser_is_given_what_it_prefers(accepted: str, language: str) -> None:
    """The first language of its list that there is, in any case, or English."""
    assert preferred(accepted) == language


def test_pages(root: Path) -> None:
    """Pages are there under their language's path, and without one in what is preferred."""
    site = Site(root)
    assert b'lang="fr"' in site.page("/", "fr").content
    assert b'lang="es"' in site.page("/es/", "fr").content
    assert site.page("/privacy.html", "ru") == site.page("/ru/privacy.html")
    assert site.page("/style.css").kind == "text/css"
    assert site.page("/qr.svg").kind == "image/svg+xml"
    assert site.page("/de").status == HTTPStatus.OK
    assert site.page("/new").location == "dcaccount:https://chat.example.org/new"


@pytest.mark.parametrize(
    "path",
    ["/none", "/../chatmail.ini", "/de/../../chatmail.ini", "/.git/config", "/page~", "//", "/\0"],
)
def test_what_is_not_there(root: Path, path: str) -> None:
    """Nothing outside the folder, and nothing that an editor left in it."""
    write(root, ".git/config", "secret")
    write(root, "page~", "secret")
    page = Site(root).page(path)
    assert page.status == HTTPStatus.NOT_FOUND


def test_files_of_the_admin_win(root: Path) -> None:
    """File by file; a page without a language in its name is for all of them."""
    site = Site(root)
    write(root, "de/index.html", "own German")
    write(root, "style.css", "own style")
    write(root, "about/index.html", "own about")
    write(root, ".well-known/security.txt", "own")
    assert site.page("/", "de").content == b"own German"
    assert site.page("/de/").content == b"own German"
    assert b'lang="fr"' in site.page("/", "fr").content
    assert site.page("/style.css").content == b"own style"
    assert site.page("/about/").content == b"own about"
    assert site.page("/.well-known/security.txt").content == b"own"
    write(root, "index.html", "own for all")
    assert site.page("/", "fr").content == site.page("/", "de").content == b"own for all"
    assert site.page("/de/").content == b"own German"


def test_settings_are_read_anew(root: Path) -> None:
    """An edit is seen with the next request, and so is what is wrong with it."""
    site = Site(root)
    ini = root / INI
    text = ini.read_text(encoding="utf-8")
    ini.write_text(text + "delete_mails_after_days = 13\n", encoding="utf-8")
    assert b"at most 13 days" in site.page("/en/").content
    ini.write_text(text + "delete_mails_after_days = many\n", encoding="utf-8")
    page = site.page("/en/")
    assert page.status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert b"'many' is not allowed" in page.content


@contextmanager
def served(site: Site) -> Iterator[int]:
    """The port at which a site is served."""
    with server(site, "127.0.0.1", 0) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield web.server_port
        finally:
            web.shutdown()
            thread.join()


def test_over_http(root: Path) -> None:
    """A browser is told what it is told by nginx; HEAD has no body."""
    with served(Site(root)) as port:
        for method in ("GET", "HEAD"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request(method, "/?x=1", headers={"Accept-Language": "de"})
            answer = connection.getresponse()
            assert answer.status == HTTPStatus.OK
            assert answer.headers["Content-Security-Policy"] == CONTENT_POLICY
            assert answer.headers["Vary"] == "Accept-Language"
            assert (b'lang="de"' in answer.read()) == (method == "GET")
            connection.close()


def test_a_port_that_is_taken(root: Path) -> None:
    """It says which, and what to do."""
    with served(Site(root)) as port, pytest.raises(OperatorError, match=f"port {port} cannot"):
        server(Site(root), "127.0.0.1", port)
