"""What only another relay can show: a round trip to a bot there, and port 25 both ways.

A bot answers strangers only who were invited by it, as its invite link does: the doctor asks to
join (securejoin), with a key made for this, for which the bot encrypts its answer. That it came
is enough: bots use what is newest in OpenPGP, which not every program reads. How it came in, by
SMTP or over HTTPS, is in the journal of Postfix's listeners.
"""

import html
import json
import re
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import dns.name
import dns.rdatatype

from chatmail_relay.command import run
from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.naming import LITERAL
from chatmail_relay.doctor.openpgp import Key, join_request
from chatmail_relay.doctor.post import Mailbox, Trouble, send
from chatmail_relay.doctor.web import unverified_is_meant
from chatmail_relay.doctor.world import Identity, World
from chatmail_relay.systemctl import journal
from chatmail_relay.zone.command import RESOLVER
from chatmail_relay.zone.judge import Unanswered
from chatmail_relay.zone.wire import Wire

PATIENCE = 45.0
"""Seconds until the answer: both ways may first have to find port 25 closed."""
UNSET = "doctor_peer is empty: name an echo bot at another relay there"
SMTP_PORT = 25
MAX_PAGE = 200_000

_SCHEMES = ("https://i.delta.chat/#", "OPENPGP4FPR:")
_LINK = re.compile(rf"(?:{'|'.join(map(re.escape, _SCHEMES))})[^\s\"'<>]+")
_LISTENERS = {"postfix/smtpd": "smtp", "postfix/mxdeliv/smtpd": "https"}


@dataclass(frozen=True)
class Invite:
    """Who has invited us, and the number that shows it."""

    address: str
    number: str


def domain_of(setting: str) -> str:
    """The domain of the peer in the setting `doctor_peer`; empty where there is none."""
    invite = parse(setting)
    address = invite.address if invite else setting
    return address.rpartition("@")[2].lower()


def parse(link: str) -> Invite | None:
    """Read an invite link; None when it is none, or none of a person."""
    if not link.startswith(_SCHEMES):
        return None
    pairs = (word.partition("=") for word in link.partition("#")[2].split("&"))
    fields = {key: unquote(value) for key, equals, value in pairs if equals}
    address, number = fields.get("a", ""), fields.get("i", "")
    if not re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", address) or not re.fullmatch(r"[\w-]+", number):
        return None
    return Invite(address.lower(), number)


def find_link(page: str) -> Invite | None:
    """The first invite on a bot's page."""
    links = (html.unescape(found[0]) for found in _LINK.finditer(page))
    return next((invite for link in links if (invite := parse(link))), None)


def look(world: World) -> Finding:
    """Ask to join, and wait for the bot's answer."""
    if world.settings.is_address_literal:
        return skipped(LITERAL)
    setting = world.settings.doctor_peer
    if not setting:
        return skipped(UNSET)
    if domain_of(setting) == world.settings.mail_domain:
        return skipped("doctor_peer is at this relay: it has to be at another")
    invite = parse(setting) or _fetched(world, setting)
    if invite is None:
        return _no_invite(domain_of(setting))
    identity = world.identity
    if identity is None:
        raise AssertionError("the account is there when this runs")
    begin = time.time()
    try:
        seconds = _round(world, identity, invite)
    except Trouble as trouble:
        waiting = _withdraw(identity.address, invite.address)
        return judge(invite, 0.0, str(trouble), waiting, world.settings.mail_domain)
    listed = _journal(begin)
    world.answer_way = way(listed, invite.address, identity.address)
    return judge(invite, seconds, "", "", world.settings.mail_domain)


def _fetched(world: World, address: str) -> Invite | None:
    """The invite on the page of an echo bot, which relays have at /echo/."""
    import requests

    domain = domain_of(address)
    verify = not domain.startswith("_")
    unverified_is_meant()
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"https://{domain}/echo/", timeout=world.timeout, verify=verify)
            return find_link(answer.text[:MAX_PAGE])
    except OSError:
        return None


def _no_invite(domain: str) -> Finding:
    return fault(
        f"there is no invite link of a bot at https://{domain}/echo/",
        meaning="it cannot be tried whether mail to and from other relays passes",
        cause="that relay has no echo bot, cannot be reached now, or has it elsewhere",
        command="edit doctor_peer in /etc/chatmail-relay/chatmail.ini: the invite link itself can "
        "stand there; then chatmail-relay apply",
    )


def _round(world: World, identity: Identity, invite: Invite) -> float:
    key = Key.generate(identity.address)
    letter = join_request(
        identity.address, invite.address, invite.number, key.autocrypt, world.clock()
    )
    with Mailbox(world.here, identity) as box:
        box.empty()
        begin = time.monotonic()
        send(world.here, identity, invite.address, letter)
        box.wait_for("From", invite.address, PATIENCE)
        seconds = time.monotonic() - begin
        box.empty()
    return seconds


def _withdraw(sender: str, to: str) -> str:
    """Take the doctor's own mail out of the queue; why it is still there, if it is."""
    reason = ""
    for line in run(["postqueue", "-j"]).stdout.splitlines():
        item = json.loads(line)
        found = [one for one in item.get("recipients", ()) if one["address"].lower() == to]
        if item.get("sender") == sender and found:
            reason = str(found[0].get("delay_reason", "")) or "nobody has tried to deliver it"
            run(["postsuper", "-d", str(item["queue_id"])], check=False)
    return reason


def _journal(since: float) -> str:
    identifiers = [word for name in _LISTENERS for word in ("-t", name)]
    return run(
        [
            *("journalctl", journal(), "--quiet", "--no-pager", "--output=json"),
            *("--output-fields=SYSLOG_IDENTIFIER,MESSAGE", f"--since=@{int(since)}", *identifiers),
        ],
        check=False,
    ).stdout


def way(log: str, sender: str, recipient: str) -> str:
    """By which listener mail for RECIPIENT came in: smtp, https, or empty where none says so."""
    found = ""
    for line in log.splitlines():
        entry = json.loads(line)
        text = str(entry.get("MESSAGE", "")).lower()
        if "proxy-accept" in text and f"to=<{recipient.lower()}>" in text:
            found = _LISTENERS.get(str(entry.get("SYSLOG_IDENTIFIER")), found)
    return found


def judge(invite: Invite, seconds: float, problem: str, waiting: str, domain: str) -> Finding:
    """Whether the bot has answered DOMAIN; WAITING is why the doctor's mail has not left."""
    if not problem:
        return fine(f"{invite.address} answered in {seconds:.1f} s")
    if waiting:
        return fault(
            f"mail to {invite.address} does not leave: {waiting}",
            meaning="people cannot write to those at other relays",
            cause="the other server refuses it, or cannot be reached",
            command="journalctl --namespace=chatmail -u 'postfix*' -n 50",
        )
    return fault(
        f"{invite.address} was written to and has not answered: {problem}",
        meaning="people here may not get what those at other relays write",
        cause="port 25 of this machine cannot be reached from outside, or the bot does not run",
        command="journalctl --namespace=chatmail -u 'postfix*' -n 50; and from another machine: "
        f"nc -v {domain} 25",
    )


def port_25_in(world: World) -> Finding:
    """Judge the way by which the bot's answer has come."""
    if not world.answer_way:
        return skipped("no answer of a peer has shown it")
    return judge_way(world.answer_way, world.settings.mail_domain)


def judge_way(found: str, domain: str) -> Finding:
    """Whether others reach port 25 of DOMAIN: they take HTTPS only where they do not."""
    if found == "smtp":
        return fine("the peer's answer came in there")
    return fault(
        "port 25 is not reached from outside: the peer's answer came over HTTPS",
        meaning="only relays that deliver over HTTPS can write to people here",
        cause="the hoster or a firewall blocks port 25 (a peer remembers that for half an hour)",
        command=f"chatmail-relay firewall, which prints what has to be open; nft list ruleset; and "
        f"from another machine: nc -v {domain} 25",
    )


def port_25_out(world: World) -> Finding:
    """Connect to port 25 of the hosts that take mail of the peer, and of the contact."""
    settings = world.settings
    if settings.is_address_literal:
        return skipped(LITERAL)
    domains = [domain_of(settings.doctor_peer), domain_of(settings.admin_contact)]
    others = [one for one in dict.fromkeys(domains) if one and one != settings.mail_domain]
    if not others:
        return skipped("neither doctor_peer nor admin_contact names another server")
    return judge_out({host: _greeting(world, host) for host in _hosts(others)})


def _hosts(domains: Iterable[str]) -> list[str]:
    """The mail hosts of these domains, the preferred one of each."""
    wire, found = Wire(), []
    for domain in domains:
        try:
            answer = wire.ask(RESOLVER, dns.name.from_text(domain), "MX", recursive=True)
        except Unanswered:
            continue
        listed = [
            (record.preference, record.exchange.to_text(omit_final_dot=True))
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.MX
            for record in rrset
        ]
        found.append(min(listed)[1] if listed else domain)
    return found


def _greeting(world: World, host: str) -> str:
    """Why HOST does not greet on port 25; empty when it does."""
    try:
        with socket.create_connection((host, SMTP_PORT), world.timeout) as client:
            return "" if client.recv(4) == b"220 " else "it does not greet"
    except OSError as error:
        return error.strerror or str(error)


def judge_out(problems: Mapping[str, str]) -> Finding:
    """Whether any of the hosts was reached; PROBLEMS are by host, empty where there is none."""
    if not problems:
        return skipped("the mail hosts of doctor_peer and admin_contact are not found")
    reached = [host for host, problem in problems.items() if not problem]
    if reached:
        return fine(f"{reached[0]} answers")
    what = "; ".join(f"{host}: {problem}" for host, problem in problems.items())
    return fault(
        f"port 25 of other servers cannot be reached ({what})",
        meaning="mail goes only to relays that take it over HTTPS",
        cause="the hoster blocks outgoing port 25, as many do until they are asked, or a firewall",
        command="nft list ruleset; ask the hoster to open port 25; then nc -v "
        f"{next(iter(problems))} 25",
    )
