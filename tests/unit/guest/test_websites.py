"""Sites of nginx: what is read of its configuration, and which can stay."""

import hashlib
from pathlib import Path
from subprocess import CompletedProcess

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


DEFAULT = "server { listen 80; listen [::]:80; }"
NO_IPV6 = "nginx: [emerg] socket() [::]:80 failed (97: Address family not supported by protocol)"
END = "nginx: configuration file /etc/nginx/nginx.conf test failed"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with an edited nginx.conf and the page that comes with nginx."""
    available = tmp_path / "etc/nginx/sites-available/default"
    available.parent.mkdir(parents=True)
    available.write_text(DEFAULT)
    (tmp_path / "etc/nginx/nginx.conf").write_text("edited")
    (tmp_path / "etc/nginx/sites-enabled").mkdir()
    (tmp_path / "etc/nginx/sites-enabled/default").symlink_to(available)
    checksum = hashlib.md5(DEFAULT.encode(), usedforsecurity=False).hexdigest()
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        f"Conffiles:\n /etc/nginx/nginx.conf {'0' * 32}\n {websites.DEFAULT} {checksum}\n"
    )
    return tmp_path


def answering(
    monkeypatch: pytest.MonkeyPatch, code: int, stdout: str = "", stderr: str = ""
) -> None:
    """Have nginx answer so."""
    done = CompletedProcess(["nginx"], code, stdout, stderr)
    monkeypatch.setattr(websites, "run", lambda _argv, *, check: done)


def test_without_nginx(tmp_path: Path) -> None:
    """A machine that never had it has nothing to say."""
    assert websites.look(tmp_path) == Web()


def test_page_that_comes_with_nginx(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no site of anybody's, until somebody edits it."""
    dump = f"# configuration file /etc/nginx/sites-enabled/default:\n{DEFAULT}\n"
    answering(monkeypatch, 0, dump)
    assert websites.look(root) == Web((), "", main_edited=True)
    (root / "etc/nginx/sites-available/default").write_text("server {}")
    assert len(websites.look(root).sites) == 1


def test_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that says why is told; sites are read all the same."""
    (root / "etc/nginx/sites-enabled/guest").write_text("server { listen 443 ssl; }")
    answering(monkeypatch, 1, stderr=f"nginx: [warn] x\nnginx: [emerg] broken\n{END}\n")
    site = Site("/etc/nginx/sites-enabled/guest", ("*:443",), ())
    assert websites.look(root) == Web((site,), "nginx: [emerg] broken", main_edited=True)


def test_without_ipv6(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That nginx's own page wants it is nobody's fault; that a site does has to be mended."""
    answering(monkeypatch, 1, stderr=f"{NO_IPV6}\n{END}\n")
    assert websites.look(root).refusal == ""
    (root / "etc/nginx/sites-enabled/guest").write_text("server { listen [::]:80; }")
    assert websites.look(root).refusal == NO_IPV6
