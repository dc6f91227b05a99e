"""A relay to be examined, without a machine."""

from ipaddress import ip_address

from chatmail_relay.addresses import Addresses
from chatmail_relay.doctor.world import World
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

from tests.unit.fakes import HOST

NOW = 1_800_000_000.0
HERE = ip_address("192.0.2.1")


def world(settings: Settings, tree: Tree) -> World:
    """The world of a relay with SETTINGS in TREE, at a fixed time."""
    addresses = Addresses(frozenset([HERE]), (HERE,))
    return World(settings, tree, HOST, addresses, clock=lambda: NOW)
