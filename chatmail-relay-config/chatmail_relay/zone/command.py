"""`chatmail-relay dns`: prints the relay's DNS records, or checks those that are published."""

import argparse
import json
from pathlib import PurePosixPath

from chatmail_relay import addresses, dkim
from chatmail_relay.errors import OperatorError
from chatmail_relay.output import say
from chatmail_relay.probes import ask_dns
from chatmail_relay.render import renderer
from chatmail_relay.settings import DEFAULT_PATH, Settings, load
from chatmail_relay.tree import Tree
from chatmail_relay.webpage import SITE
from chatmail_relay.zone import caa, formats, needed

RESOLVER = "127.0.0.83"
"""The relay's own, which validates as other relays' do."""


def dns(options: argparse.Namespace) -> int:
    """Print the records, or check them."""
    tree = Tree(options.root.resolve())
    settings = load(tree.real(PurePosixPath(DEFAULT_PATH)))
    if settings.is_address_literal:
        return _nothing(settings, options.format)
    found = facts(settings, tree)
    if options.check:
        return _check(found, options.format or "table")
    say(formats.shown(found, options.format or "zone", options.zone.strip(".").lower()))
    return 0


def _nothing(settings: Settings, style: str | None) -> int:
    """Say that a relay without a name has no records."""
    remark = f"{settings.mail_domain} is an address and no name: there is nothing to publish."
    nothing = {"domain": settings.mail_domain, "records": [], "remarks": [remark]}
    say(json.dumps(nothing, indent=2) if style == "json" else f"; {remark}")
    return 0


def facts(settings: Settings, tree: Tree) -> needed.Facts:
    """What the records follow from; raises OperatorError before the relay has its key."""
    return needed.Facts(
        domain=settings.mail_domain,
        addresses=addresses.read(),
        dkim_name=settings.dkim_name,
        dkim_value=dkim.dns_record(settings, tree),
        policy=_policy(settings, tree),
        issuer=caa.authority(settings),
        account=caa.account(settings, tree),
    )


def _policy(settings: Settings, tree: Tree) -> bytes:
    """The MTA-STS policy that is served, or will be."""
    served = tree.look(settings.www_dir / needed.POLICY).content
    return served or renderer({"settings": settings})(f"{SITE}/{needed.POLICY}.j2")


def _check(found: needed.Facts, style: str) -> int:
    # Here, since printing does without the library.
    from chatmail_relay.zone import check
    from chatmail_relay.zone.servers import Directory
    from chatmail_relay.zone.wire import Wire

    if style == "zone":
        raise OperatorError("--check shows no zone file", "Use --format table or --format json.")
    findings = check.Check(found, Directory(Wire(), resolvers())).run()
    say(check.as_json(findings) if style == "json" else "\n".join(check.report(findings)))
    return findings.exit_code


def resolvers() -> list[str]:
    """Those to find zones with: the relay's own where it runs, then the machine's."""
    from dns.resolver import NoResolverConfiguration, Resolver

    try:
        ask_dns(f"{RESOLVER}:53")
        own = [RESOLVER]
    except (OSError, ValueError):
        own = []
    try:
        return own + [str(server) for server in Resolver().nameservers]
    except NoResolverConfiguration:
        return own
