"""`chatmail-relay check`: what a machine that already serves something means for the relay.

Each module looks (`look…`) at one kind of thing and judges what it saw (`judge…`, which is pure).
Nothing is changed, so this may run at any time, and does before the relay is first configured.
"""
