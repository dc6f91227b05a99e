"""Where the old relay's files are: a folder, or another machine over ssh(1).

Both are looked at by the same programs, which every Debian has: find(1), tar(1), cat(1). Nothing
is written there.
"""

import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from chatmail_relay.errors import OperatorError

QUIET = ("No such file or directory", "Warning: ", "file changed as we read it", "File removed")
"""What find and tar say of files that go or change while they look."""


class Place:
    """A root of files. Paths are relative to it; programs run in it, with the words of C."""

    def __init__(self, name: str, prefix: Sequence[str] = (), folder: Path | None = None) -> None:
        self.name = name
        self._prefix = tuple(prefix)
        self._folder = folder

    @property
    def is_remote(self) -> bool:
        """Whether it is another machine."""
        return bool(self._prefix)

    def run(self, *argv: str) -> "subprocess.CompletedProcess[bytes]":
        """The finished ARGV; raises OperatorError when the place cannot be reached."""
        try:
            done = subprocess.run(
                self._command(argv),
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise _cannot_run(argv[0], error) from error
        self._refuse_unreachable(done.returncode, done.stderr)
        return done

    def read(self, path: str) -> bytes | None:
        """The content of a file, through links; None where there is none. Raises OperatorError."""
        # cat's own words tell a missing file from one that may not be read.
        done = self.run("cat", "--", _plain(path))
        if done.returncode == 0:
            return done.stdout
        words = done.stderr.decode(errors="replace").strip()
        if "No such file or directory" in words or "Not a directory" in words:
            return None
        raise OperatorError(f"{self.name}: {words}", "Who reads there has to be root.")

    @contextmanager
    def stream(self, *argv: str, fed: Iterable[bytes] = ()) -> Iterator[IO[bytes]]:
        """What ARGV writes, while it runs, with what it is FED on its standard input.

        Raises OperatorError when it fails, but for files that went while it looked.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    self._command(argv),
                    cwd=self._folder,
                    env=_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            except OSError as error:
                raise _cannot_run(argv[0], error) from error
            with process:
                assert process.stdin
                assert process.stdout
                feeder = threading.Thread(target=_feed, args=(process.stdin, list(fed)))
                feeder.start()
                try:
                    yield process.stdout
                    while process.stdout.read(65536):  # what pads the end of an archive
                        pass
                except BaseException:
                    process.kill()
                    raise
                finally:
                    feeder.join()
            errors.seek(0)
            self._judge(argv[0], process.returncode, errors.read())

    def _command(self, argv: Sequence[str]) -> list[str]:
        if not self._prefix:
            return list(argv)
        return [*self._prefix, f"cd / && LC_ALL=C exec {shlex.join(argv)}"]

    def _judge(self, program: str, code: int, errors: bytes) -> None:
        self._refuse_unreachable(code, errors)
        lines = errors.decode(errors="replace").splitlines()
        # tar's last word about what it has passed over.
        noise = (*QUIET, "Exiting with failure status due to previous errors")
        serious = [line for line in lines if not any(words in line for words in noise)]
        if serious or (code != 0 and not lines):
            said = serious[0] if serious else f"{program} ended with {code}"
            raise OperatorError(
                f"{self.name}: {said}", "Run the same again: it goes on where it was."
            )

    def _refuse_unreachable(self, code: int, errors: bytes) -> None:
        if self._prefix and code == 255:
            words = errors.decode(errors="replace").strip().splitlines()
            raise OperatorError(
                f"{self.name} cannot be reached: {words[-1] if words else 'ssh failed'}",
                f"Try `ssh {self.name} true`. Run the same again: it goes on where it was.",
            )


@contextmanager
def opened(source: str) -> Iterator[Place]:
    """The place that SOURCE names: a folder, or else a destination of ssh. Raises OperatorError."""
    if source and (source.startswith(("/", ".")) or Path(source).is_dir()):
        folder = Path(source).resolve()
        if not folder.is_dir():
            raise OperatorError(
                f"there is no folder {source}", "Name a folder, or USER@HOST for ssh."
            )
        yield Place(source, folder=folder)
        return
    if not source or source.startswith("-") or any(character.isspace() for character in source):
        raise OperatorError(
            f"{source!r} is neither a folder nor a destination of ssh",
            "Name a folder, or USER@HOST for ssh.",
        )
    with tempfile.TemporaryDirectory(prefix="chatmail-relay-") as sockets:
        # One connection for all commands: somebody who types a password does so once.
        shared = ("-o", "ControlMaster=auto", "-o", f"ControlPath={sockets}/ssh")
        alive = ("-o", "ControlPersist=60", "-o", "ServerAliveInterval=15")
        place = Place(source, ("ssh", *shared, *alive, "-T", "--", source))
        try:
            yield place
        finally:
            with suppress(OSError):
                subprocess.run(
                    ["ssh", *shared, "-O", "exit", "--", source], capture_output=True, check=False
                )


def _plain(path: str) -> str:
    """PATH below the root, which no `..` leaves."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise OperatorError(f"{path!r} is no path of a file", "Name a file below the old root.")
    return "/".join(parts)


def _feed(pipe: IO[bytes], pieces: list[bytes]) -> None:
    with suppress(BrokenPipeError), pipe:
        for piece in pieces:
            pipe.write(piece)


def _environment() -> Mapping[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _cannot_run(program: str, error: OSError) -> OperatorError:
    return OperatorError(
        f"{program} cannot be run: {error.strerror}",
        "Install what is missing: `apt install findutils openssh-client tar`.",
    )
