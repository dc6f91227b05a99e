"""chatmaild by itself: pip installs it, and an ordinary user runs all its daemons on one ini.

There is no machine in this scenario: an empty virtual environment, the locked wheels from the
cache, no network, and a folder that stands for the root of a relay.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devtools import roots
from devtools.run import run
from devtools.sources import REPOSITORY, exported
from devtools.wheels import fetch

NOBODY = 65534
DOMAIN = "_alpha.lab"
USER = f"abcdefghi@{DOMAIN}"
INI = f"[params]\nmail_domain = {DOMAIN}\n" + "".join(
    f"create_{name} = {value}\n"
    for name, value in (("max_load", 10000), ("min_memory_mib", 0), ("min_disk_mib", 0))
)
DAEMONS = (
    *("doveauth", "filtermail", "chatmail-metadata", "lastlogin", "newemail"),
    "chatmail-mxdeliv",
    "chatmail-deliver",
)
DEADLINE = 30.0  # seconds a daemon has for anything
HEX = b"a password of mine".hex().encode()
LIMIT_KEY = b"shared/x/vendor/vendor.dovecot/pvt/server/vendor/deltachat/maxsmtprecipients"

ANSWERS: dict[str, tuple[str, bytes, bytes]] = {
    "create": (
        "run/chatmail/doveauth/auth.sock",
        b"create\t%b\t%b\t192.0.2.1\n" % (USER.encode(), HEX),
        b"ok\n",
    ),
    "seen": (
        "run/chatmail/lastlogin/dict.sock",
        b"B1\t%b\nS1\tshared/last-login/%b\t1\nC1\n" % (USER.encode(), USER.encode()),
        b"O1\n",
    ),
    "recipients": (
        "var/spool/postfix/maps/recipients.sock",
        b"31:recipients %b," % USER.encode(),
        b"23:OK %b," % USER.encode(),
    ),
    "metadata": ("run/chatmail/metadata/dict.sock", b"L%b\t\n" % LIMIT_KEY, b"O1000\n"),
    "outgoing": ("var/spool/postfix/filter/outgoing.sock", b"", b"220 "),
    "incoming": ("var/spool/postfix/filter/incoming.sock", b"", b"220 "),
    "new": (
        "run/chatmail/newemail/http.sock",
        b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200",
    ),
    "routes": ("var/spool/postfix/deliver/routes.sock", b"15:routes beta.lab,", b"9:NOTFOUND ,"),
    "deliver": ("run/chatmail/deliver/smtp.sock", b"", b"220 "),
    "mxdeliv": (
        "run/chatmail/mxdeliv/http.sock",
        b"GET /mxdeliv HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HTTP/1.1 405",
    ),
}
"""What is asked on which socket, in this order, and how the answer begins."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder which everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="standalone-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def programs(place: Path) -> Path:
    """The folder of an otherwise empty environment's programs, chatmaild installed by pip."""
    source, built = place / "source", place / "built"
    for name in exported(["chatmaild", "chatmail-relay-config", "debian/changelog"]):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, source / name)
    version = "{}.{}".format(*sys.version_info)
    lock = REPOSITORY / f"chatmaild/requirements-{version}.txt"
    fetch(lock, version, wheels := roots.cache_dir() / "wheels" / version)
    pip = ("pip", "--quiet", "--disable-pip-version-check")
    # setuptools is here, not there.
    offline = ("--no-index", "--no-deps", "--no-build-isolation", f"--wheel-dir={built}")
    folders = ("./chatmail-relay-config", "./chatmaild")
    run([sys.executable, "-m", *pip, "wheel", *offline, *folders], cwd=source)
    run([sys.executable, "-m", "venv", place / "venv"])
    made = [str(path) for path in sorted(built.glob("*.whl"))]
    python = place / "venv/bin/python"
    run([python, "-m", *pip, "install", "--no-index", f"--find-links={wheels}", *made])
    run([python, "-m", *pip, "check"])
    return place / "venv/bin"


@pytest.fixture(scope="module")
def relay(place: Path, programs: Path) -> Iterator[Path]:
    """The root folder of a relay whose five daemons run as nobody."""
    root = place / "relay"
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    (place / "chatmail.ini").write_text(INI)
    with ExitStack() as stack:
        running = []
        for name in DAEMONS:
            notices = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            notices.bind(os.fspath(place / f"{name}.notify"))
            notices.settimeout(DEADLINE)
            (place / f"{name}.notify").chmod(0o666)
            daemon = stack.enter_context(start(programs, name, place, place / "chatmail.ini"))
            stack.callback(daemon.terminate)
            running.append(daemon)
            assert notices.recv(100) == b"READY=1", name
        yield root
        for daemon in running:
            daemon.terminate()
            assert daemon.wait(DEADLINE) == 0, daemon.args


def start(programs: Path, name: str, place: Path, ini: Path) -> subprocess.Popen[str]:
    """Start a daemon as a user without privileges."""
    return subprocess.Popen(
        [programs / name, "--config", ini],
        env={
            "CHATMAIL_ROOT": os.fspath(place / "relay"),
            "NOTIFY_SOCKET": os.fspath(place / f"{name}.notify"),
        },
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", [*DAEMONS, "chatmail-expire"])
def test_help(programs: Path, name: str) -> None:
    """--help says what the daemon does and how its settings are found, and exits 0."""
    said = run([programs / name, "--help"]).stdout
    assert said.startswith(f"usage: {name}")
    assert "--config PATH" in said


@pytest.mark.parametrize("name", DAEMONS)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[params]\nmail_domain = nonsense\n", "chatmail.ini:2: mail_domain: 'nonsense' is not"),
        ("mail_domain = _alpha.lab\n", "chatmail.ini:1: no section header defined"),
        (None, "chatmail.ini: there is no such file"),
    ],
)
def test_wrong_settings(
    place: Path, programs: Path, name: str, text: str | None, problem: str
) -> None:
    """A wrong ini ends the daemon with 78 and one line that names the file and the line."""
    folder = place / "wrong"
    folder.mkdir(exist_ok=True)
    ini = folder / "chatmail.ini"
    ini.unlink(missing_ok=True)
    if text is not None:
        ini.write_text(text)
    with start(programs, name, place, ini) as daemon:
        _, said = daemon.communicate(timeout=DEADLINE)
    assert daemon.returncode == 78
    assert said.startswith(f"CRITICAL service: {folder}/{problem}")
    assert said.count("\n") == 1
    assert "\\n" not in said


def test_the_sockets_answer(relay: Path) -> None:
    """Every daemon answers on its socket below the root, and they find one another there."""
    for what, (path, request, answer) in ANSWERS.items():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(os.fspath(relay / path))
            client.sendall(request)
            assert client.recv(1000).startswith(answer), what
    box = relay / f"var/lib/chatmail/mail/{DOMAIN}/{USER}"
    assert sorted(path.name for path in box.iterdir()) == ["enforceE2EEincoming", "password"]


def test_nothing_lies_elsewhere(relay: Path) -> None:
    """All that was made belongs to the user who ran the daemons, below the root."""
    assert {path.lstat().st_uid for path in relay.rglob("*")} == {NOBODY}
    assert not Path("/run/chatmail").exists()
