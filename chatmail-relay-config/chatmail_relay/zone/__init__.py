"""`chatmail-relay dns`: the DNS records a relay needs, and whether they are published.

`needed` has them as values, and `formats` prints them. `servers` asks each of the zone's servers
itself, `judge` says of each record whether what is there works, and `check` makes findings of that.
"""
