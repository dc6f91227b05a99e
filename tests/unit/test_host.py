"""What is found out about the machine."""

import hashlib
from pathlib import Path

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.host import ECHOBOT, SHARED, can_mount, read_host

from tests.unit.test_cli import STATUS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with the daemons of Debian 13."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS, encoding="utf-8")
    return tmp_path


def test_versions(root: Path) -> None:
    """Major and minor, without epoch, Debian's revision and build suffixes."""
    host = read_host(root)
    assert (host.dovecot, host.nginx, host.postfix) == ("2.4", (1, 26), (3, 10))
    assert host.cpus >= 1


def test_debian_12(root: Path) -> None:
    """The older Dovecot has another language."""
    status = root / "var/lib/dpkg/status"
    status.write_text(STATUS.replace("1:2.4.1+dfsg1-6", "1:2.3.19.1+dfsg1-2.1+deb12u1"))
    assert read_host(root).dovecot == "2.3"


def test_missing(root: Path) -> None:
    """What is not there is named."""
    (root / "var/lib/dpkg/status").write_text(STATUS.partition("Package: postfix")[0])
    with pytest.raises(OperatorError, match="not installed: postfix"):
        read_host(root)


def test_echobot(root: Path) -> None:
    """The bot is there when its program is."""
    assert not read_host(root).echobot
    (root / ECHOBOT).parent.mkdir(parents=True)
    (root / ECHOBOT).touch()
    assert read_host(root).echobot


DEFAULT = "server {\n\tlisten 80 default_server;\n\tlisten [::]:80 default_server;\n}\n"
SITES = {
    "nothing": ({}, False),
    "the page that comes with nginx": ({"sites-enabled/default": DEFAULT}, False),
    "that page, edited": ({"sites-enabled/default": DEFAULT + "# mine\n"}, True),
    "that page under another name": ({"sites-enabled/mine": DEFAULT}, True),
    "no listen": ({"conf.d/a.conf": "server { server_name a.lab; }"}, True),
    "an address": ({"conf.d/a.conf": "server {\n listen 192.0.2.1;\n}"}, True),
    "an address and port": ({"conf.d/a.conf": "server{ listen [::1]:80 ipv6only=on; }"}, True),
    "elsewhere": ({"conf.d/a.conf": "server { listen 127.0.0.1:8000; listen [::]:81; }"}, False),
    "a socket": ({"conf.d/a.conf": "server { listen unix:/run/80; }"}, False),
    "in a comment": ({"conf.d/a.conf": "# server { listen 80; }\nserver { listen 81; }"}, False),
    "no server": ({"conf.d/a.conf": "gzip off;"}, False),
    "not read by nginx": ({"conf.d/a.txt": DEFAULT, "sites-enabled/.x": DEFAULT}, False),
}


@pytest.mark.parametrize("what", SITES)
def test_site_on_80(root: Path, what: str) -> None:
    """Port 80 stays nginx's where an admin has it serve something there."""
    files, expected = SITES[what]
    checksum = hashlib.md5(DEFAULT.encode(), usedforsecurity=False).hexdigest()
    conffiles = f"Conffiles:\n /etc/nginx/sites-available/default {checksum}\n"
    status = STATUS.replace("Package: nginx\n", f"Package: nginx\n{conffiles}")
    (root / "var/lib/dpkg/status").write_text(status, encoding="utf-8")
    for name, text in files.items():
        path = root / "etc/nginx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert read_host(root).site_on_80 is expected


SHARING = {
    "nothing": ("server { listen 8080; }", False),
    "it": (f"server {{ listen {SHARED} ssl proxy_protocol; }}", True),
    "without options": (f"server {{ listen {SHARED}; }}", True),
    "in a comment": (f"# listen {SHARED};", False),
    "another port": (f"server {{ listen {SHARED}3; }}", False),
}


@pytest.mark.parametrize("what", SHARING)
def test_site_on_443(root: Path, what: str) -> None:
    """A site that wants to be reached there says so by where it listens."""
    text, expected = SHARING[what]
    (root / "etc/nginx/conf.d").mkdir(parents=True)
    (root / "etc/nginx/conf.d/a.conf").write_text(text, encoding="utf-8")
    assert read_host(root).site_on_443 is expected


CAPABILITIES = {
    "all": ("CapEff:\t000001ffffffffff\n", True),
    "a container's": ("Name:\tsystemd\nCapEff:\t00000000a80425fb\nCapBnd:\t0\n", False),
    "not said": ("Name:\tsystemd\n", True),
}


@pytest.mark.parametrize("what", CAPABILITIES)
def test_can_mount(root: Path, what: str) -> None:
    """It is the first process, systemd, that mounts for units."""
    assert can_mount(root)
    text, expected = CAPABILITIES[what]
    (root / "proc/1").mkdir(parents=True)
    (root / "proc/1/status").write_text(text, encoding="ascii")
    assert can_mount(root) is expected
