"""TLS of servers that tests run."""

import ssl
import tempfile
from collections.abc import Callable

from tests.lab.ca import Issued


def server_context(
    issued: Issued, named: Callable[[str | None], None] = lambda _name: None
) -> ssl.SSLContext:
    """What a server with this certificate needs; NAMED hears the names that clients ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(issued.all)
        file.flush()
        context.load_cert_chain(file.name)

    def hear(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        named(name)

    context.sni_callback = hear
    return context
