"""Clients that scenarios use a relay with, as people's apps, other servers and attackers do."""
