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
    nft = ["ip", "netns", "exec", bridge, "nft"]
    run([*nft, "-f", "-"], stdin=rules(name, source, target, ports))
    try:
        yield
    finally:
        run([*nft, "delete", "table", "bridge", name])
