"""Packets that do not pass, as behind a hoster who blocks a port: by nftables, on the bridge.

Rules are about the bridge's ports, so they hold for every address of a machine, IPv4 and IPv6,
and the machines themselves see nothing of them but that nobody answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devtools.run import run
from tests.lab import network

RULES = """\
table bridge {name} {{
    chain passing {{
        type filter hook forward priority filter
        {match}tcp dport {{ {ports} }} drop
    }}
}}
"""


APART = """\
table bridge {name} {{
    chain passing {{
        type filter hook forward priority filter
        iifname {{ {ports} }} oifname {{ {ports} }} drop
    }}
}}
"""


def rules(name: str, source: int | None, target: int | None, ports: Sequence[int]) -> str:
    """Return a ruleset that drops TCP to `ports`; ends are numbers of ports of the bridge.

    None is any end. Connections that exist are cut, too.
    """
    match = "" if source is None else f'iifname "{network.port_name(source)}" '
    match += "" if target is None else f'oifname "{network.port_name(target)}" '
    return RULES.format(name=name, match=match, ports=", ".join(map(str, ports)))


@contextmanager
def dropped(
    bridge: str, source: int | None, target: int | None, ports: Sequence[int]
) -> Iterator[None]:
    """Have such packets dropped in the namespace `bridge` for a `with` block."""
    ends = ("any" if end is None else str(end) for end in (source, target))
    name = "-".join(["drop", *ends, *map(str, ports)])
    with _table(bridge, name, rules(name, source, target, ports)):
        yield


@contextmanager
def apart(bridge: str, one: int, other: int) -> Iterator[None]:
    """Have all packets between two ports of the bridge dropped for a `with` block."""
    name = f"apart-{one}-{other}"
    ports = ", ".join(f'"{network.port_name(port)}"' for port in (one, other))
    with _table(bridge, name, APART.format(name=name, ports=ports)):
        yield


@contextmanager
def _table(bridge: str, name: str, text: str) -> Iterator[None]:
    nft = ["ip", "netns", "exec", bridge, "nft"]
    run([*nft, "-f", "-"], stdin=text)
    try:
        yield
    finally:
        run([*nft, "delete", "table", "bridge", name])
