"""What the web pages say in a language: gettext's catalogues, for Jinja2's `{% trans %}`.

https://www.gnu.org/software/gettext/manual/ ; they are made of `www/po/` by msgfmt when the package
is built.
"""

import gettext
from collections.abc import Callable
from functools import cache
from pathlib import Path

from markupsafe import Markup

from chatmail_relay.errors import OperatorError

FOLDER = Path(__file__).parent / "locale"
DOMAIN = "www"
SOURCE_LANGUAGE = "en"


def translated(language: str, folder: Path = FOLDER) -> dict[str, Callable[..., Markup]]:
    """The functions that a template's `{% trans %}` calls; raises OperatorError.

    Texts are HTML, in catalogues, too; what is put into them is escaped.
    """
    catalogue = _catalogue(language, folder)

    def one(text: str, **values: object) -> Markup:
        return Markup(catalogue.gettext(text)) % values  # noqa: S704 # ours, as the templates

    def counted(single: str, several: str, number: int, **values: object) -> Markup:
        return Markup(catalogue.ngettext(single, several, number)) % values  # noqa: S704

    return {"gettext": one, "ngettext": counted}


@cache
def _catalogue(language: str, folder: Path) -> gettext.NullTranslations:
    if language == SOURCE_LANGUAGE:
        return gettext.NullTranslations()
    try:
        return gettext.translation(DOMAIN, folder, [language])
    except OSError as error:
        raise OperatorError(
            f"{error.filename or folder} has no texts of the web pages for {language!r}",
            "Reinstall the package chatmail-relay-config; if it stays so, report a bug.",
        ) from error
