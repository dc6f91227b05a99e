"""Each checker hands on its program's refusal, with the places an operator knows."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest
from chatmail_relay.checkers import dovecot, iroh, nginx, opendkim, postfix, systemd, unbound
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import File
from chatmail_relay.stage import Stage, staged
from chatmail_relay.tree import Tree

GOOD_STREAMS = """\
enable_relay = true
http_bind_addr = "127.0.0.1:3340"
enable_stun = false
enable_quic_addr_discovery = false
enable_metrics = false
[limits.client.rx]
bytes_per_second = 1
max_burst_bytes = 4294967295
"""


class Programs:
    """Stand-ins for the daemons' checkers, found first on PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, script: str) -> None:
        """A program NAME which is the shell's SCRIPT."""
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Programs(folder)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage with one file of each daemon."""
    files = [
        File(PurePosixPath("/etc/postfix/main.cf"), b"x = texthash:/etc/postfix/chatmail/table"),
        File(PurePosixPath("/etc/postfix/chatmail/table"), b"a b"),
        File(PurePosixPath("/etc/dovecot/dovecot.conf"), b""),
        File(PurePosixPath("/etc/nginx/chatmail-relay.conf"), b""),
        File(PurePosixPath("/etc/unbound/chatmail.conf"), b""),
        File(PurePosixPath(iroh.PREFIX), GOOD_STREAMS.encode()),
        File(PurePosixPath("/etc/chatmail-relay/opendkim.conf"), b""),
        File(PurePosixPath("/etc/systemd/system/nginx.service.d/50-chatmail-relay.conf"), b""),
        File(PurePosixPath("/etc/systemd/system/postfix@-.service.d/50.conf"), b""),
    ]
    with staged(files, Tree(tmp_path / "root")) as made:
        yield made


ALL_FINE = {
    "postconf": 'echo "x = texthash:$2/chatmail/table"',
    "postmap": "exit 1",
    "doveconf": "echo fine",
    "nginx": "exit 0",
    "unbound-checkconf": "exit 0",
    "opendkim": "exit 0",
    "systemd-analyze": "echo 'other.service: something about another unit' >&2; exit 1",
}

REFUSALS: list[tuple[ModuleType, str, str, str]] = [
    (postfix, "postconf", 'echo "warning: $2/main.cf: unused parameter: y=z" >&2', "unused"),
    (postfix, "postconf", "exit 1", "Postfix refuses"),
    (
        postfix,
        "postconf",
        'case $3 in -b) echo "warning: $4, line 9: missing end marker" >&2 ;; '
        '*) echo "bounce_template_file = $2/chatmail/bounce.cf" ;; esac',
        "bounce.cf, line 9",
    ),
    (postfix, "postmap", 'echo "warning: ${5#*:}, line 1: missing value" >&2', "table, line 1"),
    (dovecot, "doveconf", 'echo "Error in $2 line 3: unknown setting" >&2; exit 89', "line 3"),
    (dovecot, "doveconf", 'echo "Warning: obsolete" >&2', "obsolete"),
    (nginx, "nginx", 'echo "unknown directive in $4:7" >&2; exit 1', "relay.conf:7"),
    (opendkim, "opendkim", 'echo "opendkim: $3: unknown" >&2; exit 78', "opendkim.conf: unknown"),
    (unbound, "unbound-checkconf", 'echo "$1:2: syntax error" >&2; exit 1', "chatmail.conf:2"),
    (
        systemd,
        "systemd-analyze",
        'echo "${SYSTEMD_UNIT_PATH%:}/nginx.service.d/50.conf:2: Unknown key" >&2',
        "nginx.service.d/50.conf:2",
    ),
]


@pytest.mark.parametrize("checker", [postfix, dovecot, nginx, unbound, opendkim, systemd])
def test_fine(checker: ModuleType, programs: Programs, stage: Stage) -> None:
    """What the program accepts passes without a word."""
    for name, script in ALL_FINE.items():
        programs.add(name, script)
    checker.check(stage)


@pytest.mark.parametrize(("checker", "name", "script", "words"), REFUSALS)
def test_refusal_in_the_programs_words(
    checker: ModuleType, name: str, script: str, words: str, programs: Programs, stage: Stage
) -> None:
    """The live path and the line are in the message, the stage's folder is not."""
    for other, fine in ALL_FINE.items():
        programs.add(other, fine)
    programs.add(name, script)
    with pytest.raises(OperatorError) as caught:
        checker.check(stage)
    assert words in caught.value.problem
    assert str(stage.root) not in caught.value.problem
    assert "Nothing was changed" in caught.value.hint


GUESTS = {
    "listen 443 ssl;": True,
    "  listen [::]:8443 ssl default_server;": True,
    "listen 192.0.2.1:443;": True,
    "server { listen 443; }": True,
    "server_name a.b;listen 443;": True,
    "listen 80;": False,
    "not_listen 443;": False,
    "listen 80; # listen 443;": False,
    "listen 4430;": False,
    "listen 127.0.0.1:9443;": False,
    "# listen 443;": False,
}


@pytest.mark.parametrize(("line", "refused"), GUESTS.items())
def test_guests_on_our_ports_are_named(
    line: str, refused: bool, programs: Programs, stage: Stage
) -> None:
    """A site of the host on 443 or 8443 is refused with its file and line; ours are not."""
    dump = (
        f"# configuration file {stage.root}/etc/nginx/chatmail-relay.conf:\nlisten 443;\n\n"
        f"# configuration file /etc/nginx/sites-enabled/shop:\nserver {{\n{line}\n}}\n"
    )
    programs.add("nginx", f"cat <<'EOF'\n{dump}EOF")
    if not refused:
        nginx.check(stage)
        return
    with pytest.raises(OperatorError, match=r"/etc/nginx/sites-enabled/shop:2: .* (443|8443)"):
        nginx.check(stage)


def test_missing_program_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is not installed is said so."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(OperatorError, match="doveconf is missing"):
        dovecot.check(stage)


def test_staged_files_mention_each_other(stage: Stage) -> None:
    """A copy names the copies, so that a checker judges the new configuration only."""
    text = stage.path("/etc/postfix/main.cf").read_text()
    assert text == f"x = texthash:{stage.path('/etc/postfix/chatmail/table')}"


def test_only_root_sees_the_stage(stage: Stage) -> None:
    """It holds the new key."""
    assert stage.root.stat().st_mode & 0o077 == 0


BAD_STREAMS = {
    "a misspelled key": (GOOD_STREAMS.replace("enable_stun", "enabel_stun"), "key as enabel_stun"),
    "a key of another table": (GOOD_STREAMS.replace("client.rx", "client.tx"), "client.tx.bytes"),
    "a further key": (f"stun_bind_addr = '[::]:3478'\n{GOOD_STREAMS}", "stun_bind_addr; known"),
    "a missing key": (GOOD_STREAMS.replace("enable_metrics = false\n", ""), "metrics is missing"),
    "all addresses": (GOOD_STREAMS.replace("127.0.0.1", "[::]"), "allowed is '127.0.0.1:3340'"),
    "the other truth": (GOOD_STREAMS.replace("stun = false", "stun = true"), "allowed is False"),
    "a number for a truth": (GOOD_STREAMS.replace("stun = false", "stun = 0"), "allowed is False"),
    "no limit": (GOOD_STREAMS.replace("second = 1", "second = 0"), "from 1 to"),
    "too large a number": (GOOD_STREAMS.replace("4294967295", "4294967296"), "from 1 to"),
    "a truth for a number": (GOOD_STREAMS.replace("second = 1", "second = true"), "from 1 to"),
    "words for a number": (GOOD_STREAMS.replace("second = 1", "second = 'all'"), "from 1 to"),
    "nothing": ("", "enable_relay is missing"),
    "no TOML": ("enable_relay: true\n", "is no TOML"),
    "no text": ("\udcff", "is no TOML"),
}


@pytest.mark.parametrize(("text", "words"), BAD_STREAMS.values(), ids=BAD_STREAMS)
def test_the_relay_for_streams_gets_nothing_that_it_would_pass_over(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the file and the key, and its unit does not start."""
    path = tmp_path / "iroh-relay.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OperatorError, match=words):
        iroh.check_file(path, "iroh-relay.toml")
    assert iroh.main([str(path)]) == 1
    said = capsys.readouterr().err
    assert str(path) in said
    assert "chatmail-relay apply" in said


def test_the_relay_for_streams_does_not_start_without_its_file(tmp_path: Path) -> None:
    """By itself it would listen on port 80 of all addresses."""
    with pytest.raises(OperatorError, match="cannot be read: No such file"):
        iroh.check_file(tmp_path / "iroh-relay.toml", "iroh-relay.toml")
    (tmp_path / "iroh-relay.toml").write_text(GOOD_STREAMS, encoding="ascii")
    assert iroh.main([str(tmp_path / "iroh-relay.toml")]) == 0
