"""asyncio without TLS, for daemons that only ever speak on unix sockets.

asyncio imports `ssl` when it can, and with it OpenSSL: 4 MiB for each idle process. It is made to
work on a Python built without `ssl`, and that is what it is shown here. `ssl` stays importable.
A program that wants TLS from asyncio imports `ssl` first, and finds asyncio complete.
"""

import sys

if "asyncio" in sys.modules or "ssl" in sys.modules:
    import asyncio
else:
    sys.modules["ssl"] = None  # type: ignore[assignment]
    import asyncio

    del sys.modules["ssl"]

__all__ = ["asyncio"]
