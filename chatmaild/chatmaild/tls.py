"""TLS for an asyncio that was imported without it, by `lean`, once it is wanted after all."""

from __future__ import annotations

import ssl
from asyncio import base_events, selector_events, sslproto
from importlib import reload

READ_BUFFER = 16 * 1024
"""Bytes that each connection takes for reading; the 256 kB of asyncio are for bulk."""


def complete() -> None:
    """From now on asyncio's connections can have TLS.

    Fit for a running loop: the one module that is made anew serves only connections with TLS.
    """
    if base_events.ssl is None:  # type: ignore[attr-defined]
        for module in (base_events, selector_events):
            module.ssl = ssl
        reload(sslproto)
    sslproto.SSLProtocol.max_size = READ_BUFFER
