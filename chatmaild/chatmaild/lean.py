"""asyncio without TLS, for daemons that only ever speak on unix sockets.

asyncio imports `ssl` when it can, and with it OpenSSL: 4 MiB for each idle process. It is made to
work on a Python built without `ssl`, and that is what it is shown here. `ssl` stays importable.
A program that wants TLS from asyncio imports `ssl` first, and finds asyncio complete.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

if "asyncio" in sys.modules or "ssl" in sys.modules:
    import asyncio
else:
    sys.modules["ssl"] = None  # type: ignore[assignment]
    import asyncio

    del sys.modules["ssl"]

__all__ = ["asyncio", "import_without_tls", "without_tls"]


class NoTls(ModuleType):
    """In the place of `ssl` for a module that names its parts and here will not use them."""

    def __getattr__(self, name: str) -> object:
        """A number where `ssl` has one, else a class."""
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name.isupper() else type(name, (Exception,), {})


@contextmanager
def without_tls() -> Iterator[None]:
    """Inside the `with`, import modules that cannot do without `ssl` when they are imported."""
    if "ssl" in sys.modules:
        yield
        return
    sys.modules["ssl"] = NoTls("ssl")
    try:
        yield
    finally:
        del sys.modules["ssl"]


def import_without_tls(name: str) -> ModuleType:
    """Import such a module, as uvloop is one, by its name."""
    with without_tls():
        return import_module(name)
