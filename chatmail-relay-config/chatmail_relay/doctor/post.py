"""Writes and reads mail as apps do: through port 465, and by IMAP on port 993.

TLS is not verified here: what is shown on each port is compared with the file by a check of its
own, and whether clients trust that by another. RFC 6409, 9051, 5464 (METADATA).
"""

import imaplib
import re
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from chatmail_relay.doctor.openpgp import Letter
from chatmail_relay.doctor.world import Identity

PAUSE = 0.1
"""Seconds between looks at the mailbox."""
SUBMISSIONS, IMAPS = 465, 993
TIMEOUT = 15.0
"""Seconds for one answer: a login may have to wait for others."""


class Trouble(Exception):
    """What did not work, as the end of a sentence."""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say in one way what two libraries say in many."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        raise Trouble(f"{what}: {error.smtp_code} {text}") from None
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise Trouble(f"{what}: {code} {said.decode('utf-8', 'replace')}") from None
    except (smtplib.SMTPException, imaplib.IMAP4.error) as error:
        raise Trouble(f"{what}: {_text(error)}") from None
    except OSError as error:
        raise Trouble(f"{what}: {error.strerror or error}") from None


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def send(host: str, identity: Identity, to: str, letter: Letter) -> None:
    """Hand LETTER in on port 465; raises Trouble."""
    with (
        _explained("port 465 does not take a message"),
        smtplib.SMTP_SSL(
            host, SUBMISSIONS, "doctor.invalid", timeout=TIMEOUT, context=_context()
        ) as client,
    ):
        client.login(identity.address, identity.password)
        client.sendmail(identity.address, [to], letter.content)


class Mailbox:
    """The doctor's own, over IMAP; a context manager that logs in and out."""

    def __init__(
        self,
        host: str,
        identity: Identity,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._sleep = sleep
        with _explained("port 993 does not answer"):
            self._imap = imaplib.IMAP4_SSL(host, IMAPS, ssl_context=_context(), timeout=TIMEOUT)

    def __enter__(self) -> Self:
        with _explained("IMAP does not let the account in"):
            # An address may have brackets, which only a quoted string holds.
            self._imap.login(f'"{self._identity.address}"', self._identity.password)
            self._imap.select()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(imaplib.IMAP4.error, OSError):
            self._imap.logout()

    def wait_for(self, header: str, value: str, patience: float) -> bytes:
        """The first message whose HEADER holds VALUE; Trouble when none comes."""
        deadline = self._clock() + patience
        with _explained("IMAP does not say what is in the mailbox"):
            while True:
                self._imap.noop()
                _kind, data = self._imap.search(None, "HEADER", header, f'"{value}"')
                if numbers := data[0].split() if data and data[0] else []:
                    return self._fetch(numbers[0].decode())
                if self._clock() >= deadline:
                    raise Trouble(f"it did not arrive within {patience:g} s")
                self._sleep(PAUSE)

    def empty(self) -> None:
        """Delete all that is there."""
        with _explained("IMAP does not delete a message"):
            self._imap.noop()
            _kind, data = self._imap.search(None, "ALL")
            if numbers := data[0].split() if data and data[0] else []:
                self._imap.store(b",".join(numbers).decode(), "+FLAGS.SILENT", "(\\Deleted)")
                self._imap.expunge()

    def metadata(self, key: str) -> str:
        """The value of a shared entry of the server's; empty when there is none."""
        with _explained("IMAP does not answer GETMETADATA"):
            self._imap.xatom("GETMETADATA", '""', f"({key})")
            _code, parts = self._imap.response("METADATA")
        return metadata_value(parts)

    def _fetch(self, number: str) -> bytes:
        _kind, data = self._imap.fetch(number, "(BODY.PEEK[])")
        for part in data:
            if isinstance(part, tuple):
                return bytes(part[1])
        raise Trouble("IMAP does not show a message that is there")


_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"\)')


def metadata_value(parts: list[object]) -> str:
    """The value in an answer to GETMETADATA, as imaplib has taken it apart."""
    for part in parts:
        if isinstance(part, tuple):
            return bytes(part[1]).decode("utf-8", "replace")
        if isinstance(part, bytes) and (found := _QUOTED.search(part)):
            return found[1].decode("utf-8", "replace")
    return ""
