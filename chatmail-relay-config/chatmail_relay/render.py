"""Templates to bytes, by Jinja2 with nothing undefined allowed."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape
from jinja2.ext import InternationalizationExtension

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
            return environment().get_template(name).render(context).encode()
        except (OSError, TemplateError) as error:
            raise OperatorError(
                f"the template {name} cannot be rendered: {error}",
                "Reinstall the package chatmail-relay-config; if it stays so, report a bug.",
            ) from error

    return render


@cache
def environment() -> Environment:
    """How all templates are read."""
    made = Environment(
        loader=FileSystemLoader(PACKAGE),
        extensions=[InternationalizationExtension],
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2", "xml.j2"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # What `trans` calls is said by the context; only in the new style it is given the values, too.
    setattr(made, "newstyle_gettext", True)  # noqa: B010 # an attribute of the extension's
    made.policies["ext.i18n.trimmed"] = True
    made.filters["kib"] = size
    return made


def size(kib: int) -> str:
    """A size in KiB as people read it."""
    count, unit = float(kib), "KiB"
    for larger in ("MiB", "GiB"):
        # Not where it would be rounded.
        if count < 1024 or count * 10 % 1024:
            break
        count, unit = count / 1024, larger
    return f"{count:.10g}\N{NO-BREAK SPACE}{unit}"
