"""Templates to bytes, by Jinja2 with nothing undefined allowed."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from chatmail_relay.errors import OperatorError

PACKAGE = Path(__file__).parent


def renderer(context: Mapping[str, object]) -> Callable[[str], bytes]:
    """A function from a file's name below this package to its bytes for CONTEXT.

    A name that does not end in `.j2` is a file to be taken as it is. HTML and XML are escaped.
    """

    def render(name: str) -> bytes:
        try:
            if not name.endswith(".j2"):
                return (PACKAGE / name).read_bytes()
            return _environment().get_template(name).render(context).encode()
        except (OSError, TemplateError) as error:
            raise OperatorError(
                f"the template {name} cannot be rendered: {error}",
                "Reinstall the package chatmail-relay-config; if it stays so, report a bug.",
            ) from error

    return render


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(PACKAGE),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2", "xml.j2"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
