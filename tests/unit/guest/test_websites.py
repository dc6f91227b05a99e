"""Sites of nginx: what is read of its configuration, and which can stay."""

import hashlib
from pathlib import Path

import pytest
from chatmail_relay.guest import websites
from chatmail_relay.guest.matter import Weight
from chatmail_relay.guest.websites import Site, Web, judge, parse

from tests.unit.fakes import settings

ACME = settings(mail_domain="chat.example.org")
SELF_SIGNED = settings(mail_domain="_chat.example.org")

DUMP = """\
# configuration file /etc/nginx/nginx.conf:
http {
	# server { listen 443; }
	include /etc/nginx/sites-enabled/*;
}
# configuration file /etc/nginx/sites-enabled/guest:
server {
	listen 8080;
	listen [::]:8080 ipv6only=on;
	server_name guest.lab www.guest.lab;
	location / { return 200; }
}
server { server_name other.lab; }
server { listen unix:/run/80; listen 192.0.2.1; }
"""


def test_parse() -> None:
    """Each server with its file, listeners without options, and names; comments are none."""
    file = "/etc/nginx/sites-enabled/guest"
    assert list(parse(DUMP)) == [
        Site(file, ("*:8080", "[::]:8080"), ("guest.lab", "www.guest.lab")),
        Site(file, ("*:80",), ("other.lab",)),
        Site(file, ("unix:/run/80", "192.0.2.1"), ()),
    ]


PORTS = {
    "all": ("*:80", 80, [""]),
    "all of IPv6": ("[::]:443", 443, [""]),
    "another": ("*:8080", 80, []),
    "one address": ("192.0.2.1:443", 443, ["192.0.2.1"]),
    "one address, no port": ("192.0.2.1", 80, ["192.0.2.1"]),
    "a socket": ("unix:/run/x:80", 80, []),
    "a name": ("localhost:443", 443, ["localhost"]),
}


@pytest.mark.parametrize("what", PORTS)
def test_on(what: str) -> None:
    """Where a site listens on a port."""
    listen, port, expected = PORTS[what]
    assert Site("/etc/nginx/conf.d/a.conf", (listen,), ()).on(port) == expected


CASES = {
    "by name": (("*:80",), ("guest.lab",), Weight.SHARED, "nginx serves guest.lab"),
    "elsewhere": (("*:8080",), (), Weight.SHARED, "nginx serves *:8080"),
    "shared 443": (("127.0.0.83:444",), ("guest.lab",), Weight.SHARED, "nginx serves guest.lab"),
    "443": (("*:443",), ("guest.lab",), Weight.IN_THE_WAY, "listens on port 443"),
    "8443": (("[::]:8443",), ("guest.lab",), Weight.IN_THE_WAY, "listens on port 8443"),
    "an address's 80": (("192.0.2.1:80",), ("a.lab",), Weight.IN_THE_WAY, "port 80 of 192.0.2.1"),
    "the relay's name": (("*:80",), ("chat.example.org",), Weight.TO_KNOW, "for chat.example.org"),
}


@pytest.mark.parametrize("what", CASES)
def test_judge(what: str) -> None:
    """What can be shared is, and for the rest there is another way."""
    listens, names, weight, words = CASES[what]
    site = Site("/etc/nginx/sites-enabled/guest", listens, names)
    (matter,) = judge(Web((site,)), ACME)
    assert matter.weight is weight
    assert words in matter.what
    assert bool(matter.advice) is (weight is not Weight.SHARED)


def test_own_address_without_an_authority() -> None:
    """Nobody has to find anything on port 80 there."""
    site = Site("/etc/nginx/conf.d/guest.conf", ("192.0.2.1:80",), ("guest.lab",))
    (matter,) = judge(Web((site,)), SELF_SIGNED)
    assert matter.weight is Weight.SHARED


def test_nginx_of_somebody() -> None:
    """An edited nginx.conf, a site in it, and one that nginx refuses are said."""
    web = Web((Site("/etc/nginx/nginx.conf", ("*:80",), ()),), "unknown directive", True)
    assert [matter.weight for matter in judge(web, ACME)] == [
        *(Weight.IN_THE_WAY, Weight.TO_KNOW, Weight.TO_KNOW)
    ]


def test_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx's own words are read; the page that comes with it is no site of anybody's."""
    assert websites.look(tmp_path) == Web()
    folder = tmp_path / "etc/nginx/sites-available"
    folder.mkdir(parents=True)
    (tmp_path / "etc/nginx/nginx.conf").write_text("edited")
    (folder / "default").write_text("server {}")
    enabled = tmp_path / "etc/nginx/sites-enabled"
    enabled.mkdir()
    (enabled / "default").symlink_to(folder / "default")
    checksum = hashlib.md5(b"server {}", usedforsecurity=False).hexdigest()
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        f"Conffiles:\n /etc/nginx/nginx.conf {'0' * 32}\n {websites.DEFAULT} {checksum}\n"
    )
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    dump = "# configuration file /etc/nginx/sites-enabled/default:\nserver {}\n"
    (bin_ / "nginx").write_text(
        f"#!/bin/sh\ncat <<'E'\n{dump}E\necho first >&2; echo broken >&2\nexit 1\n"
    )
    (bin_ / "nginx").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    assert websites.look(tmp_path) == Web((), "broken", True)
