"""Debian machines on a network of their own, to install relays on and to use them."""

from tests.lab.clients import Clients
from tests.lab.dns import Dns
from tests.lab.lab import Lab
from tests.lab.machine import Machine

__all__ = ["Clients", "Dns", "Lab", "Machine"]
