"""What a daemon counts since its start, told to chatmail-metrics: sums, and never whose.

On a unix socket of its own: the request line `counts` is answered with a line for each sum, the
words that name it and the number with spaces between them, and an empty line after the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from chatmaild.errors import MalformedError
from chatmaild.streams import Connection, Peers, cut_line, listening

REQUEST = b"counts"
MAX_CONNECTIONS = 8

Words = tuple[str, ...]
"""What is counted, each word of letters, digits and underscores: `refused`, `outgoing`, `rate`."""
Tally = Counter[Words]


def counting(
    path: Path, sums: Callable[[], Mapping[Words, int]]
) -> AbstractAsyncContextManager[None]:
    """Tell the sums on the socket at `path` inside the `with`."""
    peers = Peers(MAX_CONNECTIONS)

    def answer(request: bytes) -> bytes:
        if request != REQUEST:
            raise MalformedError("no such request for counts")
        return told(sums())

    return listening(path, lambda: Connection(peers, cut_line(len(REQUEST)), answer))


def told(sums: Mapping[Words, int]) -> bytes:
    """The answer."""
    lines = (f"{' '.join(words)} {number}\n" for words, number in sums.items())
    return "".join((*lines, "\n")).encode()


def heard(answer: bytes) -> dict[Words, int]:
    """The sums in an answer. Raises ValueError for anything else."""
    sums: dict[Words, int] = {}
    for line in answer.decode("ascii").splitlines():
        if line:
            *words, number = line.split(" ")
            sums[tuple(words)] = int(number)
    return sums
