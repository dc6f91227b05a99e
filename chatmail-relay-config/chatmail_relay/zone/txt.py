"""Compares TXT records with what they should say, as those who use them do.

Providers put spaces between tags, change their order, add tags of their own and write names in
small letters: none of that matters. Each function here answers what is wrong with a text in a few
words, or nothing.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

Tags = dict[str, str]


def tags(text: str) -> Tags:
    """The tags of a `name=value; …` list; names in small letters, no white space around values."""
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _sign, value in pairs}


_SIGNS = {"adsp": "dkim", "dkim": "p"}
_VERSIONS = {"dmarc": "dmarc1", "mta-sts": "stsv1"}


def is_about(text: str, topic: str) -> bool:
    """Whether TEXT is, or was meant to be, a record for TOPIC, as `Record.topic` names it."""
    bare = text.strip('" ')
    if topic == "spf":
        return bare.lower().split()[:1] == ["v=spf1"]
    if topic in _SIGNS:
        return _SIGNS[topic] in tags(bare)
    return tags(bare).get("v", "").lower() == _VERSIONS[topic]


def _misspelt(text: str, version: str) -> str:
    """What keeps others from seeing the version, which is the one tag whose letters matter."""
    if tags(text)["v"] != version:
        return f"it has to say v={version} with exactly these letters, or it is ignored"
    return ""


def dkim(text: str, wanted: str) -> str:
    """What is wrong with a DKIM key record (RFC 6376, 3.6.1)."""
    found, right = tags(text), tags(wanted)
    key = "".join(found.get("p", "").split())
    if "v" in found and (problem := _misspelt(text, "DKIM1")):
        return problem
    if not key:
        return "it has no key, which says that the key was revoked"
    if key != right["p"]:
        return "it is another key than the one this relay signs with"
    if found.get("k", "rsa").lower() != "rsa":
        return "its kind of key is not rsa"
    if "sha256" not in _words(found.get("h", "sha256")):
        return "it does not allow sha256"
    if not {"*", "email"} & _words(found.get("s", "*")):
        return "it does not allow email"
    return ""


def _words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(":")}


def mta_sts(text: str) -> str:
    """What keeps an MTA-STS record from being one (RFC 8461, 3.1)."""
    if problem := _misspelt(text, "STSv1"):
        return problem
    ident = tags(text).get("id", "")
    return "" if ident.isalnum() and ident.isascii() and len(ident) <= 32 else "it has no proper id"


def dmarc(text: str, wanted: str) -> str:
    """What is weaker in a DMARC record (RFC 7489, 6.3); where reports go is not our matter."""
    if problem := _misspelt(text, "DMARC1"):
        return problem
    found, right = tags(text), tags(wanted)
    differing = [
        f"{name}={found.get(name, 'r' if name != 'p' else '')}"
        for name in ("p", "adkim", "aspf")
        if found.get(name, "r").lower() != right[name]
    ]
    if found.get("pct", "100") != "100":
        differing.append(f"pct={found['pct']}")
    return f"it has {', '.join(differing)}" if differing else ""


def adsp(text: str, wanted: str) -> str:
    """What is wrong with an ADSP record (RFC 5617, 4.2.1)."""
    same = tags(text).get("dkim", "").lower() == tags(wanted)["dkim"]
    return "" if same else "it says something else"


def spf(text: str, domain: str, addresses: Iterable[str]) -> str:
    """What is wrong with an SPF record (RFC 7208) that should let mail from ADDRESSES pass.

    Mechanisms that lead to other records are believed.
    """
    terms = [term.lower().removeprefix("+") for term in text.split()[1:]]
    if any(term.startswith(("include:", "exists:", "redirect=", "ptr")) for term in terms):
        return ""
    if "all" in terms or any(_by_name(term, domain) for term in terms):
        return ""
    networks = [
        ip_network(term.partition(":")[2], strict=False)
        for term in terms
        if term.startswith(("ip4:", "ip6:")) and _is_network(term.partition(":")[2])
    ]
    left = [
        address
        for address in addresses
        if not any(ip_address(address) in network for network in networks)
    ]
    if networks and not left:
        return ""
    return f"it does not name {', '.join(left)}" if networks else "it does not name this machine"


def _by_name(term: str, domain: str) -> bool:
    """Whether a mechanism is about the addresses of DOMAIN, which is its own MX."""
    mechanism, _sign, rest = term.partition("/")[0].partition(":")
    return mechanism in ("a", "mx") and rest.rstrip(".") in ("", domain)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def caa(values: Iterable[str], issuer: str, account: str) -> tuple[str, bool]:
    """What is wrong with CAA records (RFC 8659, 8657) that should let ACCOUNT at ISSUER issue,
    and whether they keep it from that."""
    issuers = [_issue(value) for value in values if value.split()[1].lower() == "issue"]
    ours = [parameters.get("accounturi") for name, parameters in issuers if name == issuer]
    if not ours:
        return f"it keeps {issuer} from issuing the relay's certificate", True
    if None in ours:
        return "it lets any account issue certificates", False
    if account not in ours:
        return f"it lets only another account at {issuer} issue certificates", True
    return "", False


def _issue(value: str) -> tuple[str, Tags]:
    """The issuer's name and the parameters of a CAA value, such as `0 issue "ca; a=b"`."""
    name, _sign, parameters = value.split(" ", 2)[2].strip('"').partition(";")
    return name.strip().lower(), tags(parameters)
