"""Writes the kept configurations anew."""

from tests.golden import GOLDENS

for golden in GOLDENS:
    golden.write()
