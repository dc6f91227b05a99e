"""`chatmail-relay import`: takes over a relay that was deployed from upstream's git.

Until `--final` only mailboxes are copied, as often as somebody likes, while the old relay works: it
is not changed, and this one does not become it. With `--final`, when the old one takes no mail and
no logins any more, the rest follows: what changed since, the settings, the keys; and this machine
is the relay.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay import acme
from chatmail_relay.earlier import in_present_words
from chatmail_relay.errors import OperatorError
from chatmail_relay.expirecommand import amount, bar
from chatmail_relay.ini import render_ini
from chatmail_relay.inifile import IniFile
from chatmail_relay.lock import exclusive
from chatmail_relay.moving import copying, keys, settle
from chatmail_relay.moving.copying import Copying, Figures
from chatmail_relay.moving.devices import Devices
from chatmail_relay.moving.place import Place, opened
from chatmail_relay.moving.settle import Configure, Say
from chatmail_relay.moving.upstreamini import Translated, merged, translate
from chatmail_relay.output import say
from chatmail_relay.plan import make_directories
from chatmail_relay.settings import DEFAULT_PATH, SECTION, STATE_DIR, Settings, abouts
from chatmail_relay.space import free_bytes
from chatmail_relay.tree import Found, Tree

INIS = ("usr/local/lib/chatmaild/chatmail.ini", "etc/chatmail/chatmail.ini", "chatmail.ini")
"""Where upstream has its settings on a server, the second in a container."""
OURS = "etc/chatmail-relay/chatmail.ini"
LOCK = Path("run/chatmail-relay-import.lock")
MOVED_IN = STATE_DIR / "moved-in"
"""When the import was over."""
PORTS = (25, 143, 465, 587, 993)
"""Where mail and logins come in."""


def import_(options: argparse.Namespace) -> int:
    """Take over the relay which the options name."""
    tree = Tree(options.root.resolve())
    try:
        return _import(options, tree)
    except KeyboardInterrupt:
        raise OperatorError("interrupted", "Run the same again: it goes on where it was.") from None


def _import(options: argparse.Namespace, tree: Tree) -> int:
    with exclusive(tree.root / LOCK, say, "copying accounts"), opened(options.source) as place:
        refuse_again(tree)
        old = look(place, tree, new_key=options.new_dkim_key)
        for line in old.told():
            say(line)
        if options.final:
            refuse_running(place)
        move = Move(place, old, tree, last=options.final)
        if options.dry_run:
            move.look()
            return 0
        move.mailboxes()
        if options.final:
            move.rest(settle.configure)
        return 0


def refuse_again(tree: Tree) -> None:
    """Raise OperatorError once the old relay is history: what is here is newer than it."""
    if (done := tree.look(MOVED_IN).content) is not None:
        raise OperatorError(
            f"the relay moved in on {done.decode(errors='replace').strip()} UTC",
            "What is there is older than what is here. To copy from there all the same, remove "
            f"{MOVED_IN} first.",
        )


@dataclass(frozen=True)
class Old:
    """What is known of the old relay, and what becomes of it here."""

    ini: str
    """Where its settings are."""
    translated: Translated
    settings: Settings
    """Those here, in the end."""
    text: str
    """The ini of these."""
    stays: tuple[str, ...]
    dkim_key: bytes | None

    def told(self) -> Iterator[str]:
        """What somebody should know before anything happens, line by line."""
        yield f"{self.settings.mail_domain}: settings from /{self.ini}"
        for note in (*self.translated.notes, *self.stays):
            yield f"warning: {note}"
        if self.dkim_key is None and not self.settings.is_address_literal:
            yield f"warning: there is no key /{keys.DKIM}/{keys.SELECTOR}.private; one is made here"


def look(place: Place, tree: Tree, *, new_key: bool = False) -> Old:
    """What is in PLACE; raises OperatorError unless all of it can be taken over."""
    ini, text = _ini(place)
    translated = translate(text, f"/{ini}")
    before = settle.present_ini(tree)
    present = None if before is None else Settings.from_text(before, str(DEFAULT_PATH))
    if present is not None and present.mail_domain != translated.domain:
        present = None
    settings, stays = merged(translated, present, _chosen(before or ""))
    settle.refuse_other_accounts(settings, tree)
    folder = translated.mailboxes
    if place.run("test", "-d", folder).returncode != 0:
        raise OperatorError(
            f"{place.name}: there is no folder /{folder} of mailboxes",
            "Is mailboxes_dir right in the old chatmail.ini?",
        )
    key = None
    if not (new_key or settings.is_address_literal) and (key := keys.dkim_key(place)) is not None:
        keys.check_dkim_key(key, settings)
    kept = before if present is not None else None
    return Old(ini, translated, settings, render_ini(settings, kept), tuple(stays), key)


def _ini(place: Place) -> tuple[str, str]:
    for path in INIS:
        if (content := place.read(path)) is not None:
            return path, content.decode(errors="replace")
    if place.read(OURS) is not None:
        raise OperatorError(
            f"{place.name} is a relay made by these packages",
            "Use `chatmail-relay backup` there, and `chatmail-relay restore` here.",
        )
    raise OperatorError(
        f"{place.name}: there is no /{', no /'.join(INIS)}",
        "Name the root of a machine, or of its copy, on which upstream's cmdeploy set up a relay.",
    )


def _chosen(text: str) -> Callable[[str], bool]:
    """Which settings somebody has set in the ini TEXT, rather than left at their defaults."""
    given = set(IniFile(in_present_words(text), str(DEFAULT_PATH), SECTION).keys(abouts()))
    return given.__contains__


def refuse_running(place: Place) -> None:
    """Raise OperatorError while the old machine takes mail or logins."""
    if not place.is_remote:
        return
    done = place.run("ss", "--no-header", "--listening", "--tcp", "--numeric")
    if done.returncode != 0:
        raise OperatorError(
            f"{place.name}: ss(8) cannot say whether the old relay still works",
            "Install iproute2 there.",
        )
    listening = {int(port) for port in re.findall(r":(\d+)\s", done.stdout.decode())}
    if taken := sorted(listening & set(PORTS)):
        raise OperatorError(
            f"{place.name} still takes mail or logins, on port {', '.join(map(str, taken))}",
            "What came there after this import would be lost. Run there `postconf -e "
            "master_service_disable=inet && systemctl restart postfix`, wait until `postqueue -p` "
            "shows no mail for the relay's own users, and run `systemctl disable --now dovecot`.",
        )


class Move:
    """The old relay in PLACE into the machine of TREE."""

    def __init__(
        self,
        place: Place,
        old: Old,
        tree: Tree,
        *,
        last: bool,
        say: Say = say,
        clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._place = place
        self._old = old
        self._tree = tree
        self._last = last
        self._say = say
        self._free = free
        self._clock = clock
        self._devices = Devices(tree, clock)

    def look(self) -> None:
        """Say what would be done."""
        copying_ = self._copying()
        copying_.look()
        copying.room(self._tree, self._old.settings, copying_.figures.bytes, self._free)
        for line in summary(copying_.figures, done=False):
            self._say(line)
        if settle.present_ini(self._tree) != self._old.text:
            self._say(f"--final would change {DEFAULT_PATH}")

    def mailboxes(self) -> None:
        """Copy what is missing; raises OperatorError."""
        first = self._copying()
        first.look()
        copying.room(self._tree, self._old.settings, first.figures.bytes, self._free)
        for folder in make_directories(self._old.settings):
            owner = self._tree.ids(folder.owner, folder.group)
            self._tree.make_directory(folder.path, *owner, folder.mode)
        self._devices.prepare()
        copying_ = self._copying()
        with _progress(first.figures) as progress:
            copying_.run(progress)
        os.sync()
        for line in summary(copying_.figures, done=True):
            self._say(line)
        if self._last and copying_.figures.missed:
            raise OperatorError(
                "the mail there changed while it was copied, so it is not the last time yet",
                "Is the old relay stopped? Then run the same again.",
            )

    def rest(self, configure: Configure) -> None:
        """Take over settings and keys, and be the relay. Raises OperatorError."""
        settings = self._old.settings
        if self._old.dkim_key is not None:
            keys.put_dkim_key(self._old.dkim_key, settings, self._tree, self._say)
        if settings.tls_mode == "acme":
            found = keys.acme_files(self._place)
            count = keys.put_acme_files(found, settings, self._tree)
            self._say(f"{acme.STATE}: {count} accounts at certificate authorities taken over")
        for path in keys.put_external_certificate(self._place, settings, self._tree):
            self._say(f"{path} copied; have it renewed on this machine from now on")
        settle.put_ini(self._old.text, self._tree)
        configure(self._tree, self._say)
        self._copying().forget()
        when = time.strftime("%Y-%m-%d %H:%M\n", time.gmtime(self._clock()))
        owner = self._tree.ids("root", "root")
        self._tree.put(MOVED_IN, Found(when.encode(), None, *owner, 0o600))
        for line in next_steps(settings):
            self._say(line)

    def _copying(self) -> Copying:
        old = self._old
        return Copying(
            self._place,
            old.translated.mailboxes,
            old.settings,
            self._tree,
            self._devices,
            last=self._last,
        )


def summary(figures: Figures, *, done: bool) -> Iterator[str]:
    """The figures in words."""
    yield f"{'copied' if done else 'would copy'}, of {figures.accounts:,} accounts:"
    yield f"{figures.new:>12,}  accounts that were not here yet"
    yield f"{figures.messages:>12,}  messages"
    yield f"{amount(figures.bytes):>12}  in all, unpacked"
    if done:
        yield f"{figures.tokens:>12,}  tokens of devices"
    yield f"{figures.renamed + figures.removed:>12,}  messages that changed or went there since"
    yield from copying.left_over(figures)


def next_steps(settings: Settings) -> Iterator[str]:
    """What is left to do for a person."""
    yield f"{settings.mail_domain} is here now. What is left to do:"
    if settings.is_address_literal:
        yield "  have its address lead to this machine"
    else:
        yield "  let its A and AAAA records lead here; `chatmail-relay dns --check` compares all"
    yield "  see that it works: `chatmail-relay doctor`"
    yield "  keep the old machine for some days, with its mail services off"


@contextmanager
def _progress(whole: Figures) -> Iterator[Callable[[Figures], None]]:
    """A bar that says how far it is, where somebody sees it."""
    if not sys.stderr.isatty():
        yield lambda _figures: None
        return
    with bar() as update:
        yield lambda now: update({"total": whole.accounts, "done": now.accounts})
