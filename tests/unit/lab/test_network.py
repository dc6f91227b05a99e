"""tests.lab.network: addresses that do not collide, in blocks that differ."""

from ipaddress import ip_address, ip_network

from tests.lab.network import ROUTER4, ROUTER6, client_address, machine_address


def test_every_address_is_its_own() -> None:
    """Machines, clients and the router never share an address, and all are on one link."""
    nodes = [machine_address(n) for n in range(100)] + [client_address(n) for n in range(200)]
    four = [ROUTER4, *(node.ipv4 for node in nodes)]
    six = [ROUTER6, *(node.ipv6 for node in nodes)]
    assert len(set(four)) == len(set(six)) == 301
    assert all(ip_address(address) in ip_network("10.83.0.0/16") for address in four)
    assert all(ip_address(address) in ip_network("fd83::/48") for address in six)


def test_clients_come_from_blocks_apart() -> None:
    """Each block of clients has a /24 and a /56 of its own."""
    nodes = [client_address(number) for number in range(200)]
    assert len({ip_network(f"{node.ipv4}/24", strict=False) for node in nodes}) == 200
    assert len({ip_network(f"{node.ipv6}/56", strict=False) for node in nodes}) == 200
