"""Run other programs: one place for their output, their exit codes and the errors made of them.

A command that fails becomes `CommandFailed`, which names the command, its exit code and the last
lines it said. `Failure` is the base of all errors that are shown to a person as they are, without
a traceback.
"""

from __future__ import annotations

import collections
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LAST_LINES = 25
"""How many of a failed command's last lines its error shows."""

Argument = str | Path


class Failure(Exception):
    """Something a person has to know: what is wrong and, when known, what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class CommandFailed(Failure):
    """A command ended with another exit code than 0, or could not be started (code 127)."""

    def __init__(self, command: Sequence[Argument], code: int, output: str) -> None:
        self.command = [str(word) for word in command]
        self.code = code
        self.output = output
        lines = output.rstrip().splitlines()[-LAST_LINES:]
        said = "".join(f"\n    {line}" for line in lines)
        super().__init__(f"{_shorten(shlex.join(self.command))}: {_ending(code)}{said}")


def _ending(code: int) -> str:
    if code < 0:
        return f"killed by signal {-code}"
    if code == 127:
        return "cannot be run"
    return f"exit code {code}"


def _shorten(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]} …"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment with a fixed locale and with `extra` on top."""
    return {**os.environ, "LC_ALL": "C.UTF-8", **(extra or {})}


def run(
    command: Sequence[Argument],
    *,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end, with stdout and stderr taken as text.

    `env` is added to our own environment, `timeout` is in seconds. Raises `CommandFailed` when
    the command cannot be started, takes too long, or (with `check`) fails.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=environment(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise CommandFailed(words, 127, str(error)) from None
    except subprocess.TimeoutExpired as error:
        said = error.stderr or error.stdout or b""
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        raise CommandFailed(words, 124, f"{text}\nnot done after {timeout} s") from None
    if check and done.returncode:
        raise CommandFailed(words, done.returncode, done.stdout + done.stderr)
    return done


def stream(
    command: Sequence[Argument],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> None:
    """Run `command`, handing each line it says to `on_line` while it runs.

    stdout and stderr come as one. With `log`, all of it is also written to that file. Raises
    `CommandFailed` as `run` does.
    """
    words = [str(word) for word in command]
    last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise CommandFailed(words, 127, str(error)) from None
    with process, (log or Path(os.devnull)).open("a", encoding="utf-8") as record:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                record.write(line)
                last.append(line)
                on_line(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise CommandFailed(words, process.returncode, "".join(last))
