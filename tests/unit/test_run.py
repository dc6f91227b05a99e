"""devtools.run: output, exit codes, and errors a person can read."""

from pathlib import Path

import pytest

from devtools.run import CommandFailed, Failure, run, stream


def test_output_is_text() -> None:
    """stdout and stderr come apart, as text, whatever bytes they hold."""
    done = run(["sh", "-c", r"printf 'a\377b'; echo e >&2"])
    assert (done.stdout, done.stderr) == ("a\N{REPLACEMENT CHARACTER}b", "e\n")


def test_failure_names_command_code_and_last_lines() -> None:
    """The error of a failed command says what it was and what it said last."""
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "seq 100; echo why >&2; exit 3"])
    said = str(caught.value)
    assert "exit code 3" in said
    assert said.endswith("\n    why")
    assert "\n    1\n" not in said
    assert caught.value.code == 3


def test_failure_is_allowed() -> None:
    """Without check the exit code is the caller's to look at."""
    assert run(["false"], check=False).returncode == 1


@pytest.mark.parametrize("command", [["/nonexistent/program"], [Path("/")]])
def test_command_that_cannot_start(command: list[str]) -> None:
    """A program that is not there is an error like any other."""
    with pytest.raises(CommandFailed, match="cannot be run"):
        run(command)
    with pytest.raises(CommandFailed, match="cannot be run"):
        stream(command, print)


def test_time_limit() -> None:
    """A command that takes too long is ended, and the error says so."""
    with pytest.raises(CommandFailed, match="not done after"):
        run(["sleep", "60"], timeout=0.01)


def test_stdin_and_environment() -> None:
    """Input is handed over, none means an empty one; variables are added to ours."""
    assert run(["cat"], stdin="hi").stdout == "hi"
    assert run(["cat"]).stdout == ""
    assert run(["sh", "-c", "echo $LC_ALL $X"], env={"X": "y"}).stdout == "C.UTF-8 y\n"


def test_stream_hands_over_each_line(tmp_path: Path) -> None:
    """Lines come one by one, both outputs together, and are logged."""
    lines: list[str] = []
    log = tmp_path / "log"
    stream(["sh", "-c", "echo a; echo b >&2"], lines.append, log=log)
    assert lines == ["a", "b"]
    assert log.read_text() == "a\nb\n"


def test_stream_failure_has_last_lines() -> None:
    """A streamed command's error has its last lines, too."""
    with pytest.raises(CommandFailed, match="killed by signal 9\n    last"):
        stream(["sh", "-c", "echo last; kill -9 $$"], lambda _line: None)


def test_failure_with_hint() -> None:
    """What to do stands on a line of its own."""
    assert str(Failure("broken", "Mend it.")) == "broken\nMend it."
    assert str(Failure("broken")) == "broken"
