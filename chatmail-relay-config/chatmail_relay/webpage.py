"""The web pages of a relay, made of `www/`.

    site/   published as it is; what ends in `.j2` is rendered once
    pages/  rendered once for each language, into a folder of its name; `_…` are parts of others
    po/     what the pages say in other languages than English, for gettext

The QR code is drawn by segno, which is pure Python without dependencies, in both of Debian's
suites, and writes SVG itself; https://segno.readthedocs.io/ . What an admin lays into OVERRIDES is
served instead of the file of the same name: nginx looks there first.
"""

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from markupsafe import Markup

from chatmail_relay.render import PACKAGE, renderer
from chatmail_relay.settings import Settings
from chatmail_relay.translations import translated

LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "es": "Español",
    "fr": "Français",
    "ru": "Русский",
}
"""What each calls itself; the first is what the pages are written in."""

RIGHT_TO_LEFT = frozenset(["ar", "fa", "he", "ur"])

PAGES = ("index.html", "privacy.html")
"""What is there in every language; without one in the path, a browser is given what it prefers."""

CONTENT_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser is allowed to do with a page: no script, nothing from elsewhere.
https://www.w3.org/TR/CSP3/"""

OVERRIDES = PurePosixPath("/etc/chatmail-relay/www")
SITE = "www/site"

Render = Callable[[str], bytes]


def published(
    settings: Settings, render: Render, *, echo_bot: bool
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every file of the web site by its path there; RENDER is for those without a language."""
    site = PACKAGE / SITE
    for source in sorted(path for path in site.rglob("*") if path.is_file()):
        name = source.relative_to(site)
        yield PurePosixPath(str(name).removesuffix(".j2")), render(f"{SITE}/{name}")
    if settings.registration == "open":
        yield PurePosixPath("qr.svg"), code(scanned(settings))
    for language in LANGUAGES:
        context = {**_context(settings, language), "has_echo_bot": echo_bot}
        for page in PAGES:
            content = renderer({**context, "page": "" if page == "index.html" else page})
            yield PurePosixPath(language, page), content(f"www/pages/{page}.j2")


def tapped(settings: Settings) -> str:
    """Where the button leads: to the app, which makes an address up.

    Of a relay without a name an app cannot ask for one, so there /new leads to a whole login.
    """
    if settings.is_address_literal:
        return "/new"
    return f"dcaccount:https://{settings.mail_domain}/new"


def scanned(settings: Settings) -> str:
    """What the QR code says."""
    if settings.is_address_literal:
        return f"https://{settings.mail_domain}/new"
    return tapped(settings)


def code(text: str) -> bytes:
    """The QR code of TEXT, as a picture that is dark on light on any ground."""
    import segno  # here, since most commands draw nothing

    picture = BytesIO()
    made = segno.make(text, error="m", micro=False)
    made.save(picture, kind="svg", border=4, light="#fff", omitsize=True, svgclass=None)
    return picture.getvalue()


def _context(settings: Settings, language: str) -> Mapping[str, object]:
    contact = settings.admin_contact
    address = f"https://{settings.mail_domain}/"
    return {
        **translated(language),
        "settings": settings,
        "language": language,
        "languages": LANGUAGES,
        "direction": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "join": tapped(settings),
        "privacy": f"/{language}/privacy.html",
        "domain_shown": _apart(settings.mail_domain),
        "page_link": _link(address, address),
        "mail_link": _link(f"mailto:{contact}", contact),
        "notification_host": _apart(urlsplit(settings.notification_url).hostname or ""),
    }


def _apart(text: str) -> Markup:
    """TEXT that keeps its own direction."""
    return Markup("<bdi>{}</bdi>").format(text)


def _link(target: str, text: str) -> Markup:
    return Markup('<a href="{}"><bdi>{}</bdi></a>').format(target, text)
