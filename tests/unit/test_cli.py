"""The command: exit codes, and words instead of tracebacks."""

import os
import threading
from pathlib import Path

import pytest
from chatmail_relay import cli, commands
from chatmail_relay.lock import exclusive
from chatmail_relay.zone import command as zone

STATUS = "".join(
    f"Package: {name}\nStatus: install ok installed\nMaintainer: x\nArchitecture: amd64\n"
    f"Description: x\nVersion: {version}\n\n"
    for name, version in {
        "dovecot-core": "1:2.4.1+dfsg1-6",
        "nginx": "1.26.3-3+deb13u1",
        "postfix": "3.10.13-0",
    }.items()
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Another system, with the daemons' packages and a relay's settings."""
    for path, text in {
        "var/lib/dpkg/status": STATUS,
        "etc/chatmail-relay/chatmail.ini": "[params]\nmail_domain = _alpha.lab\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def run(*argv: object) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as caught:
        cli.main([str(word) for word in argv])
    return int(caught.value.code or 0)


def test_check_diff_apply_check(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Looking changes nothing; afterwards there is nothing to do."""
    assert run("apply", "--root", root, "--check") == 1
    assert run("apply", "--root", root, "--diff") == 0
    assert "+mail_domain" not in capsys.readouterr().out.partition("relay.pem")[2]
    assert not (root / "etc/postfix").exists()
    assert run("apply", "--root", root) == 0
    assert (root / "var/lib/chatmail-relay/tls/relay.pem").stat().st_mode & 0o777 == 0o600
    said = capsys.readouterr().out
    assert "  new            /etc/postfix/main.cf" in said
    assert "publish the DNS records which `chatmail-relay dns` prints" in said
    assert run("apply", "--root", root, "--check") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_dns(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The records follow from the settings and the key, which the first apply makes."""
    assert run("dns", "--root", root) == 1
    assert "Run `chatmail-relay apply`, which makes it." in capsys.readouterr().err
    assert run("apply", "--root", root) == 0
    assert run("dns", "--root", root) == 0
    assert "\n_alpha.lab. " in capsys.readouterr().out
    assert run("dns", "--root", root, "--check", "--format", "zone") == 1
    assert "Use --format table" in capsys.readouterr().err


def test_dns_check_without_dns(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be asked has an exit code of its own."""
    monkeypatch.setattr(zone, "resolvers", list)
    assert run("apply", "--root", root) == 0
    assert run("dns", "--root", root, "--check") == 3
    assert "there is no resolver to ask" in capsys.readouterr().out


def test_dns_of_an_address(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A relay without a name has no records, which is fine."""
    ini = root / "etc/chatmail-relay/chatmail.ini"
    ini.write_text("[params]\nmail_domain = 192.0.2.1\n")
    assert run("dns", "--root", root, "--check") == 0
    assert "nothing to publish" in capsys.readouterr().out
    assert run("dns", "--root", root, "--format", "json") == 0
    assert '"records": []' in capsys.readouterr().out


def test_secrets_are_not_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the token nor the key is part of a diff."""
    with (root / "etc/chatmail-relay/chatmail.ini").open("a") as ini:
        ini.write("invite_token = open-sesame\nregistration = invite\n")
    assert run("apply", "--root", root, "--diff") == 0
    out = capsys.readouterr().out
    assert "open-sesame" not in out
    assert "PRIVATE KEY" not in out
    assert "doveauth.ini: new, not shown" in out


def test_bad_value(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two lines: the place and what is allowed, and what to do."""
    (root / "etc/chatmail-relay/chatmail.ini").write_text("[params]\nmail_domain = a b\n")
    assert run("apply", "--root", root) == 1
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert "chatmail.ini:2: mail_domain: 'a b' is not allowed" in err[0]


def test_missing_packages(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the daemons there is nothing to configure."""
    (root / "var/lib/dpkg/status").write_text("")
    assert run("apply", "--root", root) == 1
    assert "not installed: dovecot-core, nginx, postfix" in capsys.readouterr().err


def test_bug_is_no_traceback(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even what nobody thought of is said in words."""

    def broken(path: Path) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(commands, "load", broken)
    assert run("apply", "--root", root) == 1
    err = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: boom" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("argv", [[], ["bogus"], ["apply", "--bogus"], ["apply", "--restart"]])
def test_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is exit code 2."""
    assert run(*argv) == 2
    assert "usage:" in capsys.readouterr().err


def test_unit_of_somebody_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the relay's units can be restarted."""
    assert run("apply", "--root", root, "--restart", "ssh") == 1
    assert "ssh.service is no unit of the relay" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They say something and succeed."""
    assert run(option) == 0
    assert "chatmail-relay" in capsys.readouterr().out


def test_second_one_waits_and_says_for_whom(tmp_path: Path) -> None:
    """Two at once would undo each other's work."""
    path, said, order = tmp_path / "lock", [""], ["first"]
    waiting = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def second() -> None:
        with exclusive(path, say):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(path, said.append):
        thread.start()
        assert waiting.wait(10)
        order.append("first is done")
    thread.join(10)
    assert order == ["first", "first is done", "second"]
    assert f"process {os.getpid()}" in said[-1]


def test_restart_of_what_does_not_run_here(root: Path) -> None:
    """An upgrade names all units; those that these settings do not need are left alone."""
    assert run("apply", "--root", root, "--restart", "chatmail-acme-redirector", "doveauth") == 0
