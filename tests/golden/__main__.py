"""Writes the kept configurations anew."""

from devtools import translations
from tests.golden import GOLDENS

translations.compiled()

for golden in GOLDENS:
    golden.write()
