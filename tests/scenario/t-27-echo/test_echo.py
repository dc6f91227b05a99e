"""Purpose: whoever writes to a relay's echo bot hears the same, and no two bots ever stop hearing.

The bot comes to a relay that has people already, by apt, and goes the same way. Somebody of another
relay scans its code. That relay has such a bot, too.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.clients.core import Core, Person
from tests.clients.relay import Relay
from tests.lab import Lab
from tests.lab.installing import BOT, Repository

UNIT = "chatmail-echobot.service"
STATE = "/var/lib/chatmail-echobot"
PINGS = 5  # fewer than the bot answers at once
PAUSE = 10.0  # seconds, after which it does so again
SOON = 1.0  # seconds, from sending to the echo, that most take at most
TOGETHER = 120 * 1024  # KiB, of the bot and its core
PEER = "_beta.lab"
APT = {"DEBIAN_FRONTEND": "noninteractive"}

# Has a bot write to another one, as if it had a mind to.
WRITE_TO = """
import sys, time
from chatmail_echobot import core
from deltachat_rpc_client import EventType
from pathlib import Path
with core.running(core.command(), Path("/var/lib/chatmail-echobot/core")) as chats:
    [account] = chats.get_all_accounts()
    account.start_io()
    chat = account.secure_join(sys.argv[1])
    while True:
        event = account.wait_for_event(EventType.SECUREJOIN_JOINER_PROGRESS)
        if event.progress == 1000:
            break
    message = chat.send_text("hello, are you one, too?")
    while account.wait_for_event(EventType.MSG_DELIVERED).msg_id != message.id:
        pass
"""


def address(relay: Relay) -> str:
    """The bot's."""
    return f"echo@{relay.domain}"


def link(relay: Relay) -> str:
    """The bot's invite link, as the web page has it."""
    page = relay.web("GET", "/echo/link.txt")
    assert page.status == 200, page
    return page.body.decode().strip()


def online(relay: Relay, position: str) -> None:
    """Wait until the bot that was started after this position answers."""
    relay.wait_for_log(position, rf"answers as {re.escape(address(relay))}", patience=30.0)


def install(relay: Relay) -> None:
    """Add the bot to a relay."""
    position = relay.log_position()
    relay.machine.run("apt update", env=APT)
    relay.machine.run(f"apt install -y {BOT}", env=APT)
    online(relay, position)


@pytest.fixture(scope="module")
def peer(
    suite: str, several: Callable[..., AbstractContextManager[dict[str, Relay]]]
) -> Iterator[Relay]:
    """Another relay of this suite."""
    with several({PEER: suite}) as made:
        yield made[PEER]


@pytest.fixture(scope="module")
def bots(lab: Lab, relay: Relay, peer: Relay, repository: Repository) -> Iterator[Relay]:
    """The relay, whose bot has just been installed, as the other one's; it goes again."""
    lab.serve(repository.folder)
    with ThreadPoolExecutor() as pool:
        list(pool.map(install, (relay, peer)))
    yield relay
    relay.machine.run(f"apt purge -y {BOT}", env=APT)


@pytest.fixture(scope="module")
def core(bots: Relay, peer: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """The real core, among the lab's clients."""
    with Core(peer.place, tmp_path_factory.mktemp("core")) as running:
        yield running


@pytest.fixture(scope="module")
def ann(core: Core) -> Person:
    """Somebody of the other relay."""
    return core.join(PEER, "ann")


def test_page(bots: Relay) -> None:
    """Link and code are on a page, which wants nothing from elsewhere."""
    page = bots.web("GET", "/echo/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = page.body.decode()
    assert link(bots).replace("&", "&amp;") in text
    assert link(bots).startswith("https://i.delta.chat/#")
    code = bots.web("GET", "/echo/qr.svg")
    assert code.headers["content-type"] == "image/svg+xml"
    assert ElementTree.fromstring(code.body).tag.endswith("svg")
    assert bots.web("GET", "/echo").headers["location"] == f"https://{bots.domain}/echo/"


def test_account_is_reserved(bots: Relay) -> None:
    """The account is there, only the bot knows its password, and no login makes one."""
    folder = bots.machine.path(f"/var/lib/chatmail/mail/{bots.domain}/{address(bots)}")
    assert (folder / "password").read_text().startswith("{SHA512-CRYPT}")
    assert not bots.can_log_in(bots.invent("echo"))
    shown = bots.machine.run(f"stat -c '%U %a' {STATE} {STATE}/password").stdout.split()
    assert shown == ["_chatmail-echobot", "700", "_chatmail-echobot", "600"]
    private = "/run/chatmail/doveauth-echo/account.sock"
    for user, allowed in (("_chatmail-echobot", True), ("www-data", False), ("nobody", False)):
        done = bots.machine.run(f"runuser -u {user} -- test -e {private}", check=False)
        assert (done.returncode == 0) is allowed, user


def test_sandbox(bots: Relay) -> None:
    """The bot is confined as the relay's daemons are, and limited in memory."""
    shown = bots.machine.run(f"systemd-analyze security --no-pager {UNIT}").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert found
    assert float(found[1]) <= 2.0, shown
    limits = bots.properties(UNIT, "MemoryMax", "User")
    assert limits == {"MemoryMax": str(256 * 1024 * 1024), "User": "_chatmail-echobot"}


def test_securejoin_and_echo(bots: Relay, ann: Person, tmp_path: Path) -> None:
    """Who scans the code is sure of the bot's key, and hears the same again, files, too."""
    chat = ann.scan(link(bots))
    chat.send_text("Hello Echo, 你好, 🐦")
    heard = ann.wait_for_text("Hello Echo, 你好, 🐦").get_snapshot()
    assert heard.show_padlock
    assert heard.is_bot
    assert heard.sender.get_snapshot().address == address(bots)
    picture = tmp_path / "small.bin"
    picture.write_bytes(bytes(range(256)) * 300)
    ann.say(chat, "with a file", picture)
    echoed = ann.wait_for_text("with a file").get_snapshot()
    assert Path(echoed.file).read_bytes() == picture.read_bytes()


def test_round_trip(bots: Relay, ann: Person) -> None:
    """Half of the echoes take no longer than promised."""
    chat = ann.account.secure_join(link(bots))  # known already
    time.sleep(PAUSE)
    took = []
    for number in range(PINGS):
        begin = time.monotonic()
        chat.send_text(f"ping {number}")
        ann.wait_for_text(f"ping {number}")
        took.append(time.monotonic() - begin)
    print(f"echo round trip p50 {1000 * statistics.median(took):.0f} ms: {took}")
    assert statistics.median(took) <= SOON, took


def test_memory(bots: Relay) -> None:
    """After that work the bot and its core are still small."""
    pid = bots.properties(UNIT, "MainPID")["MainPID"]
    pids = [pid, *bots.machine.run(f"pgrep -P {pid}").stdout.split()]
    assert len(pids) == 2
    shown = "".join(bots.machine.read(f"/proc/{each}/smaps_rollup") for each in pids)
    sizes = [int(size) for size in re.findall(r"(?m)^Pss:\s+([0-9]+) kB$", shown)]
    print(f"the bot and its core, PSS: {sizes} KiB")
    assert sum(sizes) <= TOGETHER, sizes


def test_two_bots(bots: Relay, peer: Relay) -> None:
    """What one bot writes, the other one hears and leaves alone: nothing goes on between them."""
    script = "/tmp/write-to.py"
    bots.machine.write(script, WRITE_TO, 0o644)
    heard, said = peer.log_position(), bots.log_position()
    bots.machine.run(f"systemctl stop {UNIT}")
    bots.machine.run(
        "runuser -u _chatmail-echobot -- /usr/lib/chatmail-echobot/bin/python -I "
        f"{script} '{link(peer)}'",
        timeout=60.0,
    )
    bots.machine.run(f"systemctl start {UNIT}")
    online(bots, said)
    peer.wait_for_log(heard, "no answer: it is a bot's")
    time.sleep(2)  # as long as an echo would take, and more
    assert peer.log_since(heard).count("no answer") == 1
    assert "a bot's" not in bots.log_since(said)


def test_another_relays_doctor(bots: Relay, peer: Relay) -> None:
    """With the bot's address alone another relay's doctor sees that mail passes both ways."""
    with bots.changed(doctor_peer=address(peer)):
        shown = bots.machine.run("chatmail-relay doctor --json", check=False).stdout
    checks = {check["name"]: check for check in json.loads(shown)["checks"]}
    for name in ("port-25-out", "peer", "port-25-in"):
        assert checks[name]["state"] == "fine", checks[name]


def test_restart_and_upgrade(bots: Relay, core: Core, ann: Person) -> None:
    """The same bot is back, answers what it was told meanwhile, and its old code still serves."""
    before, position = link(bots), bots.log_position()
    bots.machine.run(f"systemctl kill -s KILL {UNIT}")
    chat = ann.account.secure_join(before)
    chat.send_text("while you were away")
    online(bots, position)
    ann.wait_for_text("while you were away")
    position = bots.log_position()
    bots.machine.run(f"apt install --reinstall -y {BOT}", env=APT)
    online(bots, position)
    # The core puts another secret into each code, and takes all it ever gave out.
    assert link(bots).partition("&")[0] == before.partition("&")[0]
    ben = core.join(PEER, "ben")
    ben.scan(before).send_text("after the upgrade")
    ben.wait_for_text("after the upgrade")
    assert bots.machine.run("chatmail-relay apply --check", check=False).returncode == 0


def test_removal(bots: Relay) -> None:
    """Without the package there is no bot, no account, no page, and the relay is as before."""
    bots.machine.run(f"apt remove -y {BOT}", env=APT)
    assert address(bots) not in bots.addresses()
    assert not bots.machine.path(STATE).exists()
    assert bots.web("GET", "/echo/").status == 404
    state = bots.properties(UNIT, "ActiveState", "UnitFileState")
    assert state == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    assert bots.machine.run("chatmail-relay apply --check", check=False).returncode == 0
    assert bots.machine.run("systemctl --failed --no-legend").stdout == ""
    with bots.peer() as smtp:
        smtp.command("MAIL FROM:<abcdefghi@peer.lab>")
        assert smtp.command(f"RCPT TO:<{address(bots)}>").code == 550
