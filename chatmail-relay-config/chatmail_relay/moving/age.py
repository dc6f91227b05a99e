"""age(1) encrypts and decrypts a stream, in chunks that are each authentic.

Debian has it in both suites, it is one small program, and needs no keyring. Without keys it asks
for a passphrase on the terminal. https://age-encryption.org/v1
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from chatmail_relay.errors import OperatorError

PROGRAM = "age"


@contextmanager
def encrypting(
    output: IO[bytes], recipients: Sequence[str], files: Sequence[str]
) -> Iterator[IO[bytes]]:
    """A stream into which plain text is written, which arrives in OUTPUT encrypted.

    Raises OperatorError when that fails; what is in OUTPUT then is nothing.
    """
    keys = [word for key in recipients for word in ("--recipient", key)]
    keys += [word for name in files for word in ("--recipients-file", name)]
    with _started(["--encrypt", *(keys or ["--passphrase"])], subprocess.PIPE, output) as process:
        assert process.stdin
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why by its exit code and on the terminal
        except BaseException:
            process.kill()
            raise
    _judge(process.returncode, "encrypt", "Are these public keys of age-keygen(1)?")


@contextmanager
def decrypting(source: IO[bytes], identities: Sequence[str]) -> Iterator[IO[bytes]]:
    """The plain text of SOURCE; raises OperatorError unless all of it is authentic.

    That it is whole is known at its end alone.
    """
    keys = [word for name in identities for word in ("--identity", name)]
    with _started(["--decrypt", *keys], source, subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield process.stdout
            while process.stdout.read(65536):
                pass
        except BaseException as error:
            process.kill()
            if isinstance(error, OperatorError) and process.wait() > 0:
                break_off = error
                raise _failed("decrypt", "Is it whole, and the key its own?") from break_off
            raise
    _judge(process.returncode, "decrypt", "Is it whole, and the key its own?")


def _started(
    options: Sequence[str], source: "int | IO[bytes]", output: "int | IO[bytes]"
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen([PROGRAM, *options], stdin=source, stdout=output)
    except FileNotFoundError:
        raise OperatorError("the program age is missing", "Run `apt install age`.") from None


def _judge(code: int, what: str, hint: str) -> None:
    if code != 0:
        raise _failed(what, hint)


def _failed(what: str, hint: str) -> OperatorError:
    return OperatorError(f"age could not {what} it, and has said why above", hint)
