"""A backup has all of a relay, and another machine becomes that relay by it."""

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.moving import age, archive, backup, restore, settle
from chatmail_relay.moving.archive import Head, Member, Writer
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

from tests.unit.moving.upstream import DOMAIN, HASH, TODAY, UIDLIST

INI = f"# mine\n[params]\nmail_domain = {DOMAIN}\ntls_mode = acme\n"
TOKEN = "2026-10-01 token\n"
WHEN = "2026-01-02 03:04"


def relay(root: Path, *names: str) -> Tree:
    """A relay's files, with a message in each account."""
    mail = f"var/lib/chatmail/mail/{DOMAIN}"
    files = {
        "etc/chatmail-relay/chatmail.ini": INI.encode(),
        "etc/chatmail-relay/www/de/index.html": b"mine",
        "var/lib/chatmail-relay/dkim/opendkim.private": b"dkim",
        "var/lib/chatmail-relay/tls/relay.pem": b"tls",
        "var/lib/acme/accounts/a%2fdirectory/b/privkey": b"account",
    }
    for name in names:
        box = f"{mail}/{name}@{DOMAIN}"
        files |= {
            f"{box}/password": HASH,
            f"{box}/cur/m1:2,S": b"message of " + name.encode(),
            f"{box}/.Box/cur/m2:2,": b"in a folder",
            f"{box}/dovecot-uidlist": UIDLIST,
            f"{box}/dovecot.index": b"index",
            f"var/lib/chatmail-metadata/tokens/{name}@{DOMAIN}": TOKEN.encode(),
        }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        os.utime(root / path, (TODAY, TODAY))
    return Tree(root)


def written(tree: Tree) -> bytes:
    """A backup, not encrypted."""
    stream = io.BytesIO()
    backup.write(stream, Settings.from_text(INI), INI, tree, clock=lambda: TODAY)
    return stream.getvalue()


def box(tree: Tree, name: str) -> Path:
    """A mailbox."""
    return tree.real(f"/var/lib/chatmail/mail/{DOMAIN}/{name}@{DOMAIN}")


def test_all(tmp_path: Path) -> None:
    """Settings with their comments, pages, keys, accounts with mail and times; no index."""
    stored = written(relay(tmp_path / "a", "alice", "bob"))
    new = Tree(tmp_path / "b")
    said: list[str] = []
    back = restore.read(io.BytesIO(stored), "file", new, say=said.append)
    assert not new.real("/etc/chatmail-relay").exists()
    back.finish(settle.configure)
    for path in ("/etc/chatmail-relay/chatmail.ini", "/etc/chatmail-relay/www/de/index.html"):
        assert new.real(path).read_bytes() == (tmp_path / "a" / path[1:]).read_bytes()
    for path in (
        "/var/lib/chatmail-relay/dkim/opendkim.private",
        "/var/lib/chatmail-relay/tls/relay.pem",
    ):
        assert new.real(path).read_bytes() == (tmp_path / "a" / path[1:]).read_bytes()
        assert stat.S_IMODE(new.real(path).stat().st_mode) == 0o600
    assert new.real("/var/lib/acme/accounts/a%2fdirectory/b/privkey").read_bytes() == b"account"
    for name in ("alice", "bob"):
        assert (box(new, name) / "cur/m1:2,S").read_bytes() == b"message of " + name.encode()
        assert (box(new, name) / ".Box/cur/m2:2,").exists()
        assert (box(new, name) / "dovecot-uidlist").read_bytes() == UIDLIST
        assert (box(new, name) / "password").stat().st_mtime == TODAY
        assert not (box(new, name) / "dovecot.index").exists()
        tokens = new.real(f"/var/lib/chatmail-metadata/tokens/{name}@{DOMAIN}")
        assert tokens.read_text() == TOKEN
    assert "           2  accounts are added, 4 messages" in said
    assert not list(new.real("/var/lib/chatmail/mail").glob("*/.restoring"))


def test_accounts_that_are_here(tmp_path: Path) -> None:
    """Stay as they are; a folder without a password is nobody's."""
    stored = written(relay(tmp_path / "a", "alice", "bob", "carol"))
    new = relay(tmp_path / "b", "alice")
    (box(new, "alice") / "cur/m1:2,S").unlink()
    (box(new, "alice") / "password").write_bytes(b"")
    box(new, "bob").mkdir()
    (box(new, "bob") / "cur").mkdir()
    said: list[str] = []
    restore.read(io.BytesIO(stored), "file", new, say=said.append)
    assert (box(new, "alice") / "password").read_bytes() == b""
    assert not list((box(new, "alice") / "cur").iterdir())
    assert (box(new, "bob") / "cur/m1:2,S").exists()
    assert "           1  accounts are here already, and stay as they are" in said


def test_files_that_are_here(tmp_path: Path) -> None:
    """Give way, and are kept beside."""
    stored = written(relay(tmp_path / "a"))
    new = relay(tmp_path / "b")
    ini = new.real("/etc/chatmail-relay/chatmail.ini")
    ini.write_text(INI + "registration = closed\n")
    restore.read(io.BytesIO(stored), "file", new, say=list[str]().append).finish(settle.configure)
    assert ini.read_text() == INI
    assert "closed" in ini.with_name("chatmail.ini.before-move").read_text()


def test_dry_run(tmp_path: Path) -> None:
    """Counts, and writes nothing."""
    stored = written(relay(tmp_path / "a", "alice"))
    (tmp_path / "b").mkdir()
    said: list[str] = []
    restore.read(io.BytesIO(stored), "file", Tree(tmp_path / "b"), dry=True, say=said.append)
    assert not list((tmp_path / "b").iterdir())
    assert "           1  accounts would be added, 2 messages" in said


def test_cut_off(tmp_path: Path) -> None:
    """Whole accounts stay, and the next time brings the others."""
    stored = written(relay(tmp_path / "a", "alice", "bob"))
    new = Tree(tmp_path / "b")
    half = stored[: stored.index(b"message of bob") - 700]
    with pytest.raises(OperatorError, match="not all of it"):
        restore.read(io.BytesIO(half), "file", new, say=list[str]().append)
    assert (box(new, "alice") / "cur/m1:2,S").exists()
    assert not box(new, "bob").exists()
    restore.read(io.BytesIO(stored), "file", new, say=list[str]().append)
    assert (box(new, "bob") / "cur/m1:2,S").exists()


def test_links_in_mailboxes(tmp_path: Path) -> None:
    """Are not followed: whoever owns the mail could have root read any file."""
    tree = relay(tmp_path / "a", "alice")
    (tmp_path / "secret").write_bytes(b"SECRET")
    (box(tree, "alice") / "cur/x:2,").symlink_to(tmp_path / "secret")
    os.mkfifo(box(tree, "alice") / "cur/pipe:2,")
    (box(tree, "alice") / ".Away").symlink_to(tmp_path)
    assert b"SECRET" not in written(tree)


def archived(*members: Member) -> io.BytesIO:
    """A backup of MEMBERS after the right beginning."""
    stream = io.BytesIO()
    writer = Writer(stream)
    writer.add(Member(archive.HEAD, Head(DOMAIN, "1.0", WHEN).to_json()))
    writer.add(Member(archive.INI, INI.encode()))
    for member in members:
        writer.add(member)
    writer.close()
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "mail/../../x", "mail//x", "etc/passwd", "dkim/./x", "www/../x"]
)
def test_hostile_names(tmp_path: Path, name: str) -> None:
    """Stop it before anything is made of them."""
    with pytest.raises(OperatorError, match="nothing that a backup holds"):
        restore.read(archived(Member(name, b"x")), "f", Tree(tmp_path), say=list[str]().append)


@pytest.mark.parametrize(
    "member",
    [
        Member(f"mail/Upper@{DOMAIN}/password", b"x"),
        Member(f"mail/echo@{DOMAIN}/password", b"x"),
        Member("mail/a@other.org/password", b"x"),
        Member(f"mail/a@{DOMAIN}/authorized_keys", b"x"),
        Member(f"mail/a@{DOMAIN}/cur/x", target="/etc/passwd"),
        Member(f"tokens/a@{DOMAIN}", b"2026-10-01 x\n"),
        Member("acme/live/x", target="../../../etc"),
        Member("acme/conf/target", b"x"),
        Member("tls/other.pem", b"x"),
    ],
)
def test_hostile_members(tmp_path: Path, member: Member) -> None:
    """Are passed over."""
    back = restore.read(archived(member), "f", Tree(tmp_path), say=list[str]().append)
    back.finish(settle.configure)
    made = [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]
    assert [path.name for path in made] == ["chatmail.ini"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no backup"),
        (b"nonsense" * 1000, "no backup"),
    ],
)
def test_no_backup(tmp_path: Path, content: bytes, words: str) -> None:
    """Says so."""
    with pytest.raises(OperatorError, match=words):
        restore.read(io.BytesIO(content), "f", Tree(tmp_path))


def test_of_a_later_version(tmp_path: Path) -> None:
    """Says which version it wants."""
    stream = io.BytesIO()
    writer = Writer(stream)
    writer.add(Member(archive.HEAD, Head(DOMAIN, "9.0", WHEN, form=2).to_json()))
    writer.close()
    stream.seek(0)
    with pytest.raises(OperatorError, match=r"version 9\.0"):
        restore.read(stream, "f", Tree(tmp_path))


@pytest.fixture
def fake_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An age that turns bits around, and wants a key."""
    program = tmp_path / "bin/age"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nif 'bad' in sys.argv: sys.exit('age: bad key')\n"
        "data = sys.stdin.buffer.read()\n"
        "sys.stdout.buffer.write(bytes(byte ^ 255 for byte in data))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@contextmanager
def _input(content: bytes, path: Path) -> Iterator[io.BufferedReader]:
    path.write_bytes(content)
    with path.open("rb") as file:
        yield file


@pytest.mark.usefixtures("fake_age")
def test_encrypted(tmp_path: Path) -> None:
    """What goes through age comes back; a file is there when it is whole."""
    with backup.output(str(tmp_path / "b")) as file, age.encrypting(file, ["key"], []) as stream:
        stream.write(b"text")
        assert not (tmp_path / "b").exists()
    assert (tmp_path / "b").read_bytes() == bytes(byte ^ 255 for byte in b"text")
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    with (tmp_path / "b").open("rb") as file, age.decrypting(file, ["key"]) as stream:
        assert stream.read() == b"text"


@pytest.mark.usefixtures("fake_age")
def test_wrong_key(tmp_path: Path) -> None:
    """No file is left, and nothing counts that was read."""
    with (
        pytest.raises(OperatorError, match="encrypt"),
        backup.output(str(tmp_path / "b")) as file,
        age.encrypting(file, ["bad"], []) as stream,
    ):
        stream.write(b"text" * 100_000)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
    with (
        _input(b"x", tmp_path / "c") as file,
        pytest.raises(OperatorError, match="decrypt"),
        age.decrypting(file, ["bad"]) as stream,
    ):
        restore.read(stream, "c", Tree(tmp_path))


def test_without_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        _input(b"x", tmp_path / "c") as file,
        pytest.raises(OperatorError, match="age is missing"),
        age.decrypting(file, []),
    ):
        pass


def test_never_over_a_file(tmp_path: Path) -> None:
    """A backup that is there stays."""
    (tmp_path / "b").write_bytes(b"older")
    with pytest.raises(OperatorError, match="is there already"), backup.output(str(tmp_path / "b")):
        pass
    assert (tmp_path / "b").read_bytes() == b"older"
