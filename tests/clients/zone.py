"""A zone of somebody else, signed with DNSSEC, whose name server can be made to lie.

    with Zone(lab.clients, address, "signed.lab") as zone:
        lab.dns.set("signed.lab", "NS", "ns.signed.lab.")
        lab.dns.set("signed.lab", "DS", zone.ds)
        zone.texts["a.signed.lab"] = "text"
        zone.forged["a.signed.lab"] = "another text, with the signature of the first"

It answers on UDP at one of the clients' addresses. RFC 4034, 4035; dnspython signs.
"""

import socket
import threading
from typing import Any, Self

import dns.dnssec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from dns import flags, message, name, rdatatype, rrset
from dns.dnssectypes import Algorithm, DSDigest

from tests.clients.net import Place

LIFETIME = 86_400
dnssec: Any = dns.dnssec  # whose older versions have no types
TTL = 60


class Zone:
    """The server; it runs inside a `with`. Names are without a dot at their end, lower-case."""

    def __init__(self, place: Place, address: str, zone: str) -> None:
        self.texts: dict[str, str] = {}
        """TXT records, by name."""
        self.forged: dict[str, str] = {}
        """What is answered instead, with the signatures of those."""
        self.address = address
        self._name = name.from_text(zone)
        self._key = generate_private_key(SECP256R1())
        self._dnskey = dnssec.make_dnskey(
            self._key.public_key(), Algorithm.ECDSAP256SHA256, flags=257
        )
        with place.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._socket.settimeout(0.1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def ds(self) -> str:
        """What the zone above says of this one's key."""
        return str(dnssec.make_ds(self._name, self._dnskey, DSDigest.SHA256))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                question, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self._socket.sendto(self._answer(message.from_wire(question)).to_wire(), client)

    def _answer(self, query: message.Message) -> message.Message:
        asked = query.question[0]
        reply = message.make_response(query)
        reply.flags |= flags.AA
        text = self.texts.get(asked.name.to_text(omit_final_dot=True).lower())
        if asked.rdtype == rdatatype.DNSKEY and asked.name == self._name:
            reply.answer += self._signed(self._records(asked.name, str(self._dnskey), "DNSKEY"))
        elif asked.rdtype == rdatatype.TXT and text is not None:
            _, signature = self._signed(self._records(asked.name, _strings(text), "TXT"))
            said = self.forged.get(asked.name.to_text(omit_final_dot=True).lower(), text)
            reply.answer += [self._records(asked.name, _strings(said), "TXT"), signature]
        return reply

    def _records(self, owner: name.Name, data: str, kind: str) -> rrset.RRset:
        return rrset.from_text(owner, TTL, "IN", kind, data)

    def _signed(self, records: rrset.RRset) -> list[rrset.RRset]:
        signature = dnssec.sign(records, self._key, self._name, self._dnskey, lifetime=LIFETIME)
        return [records, rrset.from_rdata(records.name, TTL, signature)]


def _strings(text: str) -> str:
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
