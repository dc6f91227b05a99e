"""A certificate with its chain and key, judged by openssl(1) before a daemon is given it.

The question is whether clients and other servers would take it: RFC 5280, section 6, with the
names as in RFC 6125.
"""

import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from chatmail_relay.command import run

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL
)
_NAME = re.compile(r"(?:DNS|IP Address):([^\s,]+)")
_FACT = re.compile(r"(?m)^(subject|issuer|notBefore|notAfter)=(.*)$")
_VERDICT = re.compile(r"error \d+ at (\d+) depth lookup: (.+)")

MONTH = 30 * 24 * 3600.0


class Unusable(Exception):
    """Why a certificate cannot be used, as the end of a sentence about it."""


@dataclass(frozen=True)
class Facts:
    """What a certificate says about itself."""

    names: frozenset[str]
    subject: str
    issuer: str
    starts: float
    """Seconds since the epoch."""
    ends: float
    public_key: str
    """In PEM."""

    @property
    def self_signed(self) -> bool:
        """Whether it is its own issuer, as far as names tell."""
        return self.subject == self.issuer

    @property
    def ending(self) -> str:
        """Its last moment, for people."""
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.ends))

    @property
    def due(self) -> float:
        """From when on acmetool renews it: a third of its life before its end, a month at most."""
        return self.ends - min((self.ends - self.starts) / 3, MONTH)

    def covers(self, name: str) -> bool:
        """Whether it is for NAME; a wildcard stands for one label."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


@dataclass(frozen=True)
class Pair:
    """A private key and certificates, the server's own first, all in PEM."""

    key: str
    chain: tuple[str, ...]

    @property
    def pem(self) -> str:
        """All in one text."""
        return self.key + "".join(self.chain)


def parse(certificates: str, key: str) -> Pair:
    """The pair in the texts of two files, or of one; raises Unusable."""
    chain, keys = _CERTIFICATE.findall(certificates), _KEY.findall(key)
    if not chain:
        raise Unusable("there is no certificate in PEM in it")
    if len(keys) != 1:
        raise Unusable("its key file does not hold one private key in PEM")
    return Pair(_line(keys[0]), tuple(map(_line, chain)))


def facts(certificate: str) -> Facts:
    """What CERTIFICATE says; raises Unusable."""
    shown = _openssl(
        *("x509", "-noout", "-pubkey", "-ext", "subjectAltName", "-nameopt", "RFC2253"),
        *("-subject", "-issuer", "-startdate", "-enddate"),
        stdin=certificate,
    )
    found = dict(_FACT.findall(shown.stdout))
    if shown.returncode != 0 or len(found) != 4:
        raise Unusable("it cannot be read")
    return Facts(
        names=frozenset(name.lower() for name in _NAME.findall(shown.stdout)),
        subject=found["subject"],
        issuer=found["issuer"],
        starts=float(ssl.cert_time_to_seconds(found["notBefore"])),
        ends=float(ssl.cert_time_to_seconds(found["notAfter"])),
        public_key=shown.stdout[shown.stdout.index("-----BEGIN PUBLIC") :].strip(),
    )


def check_fit(pair: Pair, names: Iterable[str]) -> Facts:
    """The facts of PAIR; raises Unusable unless its key is its own and it is for all NAMES."""
    own = facts(pair.chain[0])
    public = _openssl("pkey", "-pubout", "-passin", "pass:", stdin=pair.key)
    if public.returncode != 0:
        raise Unusable("its private key cannot be read, or has a password")
    if public.stdout.strip() not in own.public_key:
        raise Unusable("the private key is not its own")
    missing = [name for name in names if not own.covers(name)]
    if missing:
        raise Unusable(f"it is not for {', '.join(missing)}")
    return own


def check(
    pair: Pair,
    names: Iterable[str],
    *,
    any_root: bool,
    clock: Callable[[], float] = time.time,
) -> Facts:
    """The facts of PAIR; raises Unusable unless clients can verify it for all NAMES.

    The chain has to lead to a root which this system trusts, or one at its own end. With ANY_ROOT
    the root does not count: an authority's own chain is whole.
    """
    own = check_fit(pair, names)
    if own.ends <= clock():
        raise Unusable(f"it ended on {own.ending}")
    if own.starts > clock():
        raise Unusable("it is not valid yet; is this machine's clock right?")
    verdict = _verify(pair)
    last = facts(pair.chain[-1])
    if verdict and pair.chain[1:] and (any_root or last.self_signed):
        verdict = _verify(pair, "-partial_chain", "-trusted")
    if verdict:
        raise Unusable(_explained(verdict, pair, last))
    return own


def _verify(pair: Pair, *anchor: str) -> str:
    """openssl's words against PAIR; with ANCHOR options the chain's last certificate is trusted."""
    with tempfile.TemporaryDirectory() as place:
        leaf, others, last = (Path(place, name) for name in ("leaf", "others", "last"))
        leaf.write_text(pair.chain[0], encoding="ascii")
        others.write_text("".join(pair.chain[1:]), encoding="ascii")
        last.write_text(pair.chain[-1], encoding="ascii")
        trusted = [*anchor, str(last)] if anchor else []
        untrusted = ["-untrusted", str(others)] if pair.chain[1:] else []
        done = _openssl("verify", "-purpose", "sslserver", *trusted, *untrusted, str(leaf))
    if done.returncode == 0:
        return ""
    return done.stderr + done.stdout


def _explained(verdict: str, pair: Pair, last: Facts) -> str:
    found = _VERDICT.search(verdict)
    words = found[2].strip() if found else "openssl does not verify it"
    if "issuer certificate" in words or "first certificate" in words:
        if not pair.chain[1:]:
            return f"its chain is missing: the certificate of {last.issuer} has to follow it"
        return f"its chain ends at {last.subject}, and {last.issuer} is not trusted here"
    who = "it" if found is None or found[1] == "0" else "one of its issuers"
    return f"{who} is refused by openssl: {words}"


def _openssl(*words: str, stdin: str = "") -> "CompletedProcess[str]":
    return run(["openssl", *words], check=False, stdin=stdin)


def _line(block: str) -> str:
    return block if block.endswith("\n") else f"{block}\n"
