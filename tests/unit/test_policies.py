"""policies: which names MTA-STS lets a domain's servers have."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from chatmaild.errors import LaterError
from chatmaild.policies import Policies
from chatmaild.socketmap import netstring


def allows(folder: Path, host: str, answer: bytes | None) -> bool:
    """Whether HOST may be a server of beta.lab when the daemon gives that ANSWER."""
    path = folder / "policy.sock"
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b","))
        if answer is not None:
            writer.write(answer)
        writer.close()

    async def ask() -> bool:
        async with await asyncio.start_unix_server(serve, path):
            return await Policies(path, 0.5).allows("beta.lab", host)

    found = asyncio.run(ask())
    assert asked == [b"17:policies beta.lab,"]
    return found


@pytest.mark.parametrize(
    ("host", "policy", "good"),
    [
        ("mx.beta.lab", "match=mx.beta.lab servername=hostname", True),
        ("mx.evil.lab", "match=mx.beta.lab servername=hostname", False),
        ("mx2.beta.lab", "match=mx.beta.lab:.beta.lab servername=hostname", True),
        ("beta.lab", "match=.beta.lab", False),
        ("evilbeta.lab", "match=.beta.lab", False),
        ("mx.beta.lab", "match=MX.Beta.lab", True),
    ],
)
def test_policy(tmp_path: Path, host: str, policy: str, good: bool) -> None:
    """One of the policy's names it has to be."""
    assert allows(tmp_path, host, netstring(f"OK secure {policy}".encode())) is good


def test_no_policy(tmp_path: Path) -> None:
    """Without one, DNS decides alone."""
    assert allows(tmp_path, "mx.evil.lab", netstring(b"NOTFOUND "))


@pytest.mark.parametrize(
    "answer",
    [netstring(b"TEMP later"), netstring(b"PERM no"), None, b"99:OK", b"x:", b"2:OK;", b""],
)
def test_not_known(tmp_path: Path, answer: bytes | None) -> None:
    """What cannot be told is no leave to send."""
    with pytest.raises(LaterError, match=r"451 4\.7\.5 Which servers of beta\.lab can be trusted"):
        allows(tmp_path, "mx.beta.lab", answer)


def test_nobody_to_ask(tmp_path: Path) -> None:
    """Nor is silence."""
    with pytest.raises(LaterError):
        asyncio.run(Policies(tmp_path / "none").allows("beta.lab", "mx.beta.lab"))
