"""A relay's records as they should be, for the checks of its zone."""

from ipaddress import ip_address

from chatmail_relay.addresses import Addresses
from chatmail_relay.zone.needed import Facts, records

DOMAIN = "chat.example.org"
KEY = "MIIB" + "aB3+/" * 77 + "AQAB"
ACCOUNT = "https://ca.example/acct/7"


def own(*texts: str) -> Addresses:
    """A machine with these addresses, all published."""
    found = tuple(map(ip_address, texts))
    return Addresses(frozenset(found), found)


def facts(*addresses: str, account: str = ACCOUNT) -> Facts:
    """The relay chat.example.org, at 9.9.9.9 and 2620:fe::9 unless told otherwise."""
    return Facts(
        domain=DOMAIN,
        addresses=own(*(addresses or ("9.9.9.9", "2620:fe::9"))),
        dkim_name=f"opendkim._domainkey.{DOMAIN}",
        dkim_value=f"v=DKIM1;k=rsa;p={KEY};s=email;t=s",
        policy=b"version: STSv1\n",
        issuer="ca.example",
        account=account,
    )


def published(of: Facts) -> dict[tuple[str, str], list[str]]:
    """The zone with exactly these records, as a zone file writes them."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records(of):
        found.setdefault((record.name, record.kind), []).append(record.data)
    return found
