"""Purpose: whoever is invited sees a page they trust and can read, and joins by it.

The page is looked at in a real browser, on phones and desktops, light and dark, in every language,
and from right to left. The code on it is read from the screen, and the real core joins by what it
says.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chatmail_relay.webpage import CONTENT_POLICY, LANGUAGES, PAGES

from devtools.browser import Browser, Screen, axe, read_code
from devtools.progress import Progress
from tests.clients.core import Core
from tests.clients.relay import Relay
from tests.lab import Lab, namespaces
from tests.lab.installing import Repository

SMALLEST = Screen(320, 568, phone=True)
PHONE_DARK = Screen(390, 844, dark=True, phone=True)
DESKTOP = Screen(1280, 900)
DESKTOP_DARK = Screen(1280, 900, dark=True)
MOST = 50_000  # bytes on the wire for a page with all that belongs to it
OWN = "/etc/chatmail-relay/www"
LONGEST_WORD = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser(relay: Relay, lab: Lab, progress: Progress) -> Iterator[Browser]:
    """A browser among the lab's clients, to whom every name is the relay."""
    entering = ["nsenter", f"--net={namespaces.path(lab.clients.namespace)}", "--"]
    flags = [f"--host-resolver-rules=MAP * {relay.host}"]
    with Browser(progress, entering, flags) as made:
        yield made


@pytest.fixture(scope="module")
def program(progress: Progress) -> str:
    """What finds what keeps people from using a page."""
    return axe(progress)


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_in_a_browser(relay: Relay, browser: Browser, program: str, language: str) -> None:
    """Small, for everybody, from this relay alone; nothing sticks out of a small phone."""
    for page in PAGES:
        url = f"https://{relay.domain}/{page.removeprefix('index.html')}"
        visit = browser.open(url, SMALLEST, language)
        assert browser.evaluate("document.documentElement.lang") == language
        assert {request.split("/")[2] for request in visit.requests} == {relay.domain}
        assert visit.transferred <= MOST, f"{page}: {visit.transferred} bytes"
        assert visit.errors == []
        assert browser.evaluate("document.cookie") == ""
        for screen in (SMALLEST, PHONE_DARK, DESKTOP, DESKTOP_DARK):
            browser.look_with(screen)
            assert browser.evaluate(LONGEST_WORD) <= 0, f"{page} is wider than {screen}"
            if screen in (SMALLEST, DESKTOP_DARK):
                assert browser.complaints(program) == [], f"{page} on {screen}"


def test_from_right_to_left(relay: Relay, browser: Browser, program: str) -> None:
    """Turned round, the page has all on the other side, and nothing sticks out."""
    edges = (
        "['.words', '.code'].map(name => document.querySelector(name).getBoundingClientRect().x)"
    )
    browser.open(f"https://{relay.domain}/", DESKTOP)
    words, code = browser.evaluate(edges)
    assert words < code
    browser.evaluate("document.documentElement.dir = 'rtl'")
    words, code = browser.evaluate(edges)
    assert code < words
    for screen in (DESKTOP, SMALLEST):
        browser.look_with(screen)
        assert browser.evaluate(LONGEST_WORD) <= 0
    assert browser.complaints(program) == []


def test_who_scans_the_code_has_an_account(
    relay: Relay, browser: Browser, progress: Progress, lab: Lab, tmp_path: Path
) -> None:
    """The code is read from the screen, light or dark, and the app joins by it."""
    for screen in (DESKTOP, PHONE_DARK):
        browser.open(f"https://{relay.domain}/", screen)
        codes = read_code(browser.picture(whole=True), progress)
        assert codes == [f"dcaccount:https://{relay.domain}/new"]
        assert browser.evaluate("document.querySelector('.button').href") == codes[0]
    before = relay.addresses()
    with Core(lab.clients, tmp_path) as core:
        core.join_by(codes, ["somebody"])
    assert len(relay.addresses() - before) == 1


def test_what_a_browser_prefers(relay: Relay) -> None:
    """Without a language in the path, the first of the browser's list that there is."""
    for accepted, language in {
        "de-AT,de;q=0.9,en;q=0.8": "de",
        "pt-BR, fr;q=0.8, de;q=0.7": "fr",
        "ES": "es",
        "de;q=0, ru;q=0.1": "ru",
        "ja,*;q=0.5": "en",
        "den,deutsch": "en",
        "": "en",
        ",".join(["x-y;q=0.1"] * 500) + ",ru": "ru",
    }.items():
        for path in ("/", "/privacy.html"):
            answer = relay.web("GET", path, headers=[f"Accept-Language: {accepted}"])
            assert answer.status == 200
            assert f'<html lang="{language}"'.encode() in answer.body, accepted
            assert "Accept-Language" in answer.headers["vary"]


@pytest.mark.parametrize("path", ["/", "/de/", "/qr.svg", "/style.css", "/none", "/new"])
def test_what_browsers_are_told(relay: Relay, path: str) -> None:
    """Every answer forbids scripts and other sites, insists on TLS and sets no cookie."""
    for port in (443, 8443):
        answer = relay.web("GET", path, port=port)
        assert answer.headers["content-security-policy"] == CONTENT_POLICY
        assert int(answer.headers["strict-transport-security"].split("=")[1]) >= 31_536_000
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in answer.headers
        assert answer.status == {"/none": 404, "/new": 301}.get(path, 200)


def test_files_of_the_admin_win_and_stay(relay: Relay, lab: Lab, repository: Repository) -> None:
    """File by file, at once, also after an apply and after the packages came anew."""
    lab.serve(repository.folder)
    own = {
        "de/index.html": "own German",
        "style.css": "own style",
        "about/index.html": "own page",
        ".well-known/security.txt": "Contact: mailto:admin@example.org",
    }
    hidden = {".git/config": "secret", "about/index.html~": "secret", ".well-known/.x": "secret"}
    folder = relay.machine.path(OWN)
    assert list(folder.iterdir()) == []
    try:
        for name, text in {**own, **hidden}.items():
            relay.machine.run(f"mkdir -p $(dirname '{OWN}/{name}')")
            relay.machine.write(f"{OWN}/{name}", text)
        for step in (
            "",
            "chatmail-relay apply",
            "apt-get install -y --reinstall chatmail-relay-config",
        ):
            relay.machine.run(
                step or "true", env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=300
            )
            for name, text in own.items():
                path = name.removesuffix("index.html")
                assert relay.web("GET", f"/{path}").body.decode() == text
            german = ["Accept-Language: de"]
            assert relay.web("GET", "/", headers=german).body == b"own German"
            assert b'lang="fr"' in relay.web("GET", "/fr/").body
            assert b'lang="de"' in relay.web("GET", "/de/privacy.html").body
            for name in hidden:
                assert relay.web("GET", f"/{name}").status == 404
        for name in ("../chatmail.ini", "de/../../chatmail.ini", "%2e%2e/chatmail.ini"):
            answer = relay.web("GET", f"/{name}")
            assert answer.status >= 400
            assert b"mail_domain" not in answer.body
    finally:
        relay.machine.run(f"find {OWN} -mindepth 1 -delete")


def test_preview_shows_what_is_published(relay: Relay) -> None:
    """`chatmail-relay www preview` answers as nginx does, byte for byte."""
    paths = [
        "/",
        "/privacy.html",
        "/ru/",
        "/es/privacy.html",
        "/qr.svg",
        "/style.css",
        "/fr",
        "/none",
    ]
    fetch = "import sys,urllib.request as u;" + (
        "sys.stdout.buffer.write(u.urlopen(u.Request('http://127.0.0.1:8123'+sys.argv[1],"
        "headers={'Accept-Language':'de'})).read())"
    )
    relay.machine.run(
        "systemd-run --unit=preview chatmail-relay www preview --port 8123 && "
        "for i in $(seq 50); do ss -ltn | grep -q :8123 && break; sleep 0.2; done"
    )
    try:
        for path in paths:
            served = relay.web("GET", path, headers=["Accept-Language: de"])
            shown = relay.machine.run(f'python3 -c "{fetch}" {path}', check=False)
            if served.status == 200:
                assert shown.stdout == served.body.decode(), path
            else:
                assert f"{served.status}" in shown.stderr
    finally:
        relay.machine.run("systemctl stop preview")


def test_page_says_what_is_set(relay: Relay) -> None:
    """An apply publishes new times, names and whether one can join."""
    before = relay.web("GET", "/en/").body
    assert b"at most 20 days" in before
    with relay.changed(
        registration="closed",
        delete_mails_after_days=11,
        operator_name="Ann & <Bob>",
        operator_address="1 Main Street",
    ):
        page = relay.web("GET", "/en/").body
        assert b"at most 11 days" in page
        assert b"Ann &amp; &lt;Bob&gt;" in page
        assert b"dcaccount" not in page
        assert relay.web("GET", "/qr.svg").status == 404
        assert b"1 Main Street" in relay.web("GET", "/privacy.html").body
    assert relay.web("GET", "/en/").body == before
