"""The web pages: what they say follows from the settings, in every language, and nothing else."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import make_plan
from chatmail_relay.render import renderer, size
from chatmail_relay.settings import Settings
from chatmail_relay.translations import translated
from chatmail_relay.webpage import (
    CONTENT_POLICY,
    LANGUAGES,
    PAGES,
    code,
    published,
    scanned,
    tapped,
)

from devtools import translations
from devtools.sources import REPOSITORY
from tests.golden import TRIXIE

KIB = 1024
ALL_PAGES = [f"{language}/{page}" for language in LANGUAGES for page in PAGES]


def site(*lines: str, domain: str = "chat.example.org", echo_bot: bool = False) -> dict[str, str]:
    """The texts of a relay's site by their paths."""
    text = "\n".join(["[params]", f"mail_domain = {domain}", *lines])
    settings = Settings.from_text(text)
    made = published(settings, renderer({"settings": settings}), echo_bot=echo_bot)
    return {str(path): content.decode() for path, content in made}


class Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """What is read."""
        return " ".join("".join(self.words).split())

    def values(self, name: str) -> Iterator[str]:
        """Every value of an attribute."""
        for _tag, attributes in self.elements:
            if value := attributes.get(name):
                yield value


def test_every_page_is_there_in_every_language() -> None:
    """Each says which language it is in and leads to the same page in the others."""
    made = site()
    assert set(ALL_PAGES) < made.keys()
    for path in ALL_PAGES:
        language, page = path.split("/")
        read = Reader(made[path])
        assert dict(read.elements)["html"] == {"lang": language, "dir": "ltr"}
        assert not read.open
        others = {f"/{code}/{page.removeprefix('index.html')}" for code in LANGUAGES}
        assert others <= set(read.values("href"))


@pytest.mark.parametrize("path", ALL_PAGES)
def test_pages_ask_nobody_else(path: str) -> None:
    """A page has no script, no style of its own and no form, and loads only what is on the site."""
    made = site("admin_contact = admin@example.org", echo_bot=True)
    for tag, attributes in Reader(made[path]).elements:
        assert tag not in ("script", "style", "form", "iframe", "base")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        loaded = attributes.get("src") or (attributes["href"] if tag == "link" else None)
        known = {f"/{name.removesuffix('index.html')}" for name in made}
        assert loaded is None or loaded in known
    assert "unsafe" not in CONTENT_POLICY
    assert CONTENT_POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize("path", ALL_PAGES)
def test_links_lead_somewhere(path: str) -> None:
    """Each link on the site names a file of it, what nginx answers, or another site by https."""
    made = site("admin_contact = admin@example.org", echo_bot=True)
    known = {f"/{name.removesuffix('index.html')}" for name in made} | {"/echo/"}
    for target in Reader(made[path]).values("href"):
        assert target in known or target.startswith(("https://", "mailto:", "dcaccount:")), target


def test_times_are_those_of_the_settings() -> None:
    """How long things are kept is told from the settings, on both pages."""
    made = site(
        "delete_mails_after_days = 11",
        "delete_large_after_days = 3",
        "large_message_kib = 2048",
        "delete_inactive_users_after_days = 77",
        "undeliverable_after_hours = 1",
        "max_mailbox_size_mib = 1536",
    )
    for page in PAGES:
        text = Reader(made[f"en/{page}"]).text
        assert "at most 11 days" in text
        assert "larger than 2 MiB" in text
        assert "at most 3 days" in text
        assert "nears 1.5 GiB" in text
        assert "tried for one hour" in text
        assert "77 days after the last login" in text
    for language in LANGUAGES:
        assert "11" in Reader(made[f"{language}/index.html"]).text


@pytest.mark.parametrize(
    ("days", "words"), [(1, "1 дня"), (2, "2 дней"), (21, "21 дня"), (25, "25 дней")]
)
def test_numbers_are_counted_as_the_language_does(days: int, words: str) -> None:
    """A language with several plurals has the right one."""
    made = site(f"delete_mails_after_days = {days}")
    assert f"не дольше {words}" in Reader(made["ru/index.html"]).text


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ((), "has given neither a name nor an address"),
        (("operator_name = Ann & Söhne <e.V.>",), "Ann & Söhne <e.V.>"),
        (("operator_address = Hauptstr. 1, 12345 Ort",), "Hauptstr. 1, 12345 Ort"),
        (("admin_contact = admin@example.org",), "admin@example.org"),
    ],
)
def test_the_policy_names_who_is_responsible(settings: tuple[str, ...], shown: str) -> None:
    """What the operator said is shown, as text; otherwise that nothing was said."""
    assert shown in Reader(site(*settings)["en/privacy.html"]).text


def test_whoever_may_join_is_offered_it() -> None:
    """Button and code are there where everybody may join; the invite word is shown nowhere."""
    opened = site()
    assert 'href="dcaccount:https://chat.example.org/new"' in opened["de/index.html"]
    assert "/qr.svg" in opened["de/index.html"]
    assert "qr.svg" in opened
    for line in ("registration = closed", "registration = invite"):
        made = site(line, "invite_token = let-me-in-please")
        assert "qr.svg" not in made
        assert not any("dcaccount:" in page or "/qr.svg" in page for page in made.values())
        assert not any("let-me-in" in page for page in made.values())


@pytest.mark.parametrize(
    ("least", "most", "words"), [(9, 9, "exactly 9 letters"), (3, 12, "3 to 12 letters")]
)
def test_who_was_invited_is_told_how(least: int, most: int, words: str) -> None:
    """With an invite word an account is made by hand, with a name as long as it has to be."""
    made = site(
        "registration = invite",
        "invite_token = let-me-in-please",
        f"username_min_length = {least}",
        f"username_max_length = {most}",
    )
    assert words in Reader(made["en/index.html"]).text


def test_a_relay_without_a_name() -> None:
    """Its page speaks of no other relays; whoever scans the code comes to /new."""
    made = site(domain="192.0.2.1")
    text = Reader(made["en/index.html"]).text
    assert "other relays" not in text
    assert 'href="/new"' in made["en/index.html"]
    settings = Settings.from_text("[params]\nmail_domain = 192.0.2.1\n")
    assert (tapped(settings), scanned(settings)) == ("/new", "https://192.0.2.1/new")
    assert made["qr.svg"].encode() == code("https://192.0.2.1/new")


@pytest.mark.parametrize("installed", [True, False])
def test_the_bot_is_shown_where_it_is(installed: bool) -> None:
    """Only a relay with the echo bot leads to it."""
    settings = Settings.from_text("[params]\nmail_domain = chat.example.org\n")
    plan = make_plan(settings, replace(TRIXIE, echobot=installed))
    pages = {
        str(file.path.relative_to(settings.www_dir)): file.content
        for file in plan.files
        if file.path.is_relative_to(settings.www_dir)
    }
    for language in LANGUAGES:
        assert (b'href="/echo/"' in pages[f"{language}/index.html"]) == installed


@pytest.mark.parametrize(
    ("lines", "absent"),
    [
        (("notification_url =",), "Notifications"),
        (("turn_enabled = no", "iroh_relay = none"), "Calls and games"),
    ],
)
def test_what_is_off_is_not_told(lines: tuple[str, ...], absent: str) -> None:
    """The policy is about what this relay does."""
    assert absent in Reader(site()["en/privacy.html"]).text
    assert absent not in Reader(site(*lines)["en/privacy.html"]).text


@pytest.mark.parametrize(
    ("kib", "shown"),
    [
        (1, "1 KiB"),
        (200, "200 KiB"),
        (1000, "1000 KiB"),
        (1025, "1025 KiB"),
        (1536, "1.5 MiB"),
        (500 * KIB, "500 MiB"),
        (KIB * KIB, "1 GiB"),
        (9_999_999 * KIB, "9999999 MiB"),
    ],
)
def test_sizes_are_exact(kib: int, shown: str) -> None:
    """A size has the largest unit in which it need not be rounded."""
    assert size(kib).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_sides_are_logical() -> None:
    """No rule of the style names left or right, so a page from right to left needs none."""
    style = (REPOSITORY / "www/site/style.css").read_text(encoding="utf-8")
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    assert not re.search(
        r"\b(left|right)\b|(margin|padding)-(top|bottom)|[^-](width|height):", rules
    )
    assert "url(" not in rules
    assert "@import" not in rules


def test_paths_stay_below_the_site() -> None:
    """No file is published outside."""
    assert all(not PurePosixPath(path).is_absolute() and ".." not in path for path in site())


# --- translations ----------------------------------------------------------------


def test_the_texts_for_translators_are_those_of_the_pages() -> None:
    """www.pot has each text once; `python3 -m devtools.translations` brings it up to date."""
    assert translations.TEMPLATE.read_text(encoding="utf-8") == translations.template()


def test_there_is_a_catalogue_for_each_language() -> None:
    """English is what the pages are written in."""
    assert {path.stem for path in translations.catalogues()} == set(LANGUAGES) - {"en"}


@pytest.mark.parametrize("path", translations.catalogues(), ids=lambda path: path.stem)
def test_every_text_is_translated(path: Path) -> None:
    """Each text has its translation, whose values fit, and none is left over."""
    compare = ["msgcmp", str(path), str(translations.TEMPLATE)]
    for command in (["msgfmt", "--check", "--output-file=/dev/null", str(path)], compare):
        subprocess.run(command, check=True, capture_output=True)
    assert "#~" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_tags_are_those_of_the_original(language: str) -> None:
    """A translated page has the elements and the links of the English one, one for one."""
    made = site("admin_contact = admin@example.org", echo_bot=True)
    for page in PAGES:
        english = Reader(made[f"en/{page}"]).elements
        other = Reader(made[f"{language}/{page}"]).elements
        assert [tag for tag, _ in other].count("a") == [tag for tag, _ in english].count("a")
        assert sorted(tag for tag, _ in other) == sorted(tag for tag, _ in english)


def test_values_are_escaped_and_texts_are_not() -> None:
    """What stands in a text is text, whatever it says."""
    functions = translated("en")
    assert functions["gettext"]("<b>%(name)s</b>", name="<i>") == "<b>&lt;i&gt;</b>"
    assert functions["ngettext"]("one", "%(count)s <b>", 2, count=2) == "2 <b>"


def test_a_language_that_is_missing_is_named() -> None:
    """A package without a catalogue says so."""
    with pytest.raises(OperatorError, match="no texts of the web pages for 'tlh'"):
        translated("tlh")
