"""asyncio without TLS, for daemons that only ever speak on unix sockets.

asyncio imports `ssl` when it can, and with it OpenSSL: 4 MiB for each idle process. It is made to
work on a Python built without `ssl`, and that is what it is shown here. `ssl` stays importable.
A program that wants TLS from asyncio imports `ssl` first, and finds asyncio complete; one that
wants it only at times calls `complete` then.
"""

import sys
from importlib import reload

if "asyncio" in sys.modules or "ssl" in sys.modules:
    import asyncio
else:
    sys.modules["ssl"] = None  # type: ignore[assignment]
    import asyncio

    del sys.modules["ssl"]

__all__ = ["asyncio", "complete"]


def complete() -> None:
    """Give asyncio what it was not shown: from now on its connections can have TLS.

    Fit for a running loop: the one module that is made anew serves only connections with TLS.
    """
    import ssl
    from asyncio import base_events, selector_events, sslproto

    if base_events.ssl is None:  # type: ignore[attr-defined]
        for module in (base_events, selector_events):
            module.ssl = ssl
        reload(sslproto)
        # Bytes which each connection has for reading; the 256 kB it takes by itself are for bulk.
        sslproto.SSLProtocol.max_size = 16 * 1024
