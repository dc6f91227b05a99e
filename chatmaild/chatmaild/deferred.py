"""Modules that the standard library imports and these daemons do not use, imported when they are.

`inspect`, `linecache` and `subprocess` come with asyncio and dataclasses, and bring along half a
MiB of what only tracebacks and text-mode subprocesses want. Five idle daemons pay for that five
times. Until something of such a module is asked for, a stand-in has its place. (Python 3.11's
`inspect` asks for `ast` at once.)
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

NAMES = ("ast", "tokenize", "locale")


class Deferred(ModuleType):
    """A stand-in, which becomes the module when an attribute is wanted."""

    def __getattr__(self, name: str) -> object:
        """The module's attribute; what the import system looks for by itself is not there yet."""
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        vars(self).update(vars(module))
        return getattr(module, name)


class Functions(ModuleType):
    """In the place of a module of which only functions are wanted."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        """A function that imports the module's of that name when it is called."""
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: object, **named: object) -> object:
            return getattr(import_module(self.__name__), name)(*arguments, **named)

        return call


@contextmanager
def functions_of(name: str) -> Iterator[None]:
    """Inside the `with`, who imports functions from that module gets them, but not yet the module.

    For a library that has more to it than is used here.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = Functions(name)
    try:
        yield
    finally:
        del sys.modules[name]


def defer() -> None:
    """Put stand-ins where nothing is yet."""
    for name in NAMES:
        sys.modules.setdefault(name, Deferred(name))
