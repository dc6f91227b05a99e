"""Take the pictures of the web pages in `docs/pictures/`: `python3 -m devtools.pictures`.

In a real browser, with phones and desktops, light and dark, from the preview of a relay that is
nowhere. Look at them after a change of the pages.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from chatmail_relay.preview import Site, server

from devtools import translations
from devtools.browser import Browser, Screen
from devtools.progress import Progress
from devtools.sources import REPOSITORY

PICTURES = REPOSITORY / "docs/pictures"
INI = """\
[params]
mail_domain = chat.example.org
admin_contact = hello@example.org
operator_name = Example Association
operator_address = 1 Main Street, 12345 Exampletown
"""
DESKTOP = Screen(1120, 860)
PHONE = Screen(390, 1000, phone=True)
SHOTS = (
    ("desktop-light", "/en/", DESKTOP),
    ("desktop-dark", "/en/", Screen(1120, 860, dark=True)),
    ("phone-light", "/de/", PHONE),
    ("phone-dark", "/fr/", Screen(390, 1000, dark=True, phone=True)),
    ("privacy", "/en/privacy.html", DESKTOP),
    ("right-to-left", "/ru/", DESKTOP),
)
"""A name, the page, and who looks at it."""

TURN_ROUND = "document.documentElement.dir = 'rtl'"


def take(progress: Progress) -> None:
    """Take all pictures anew."""
    translations.compiled()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        ini = Path(folder) / "etc/chatmail-relay/chatmail.ini"
        ini.parent.mkdir(parents=True)
        ini.write_text(INI, encoding="utf-8")
        with server(Site(Path(folder)), "127.0.0.1", 0) as web, Browser(progress) as browser:
            thread = threading.Thread(target=web.serve_forever, args=(0.1,))
            thread.start()
            for name, path, screen in SHOTS:
                browser.open(f"http://127.0.0.1:{web.server_port}{path}", screen)
                if name == "right-to-left":
                    browser.evaluate(TURN_ROUND)
                (PICTURES / f"{name}.png").write_bytes(browser.picture())
            web.shutdown()
            thread.join()


if __name__ == "__main__":
    with Progress("pictures") as shown:
        take(shown)
