"""What `https://DOMAIN/echo/` shows: the invite link, and its QR code to be scanned."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from string import Template

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$address</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<main>
<h1>Echo bot</h1>
<p><bdi>$address</bdi> sends back what you write to it: try the relay with it.</p>
<p><a class="button" href="$link">Write to the echo bot</a></p>
<p>On another device, scan this code with your chat app:</p>
<p><img src="qr.svg" width="320" height="320" alt="QR code of the invite link above"></p>
<p><a href="../">About this relay</a></p>
</main>
</body>
</html>
""")

STYLE = """\
:root { color-scheme: light dark; }
body { font: 1.1rem/1.5 system-ui, sans-serif; margin: 0; padding: 1rem; }
main { max-width: 36rem; margin: 0 auto; text-align: center; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 0.5rem; }
.button { display: inline-block; padding: 0.7rem 1.4rem; border-radius: 0.5rem;
  background: #1a5fb4; color: #fff; text-decoration: none; }
.button:focus-visible { outline: 3px solid; outline-offset: 3px; }
"""

_STYLED = re.compile(r'style="fill:(#[0-9a-f]+)"')


def files(address: str, link: str, code: str) -> dict[str, str]:
    """The files of the page, by name."""
    return {
        "index.html": PAGE.substitute(address=escape(address), link=escape(link)),
        "style.css": STYLE,
        "link.txt": f"{link}\n",
        # Colours as attributes, which no policy about styles (CSP) takes away.
        "qr.svg": _STYLED.sub(r'fill="\1"', code),
    }


def publish(folder: Path, address: str, link: str, code: str) -> None:
    """Put the page into `folder`, each file at once. Raises OSError."""
    for name, content in files(address, link, code).items():
        draft = folder / f".{name}.new"
        draft.unlink(missing_ok=True)
        draft.write_text(content, encoding="utf-8")
        draft.chmod(0o640)
        draft.replace(folder / name)
