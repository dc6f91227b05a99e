"""The daemons of a chatmail relay, one module each; see README.md for which speaks what."""

from chatmaild.deferred import defer

defer()
