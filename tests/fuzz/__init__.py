"""Parsers fed with anything, guided by coverage: `python -m tests.fuzz`, see `__main__`.

A target holds a parser of ours to an independent reader: what ours accepts, the other reads the
same way. The targets themselves need nothing but the daemons' libraries, so the unit tests run
them too, over their seeds and a few mutations of each.
"""
