"""Look whether debconf can show the questions in every language, as translators look at them."""

from __future__ import annotations

from devtools import reviewing
from devtools.progress import Progress

SCRIPT = """\
for catalogue in /mnt/checkout/debian/po/*.po; do
    podebconf-display-po -f noninteractive "$catalogue" >shown 2>said && [ ! -s said ] ||
        { echo "$catalogue:"; cat shown said; }
done
"""


def found(progress: Progress) -> str:
    """Return what debconf says where it cannot, nothing when all is well."""
    with reviewing.tree(progress) as review:
        return review.said(SCRIPT)
