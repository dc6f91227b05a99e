"""A relay of upstream's moves in, from a folder into another one."""

import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.moving import copying, importing, keys, mailbox, settle
from chatmail_relay.moving.importing import Move, look
from chatmail_relay.moving.mailbox import RECORD, UID_GAP
from chatmail_relay.moving.place import Place, opened
from chatmail_relay.tree import Tree
from chatmaild.tokens import TokenFiles

from tests.unit.moving.upstream import DOMAIN, HASH, INI, NOW, TODAY, UIDLIST, OldRelay

ALICE = f"alice@{DOMAIN}"


class New:
    """The machine which the relay moves to."""

    def __init__(self, root: Path, old: OldRelay) -> None:
        self.tree = Tree(root)
        self.place = Place("old", folder=old.root)
        self.said: list[str] = []
        self.mail = root / "var/lib/chatmail/mail" / DOMAIN

    def run(self, *, last: bool = False, free: int = 2**40) -> None:
        """One import."""
        old = look(self.place, self.tree)
        move = Move(
            self.place,
            old,
            self.tree,
            last=last,
            say=self.said.append,
            clock=lambda: NOW,
            free=lambda _path: free,
        )
        move.mailboxes()
        if last:
            move.rest(settle.configure)

    def look(self) -> None:
        """A dry run."""
        old = look(self.place, self.tree)
        Move(self.place, old, self.tree, last=False, say=self.said.append).look()

    def box(self, name: str) -> Path:
        """A mailbox."""
        return self.mail / f"{name}@{DOMAIN}"

    def messages(self, name: str) -> dict[str, bytes]:
        """The messages of a user by their paths."""
        box = self.box(name)
        paths = [*box.glob("cur/*"), *box.glob("new/*"), *box.glob(".*/cur/*")]
        return {str(path.relative_to(box)): path.read_bytes() for path in paths}


@pytest.fixture
def old(tmp_path: Path) -> OldRelay:
    """An old relay with a user."""
    made = OldRelay(tmp_path / "old")
    made.account("alice")
    return made


@pytest.fixture
def new(tmp_path: Path, old: OldRelay) -> New:
    """Where it moves to."""
    (tmp_path / "new").mkdir()
    return New(tmp_path / "new", old)


def files(root: Path) -> dict[str, tuple[float, bytes]]:
    """Everything below a folder."""
    return {
        str(path): (path.lstat().st_mtime, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_all_of_an_account(old: OldRelay, new: New) -> None:
    """Password with its day, mail unpacked with its times, UIDs, tokens; and no index or cache."""
    before = files(old.root)
    new.run(last=True)
    assert new.messages("alice") == {
        "new/1760000001.M1P1.old": b"first\n",
        "cur/m2,S=7,W=8:2,S": b"second\n",
    }
    box = new.box("alice")
    assert (box / "password").read_bytes() == HASH + b"alice"
    assert (box / "password").stat().st_mtime == TODAY
    assert (box / "cur/m2,S=7,W=8:2,S").stat().st_mtime == NOW
    assert (box / "dovecot-uidlist").read_bytes() == UIDLIST
    names = {path.name for path in box.iterdir()}
    assert names == {"password", "enforceE2EEincoming", "dovecot-uidlist", "cur", "new", "tmp"}
    assert not list((box / "tmp").iterdir())
    tokens = TokenFiles(
        new.tree.real("/var/lib/chatmail-metadata/tokens"),
        lambda: datetime.fromtimestamp(NOW, UTC).date(),
    )
    assert tokens.tokens(ALICE) == ["t-alice"]
    assert files(old.root) == before


def test_settings_and_keys(old: OldRelay, new: New) -> None:
    """The rest comes at the end only."""
    old.acme()
    new.run()
    assert not new.tree.real("/etc/chatmail-relay").exists()
    new.run(last=True)
    ini = new.tree.real("/etc/chatmail-relay/chatmail.ini").read_text()
    assert f"\nmail_domain = {DOMAIN}\n" in ini
    assert "\ndelete_mails_after_days = 40\n" in ini
    key = new.tree.real("/var/lib/chatmail-relay/dkim/opendkim.private")
    assert key.read_bytes() == old.key
    assert key.stat().st_mode & 0o777 == 0o600
    acme = new.tree.real("/var/lib/acme")
    account = acme / "accounts/acme-v02.api.letsencrypt.org%2fdirectory/abc/privkey"
    assert account.read_bytes() == b"account"
    assert account.stat().st_mode & 0o777 == 0o600
    live = acme / "live" / f"{DOMAIN}:chatmail-relay"
    assert (live / "fullchain").read_bytes() == b"chain"
    assert (live / "privkey").read_bytes() == b"key"
    assert not (acme / "conf").exists()


def test_again(old: OldRelay, new: New) -> None:
    """A second run brings what changed there: a message, flags, one that went; nothing twice."""
    new.run()
    held = (new.box("alice") / "dovecot-uidlist").read_bytes()
    assert held.startswith(b"3 V1760000001 N%d G" % (3 + UID_GAP))
    (old.box("alice") / "new/1760000001.M1P1.old").rename(
        old.box("alice") / "cur/1760000001.M1P1.old:2,S"
    )
    (old.box("alice") / "cur/m2,S=7,W=8:2,S").unlink()
    old.put("alice", "new/m3", b"third\n")
    old.put("alice", "dovecot-uidlist", UIDLIST + b"3 :m3\n", NOW + 1)
    old.account("bob")
    new.run(last=True)
    assert new.messages("alice") == {
        "cur/1760000001.M1P1.old:2,S": b"first\n",
        "new/m3": b"third\n",
    }
    assert (new.box("alice") / "dovecot-uidlist").read_bytes() == UIDLIST + b"3 :m3\n"
    assert len(new.messages("bob")) == 2
    assert not list(new.mail.glob(f"*/{RECORD}"))


def test_in_use_here(old: OldRelay, new: New) -> None:
    """What a user here has deleted, marked or got stays so, and UIDs are not changed any more."""
    new.run()
    box = new.box("alice")
    (box / "new/1760000001.M1P1.old").unlink()
    (box / "cur/m2,S=7,W=8:2,S").rename(box / "cur/m2,S=7,W=8:2,FS")
    (box / "cur/here:2,").write_bytes(b"here\n")
    (box / "dovecot-uidlist").write_bytes(b"3 V1760000001 N10005 G0\n10003 :m2\n10004 :here\n")
    (old.box("alice") / "cur/m2,S=7,W=8:2,S").rename(old.box("alice") / "cur/m2,S=7,W=8:2,RS")
    old.put("alice", "new/m3", b"third\n")
    old.put("alice", "dovecot-uidlist", UIDLIST + b"3 :m3\n", NOW + 1)
    new.run(last=True)
    assert new.messages("alice") == {
        "cur/m2,S=7,W=8:2,FS": b"second\n",
        "cur/here:2,": b"here\n",
        "new/m3": b"third\n",
    }
    assert b"10004 :here" in (box / "dovecot-uidlist").read_bytes()


def test_folders(old: OldRelay, new: New) -> None:
    """Folders move with their UIDs; what Dovecot would not have made does not."""
    old.put("alice", ".DeltaChat/cur/m9:2,S", b"ninth\n")
    old.put("alice", ".DeltaChat/dovecot-uidlist", b"3 V1 N2 G1\n1 :m9\n")
    old.put("alice", ".DeltaChat/maildirfolder", b"")
    old.put("alice", "sieve/evil", b"x")
    old.put("alice", ".DeltaChat/tmp/draft", b"x")
    old.put("alice", "123.in", b"rawlog")
    (old.box("alice") / "cur/link:2,").symlink_to("/etc/passwd")
    new.run(last=True)
    assert new.messages("alice")[".DeltaChat/cur/m9:2,S"] == b"ninth\n"
    folder = new.box("alice") / ".DeltaChat"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("cur", "dovecot-uidlist", "maildirfolder", "new", "tmp")
    ]
    assert len(new.messages("alice")) == 3
    assert not (new.box("alice") / "sieve").exists()


def test_what_stays_behind(old: OldRelay, new: New) -> None:
    """The relay's own accounts, other names, and folders without a password."""
    old.account("echo")
    old.put("Upper", "password", HASH)
    old.put("nobody", "cur/m1", b"x")
    old.write(f"home/vmail/mail/{DOMAIN}/pending_notifications/x", b"x")
    new.run(last=True)
    assert [path.name for path in new.mail.iterdir()] == [ALICE]
    assert any("3  folders are no mailboxes that move" in line for line in new.said)
    assert any("1  folders have no password" in line for line in new.said)


def test_passwords(old: OldRelay, new: New) -> None:
    """The old side says who somebody is, a block on either side counts, the later login, too."""
    for name in ("taken", "blocked", "back", "away"):
        old.account(name)
    new.box("taken").mkdir(parents=True)
    (new.box("taken") / "password").write_bytes(b"{SHA512-CRYPT}of-somebody-else")
    new.run()
    assert (new.box("taken") / "password").read_bytes() == HASH + b"taken"
    (new.box("blocked") / "password").write_bytes(b"")
    os.utime(new.box("away") / "password", (TODAY + 864_000,) * 2)
    for name in ("blocked", "away"):
        old.put(name, "password", HASH + name.encode(), TODAY + 86_400)
    old.put("back", "password", b"", TODAY + 86_400)
    new.run(last=True)
    assert (new.box("blocked") / "password").read_bytes() == b""
    assert (new.box("back") / "password").read_bytes() == b""
    assert (new.box("away") / "password").stat().st_mtime == TODAY + 864_000


def test_cleartext_allowed(old: OldRelay, new: New) -> None:
    """Who gave up on encryption there gets cleartext here, also when that was between two runs."""
    new.run()
    assert (new.box("alice") / "enforceE2EEincoming").exists()
    (old.box("alice") / "enforceE2EEincoming").unlink()
    new.run()
    assert not (new.box("alice") / "enforceE2EEincoming").exists()


def test_interrupted(old: OldRelay, new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied stays, and the next run brings the rest, whatever half a run has left."""
    for name in ("bob", "carol"):
        old.account(name)
    monkeypatch.setattr("chatmail_relay.moving.copying.BATCH_FILES", 1)
    calls = []
    put = mailbox.Mailbox.put

    def cut(self: mailbox.Mailbox, path: str, content: bytes, when: float, *, last: bool) -> None:
        calls.append(path)
        if len(calls) == 8:
            raise OperatorError("the line is cut")
        put(self, path, content, when, last=last)

    monkeypatch.setattr(mailbox.Mailbox, "put", cut)
    with pytest.raises(OperatorError, match="cut"):
        new.run(last=True)
    done = [path for path in new.mail.iterdir() if (path / "dovecot-uidlist").exists()]
    assert len(done) == 1
    half = next(box for box in map(new.box, ("alice", "bob", "carol")) if box not in done)
    (half / "tmp").mkdir(parents=True, exist_ok=True)
    (half / "tmp/import.0123").write_bytes(b"half")
    new.run(last=True)
    assert [len(new.messages(name)) for name in ("alice", "bob", "carol")] == [2, 2, 2]
    assert not list(new.mail.glob("*/tmp/*"))


def test_dry_run(old: OldRelay, new: New) -> None:
    """Says what would be done, and writes nothing at all."""
    new.look()
    assert not list(new.tree.root.iterdir())
    assert "           1  accounts that were not here yet" in new.said
    assert "           2  messages" in new.said
    assert any("would change /etc/chatmail-relay/chatmail.ini" in line for line in new.said)


def test_damaged_and_changing(old: OldRelay, new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that cannot be unpacked is copied as it is; what goes meanwhile is not missed."""
    damaged = gzip.compress(b"x" * 1000)[:20]
    old.put("alice", "cur/bad:2,", damaged)
    gone = old.put("alice", "cur/gone:2,", b"x")
    fetched = copying.Copying._fetched

    def late(self: copying.Copying, wanted: list[str]) -> object:
        gone.unlink(missing_ok=True)
        return fetched(self, wanted)

    monkeypatch.setattr(copying.Copying, "_fetched", late)
    with pytest.raises(OperatorError, match="not the last time yet"):
        new.run(last=True)
    assert new.messages("alice")["cur/bad:2,"] == damaged
    new.run(last=True)
    assert "cur/gone:2," not in new.messages("alice")


def test_no_room(new: New) -> None:
    """Is known before anything is copied."""
    with pytest.raises(OperatorError, match="MiB free"):
        new.run(free=3)
    assert not new.mail.exists()


def test_over(old: OldRelay, new: New) -> None:
    """Once the relay is here nothing comes from there by mistake."""
    importing.refuse_again(new.tree)
    new.run(last=True)
    with pytest.raises(OperatorError, match="moved in on 2025-10-09 08:53 UTC"):
        importing.refuse_again(new.tree)


def test_apply_fails(old: OldRelay, new: New) -> None:
    """What is remembered stays until the relay runs, so that the last run can be done again."""

    def fails(_tree: Tree, _say: object) -> None:
        raise OperatorError("off")

    move = Move(new.place, look(new.place, new.tree), new.tree, last=True, say=new.said.append)
    move.mailboxes()
    with pytest.raises(OperatorError, match="off"):
        move.rest(fails)
    (new.box("alice") / "cur/m2,S=7,W=8:2,S").unlink()
    new.run(last=True)
    assert list(new.messages("alice")) == ["new/1760000001.M1P1.old"]
    assert not list(new.mail.glob(f"*/{RECORD}"))


def test_another_relay_here(old: OldRelay, new: New) -> None:
    """Its accounts are not given up."""
    applied = new.tree.real("/var/lib/chatmail-relay/settings/doveauth.ini")
    applied.parent.mkdir(parents=True)
    applied.write_text("mail_domain = other.org\nmailboxes_dir = /var/lib/chatmail/mail\n")
    box = new.tree.real("/var/lib/chatmail/mail/other.org/x@other.org")
    box.mkdir(parents=True)
    (box / "password").touch()
    with pytest.raises(OperatorError, match="this machine is another relay"):
        new.run()


def test_key_here_before(old: OldRelay, new: New) -> None:
    """The one which others know replaces it, and it is kept."""
    path = new.tree.real("/var/lib/chatmail-relay/dkim/opendkim.private")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"made by the first apply")
    new.run(last=True)
    assert path.read_bytes() == old.key
    assert path.with_suffix(f".{keys.ASIDE}").read_bytes() == b"made by the first apply"


def test_unusable_key(old: OldRelay, new: New) -> None:
    """Nothing is copied until somebody has decided."""
    old.write("etc/dkimkeys/opendkim.private", b"nonsense")
    with pytest.raises(OperatorError, match="is not an RSA key") as caught:
        new.run()
    assert "--new-dkim-key" in caught.value.hint
    assert look(new.place, new.tree, new_key=True).dkim_key is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "usr/local/lib/chatmaild/chatmail.ini").unlink(), "there is no /usr"),
        (lambda root: (root / "home").rename(root / "house"), "no folder /home/vmail"),
    ],
)
def test_no_relay_there(
    old: OldRelay, new: New, change: Callable[[Path], object], words: str
) -> None:
    """Says what was looked for."""
    change(old.root)
    with pytest.raises(OperatorError, match=words):
        new.run()


def test_one_of_ours(tmp_path: Path, new: New, old: OldRelay) -> None:
    """Has another way."""
    (old.root / "usr/local/lib/chatmaild/chatmail.ini").unlink()
    old.write("etc/chatmail-relay/chatmail.ini", INI.encode())
    with pytest.raises(OperatorError) as caught:
        new.run()
    assert "chatmail-relay backup" in caught.value.hint


@pytest.mark.parametrize("source", ["", "-oProxyCommand=x", "a b", "/nowhere/at/all"])
def test_sources(source: str) -> None:
    """What is neither a folder nor a machine is refused."""
    with pytest.raises(OperatorError), opened(source):
        pass


def test_still_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last time is when nobody can write there any more."""
    shown = b"LISTEN 0 100 0.0.0.0:25 0.0.0.0:*\nLISTEN 0 9 [::]:22 [::]:*\n"

    class Answer:
        returncode = 0
        stdout = shown

    place = Place("old", ("ssh", "old"))
    monkeypatch.setattr(place, "run", lambda *_argv: Answer)
    with pytest.raises(OperatorError, match=r"on port 25\n"):
        importing.refuse_running(place)
    Answer.stdout = shown[35:]
    importing.refuse_running(place)
