"""Domains in the lab whose mail server is no relay, but a sink among the clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.clients.sink import Sink
from tests.lab.ca import Issued
from tests.lab.lab import Lab


@contextmanager
def mail_domain(lab: Lab, domain: str, issued: Issued | None) -> Iterator[Sink]:
    """Have DNS say that mx.DOMAIN takes the mail of DOMAIN, and a sink be there."""
    host, address = f"mx.{domain}", lab.clients.add_address().ipv4
    with Sink(lab.clients, address, host, issued) as sink:
        lab.dns.set(host, "A", address)
        lab.dns.set(domain, "MX", f"10 {host}.")
        try:
            yield sink
        finally:
            lab.dns.delete(domain)
            lab.dns.delete(host)
