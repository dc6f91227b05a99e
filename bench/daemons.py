"""One of the five daemons, all it has in one folder: `python -m bench.daemons NAME FOLDER`.

It imports nothing before the daemon does, so that the memory measured is the daemon's own.
"""

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from chatmaild.lean import import_without_tls

from chatmaild import service

if TYPE_CHECKING:
    from chatmail_relay.settings import Settings

NAMES = ("doveauth", "lastlogin", "metadata", "newemail", "filtermail")
INI = """[params]
mail_domain = _alpha.lab
max_new_accounts_per_hour = 1000000
create_max_load = 10000
create_min_memory_mib = 0
create_min_disk_mib = 0
"""


def main(name: str, folder: Path) -> int:
    """Be that daemon until SIGTERM."""
    ini = folder / f"{name}.ini"
    ini.write_text(INI)
    from dataclasses import replace

    def serve(settings: "Settings") -> AbstractAsyncContextManager[None]:
        return placed(name, replace(settings, mailboxes_dir=PurePosixPath(folder, "mail")), folder)

    return service.run(name, "", serve, ["--config", str(ini)], loop_factory(name))


def loop_factory(name: str) -> service.LoopFactory | None:
    """The loop the daemon has as a console script; None is asyncio's own."""
    if name != "filtermail":
        return None
    factory: service.LoopFactory = import_without_tls("uvloop").new_event_loop
    return factory


def placed(name: str, settings: "Settings", folder: Path) -> AbstractAsyncContextManager[None]:
    """The daemon, its sockets in the folder."""
    if name == "doveauth":
        from chatmaild import doveauth

        names = ("auth", "seen", "policy", "recipients", "doctor", "echo", "counts")
        return doveauth.serve(settings, doveauth.Sockets(*(folder / each for each in names)))
    if name == "lastlogin":
        from chatmaild import lastlogin

        return lastlogin.serve(settings, folder / "lastlogin", folder / "seen", folder / "counts")
    if name == "metadata":
        from chatmaild import metadata

        kept = ("metadata", "push", "tokens", "pushes", "calls", "counts")
        return metadata.serve(settings, metadata.Places(*(folder / each for each in kept)))
    if name == "newemail":
        from chatmaild import newemail

        return newemail.serve(settings, folder / "newemail")
    from chatmaild import filtermail

    paths = ("outgoing", "incoming", "reinject", "reinject", "policy", "counts")
    return filtermail.serve(settings, filtermail.Sockets(*(folder / each for each in paths)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
