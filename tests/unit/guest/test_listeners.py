"""Who is found on the relay's ports, and what is said about it."""

import pytest
from chatmail_relay.guest.listeners import Listener, judge, needs, parse
from chatmail_relay.guest.matter import Weight

from tests.unit.fakes import settings

NAMED = settings(mail_domain="chat.example.org")

SHOWN = """\
udp   UNCONN 0      0      127.0.0.53%lo:53   0.0.0.0:* users:(("systemd-resolve",pid=5,fd=13))
udp   UNCONN 0      0              [::1]:323     [::]:*
tcp   LISTEN 0      100          0.0.0.0:25   0.0.0.0:* users:(("master",pid=6,fd=13))
tcp   LISTEN 0      511                *:80         *:* users:(("apache2",pid=7,fd=4),("a",pid=8))
tcp   LISTEN 0      128             [::]:2222    [::]:* users:(("sshd",pid=9,fd=4))
"""
GROUPS = {
    "5": "0::/system.slice/systemd-resolved.service\n",
    "6": "0::/system.slice/system-postfix.slice/postfix@-.service\n",
    "7": "0::/system.slice/apache2.service\n",
    "9": "0::/user.slice/user-0.slice/session-1.scope\n",
}


def test_parse() -> None:
    """Addresses without brackets and interfaces, and a unit or, where there is none, a program."""
    assert list(parse(SHOWN, lambda pid: GROUPS.get(pid, ""))) == [
        Listener("udp", "127.0.0.53", 53, "systemd-resolved.service"),
        Listener("udp", "::1", 323, ""),
        Listener("tcp", "", 25, "postfix@-.service"),
        Listener("tcp", "", 80, "apache2.service"),
        Listener("tcp", "", 2222, "sshd"),
    ]


APART = {
    "our own": Listener("tcp", "", 25, "postfix@-.service"),
    "nginx, which shares": Listener("tcp", "", 80, "nginx.service"),
    "acmetool's": Listener("tcp", "", 80, "chatmail-acme-redirector.service"),
    "another resolver": Listener("udp", "127.0.0.1", 53, "unbound.service"),
    "another protocol": Listener("udp", "", 25, "strange.service"),
    "another port": Listener("tcp", "", 22, "ssh.service"),
}


@pytest.mark.parametrize("what", APART)
def test_not_in_the_way(what: str) -> None:
    """Whoever has other ports or other addresses, and the relay's own units."""
    assert not [m for m in judge(NAMED, [APART[what]]) if m.weight is Weight.IN_THE_WAY]


TAKEN = {
    "a web server": (
        Listener("tcp", "", 80, "apache2.service"),
        ("apache2.service has port 80", "systemctl disable --now apache2.service"),
    ),
    "on one address": (
        Listener("tcp", "192.0.2.1", 443, "haproxy.service"),
        ("haproxy.service has port 443", "another port"),
    ),
    "on the other family": (
        Listener("tcp", "::1", 993, "courier"),
        ("courier has port 993", "Stop courier"),
    ),
    "a resolver on all addresses": (
        Listener("udp", "", 53, "dnsmasq.service"),
        ("127.0.0.83 included", "bind-dynamic"),
    ),
    "another one there": (
        Listener("tcp", "127.0.0.83", 53, "named.service"),
        ("named.service has port 53", "another port"),
    ),
    "a server for calls": (
        Listener("udp", "192.0.2.1", 3478, "coturn.service"),
        ("port 3478 (UDP)", "turn_enabled = no"),
    ),
    "nobody knows whose": (Listener("tcp", "", 587, ""), ("another program has port 587", "Stop")),
}


@pytest.mark.parametrize("what", TAKEN)
def test_in_the_way(what: str) -> None:
    """Who has a port is named, with what to do."""
    listener, words = TAKEN[what]
    (matter,) = (m for m in judge(NAMED, [listener, listener]) if m.weight is Weight.IN_THE_WAY)
    assert words[0] in matter.what
    assert words[1] in matter.advice


def test_nobody_knows_whose_but_it_runs() -> None:
    """Then it is taken for the relay's own."""
    listener = Listener("udp", "127.0.0.83", 53, "")
    assert [m.weight for m in judge(NAMED, [listener])] == [Weight.IN_THE_WAY]
    assert list(judge(NAMED, [listener], frozenset({"chatmail-resolver.service"}))) == []


def test_what_is_not_needed_is_nobodys() -> None:
    """Without calls, streams and figures their ports may be others'."""
    lean = settings(
        mail_domain="192.0.2.1", turn_enabled="no", iroh_relay="none", metrics_enabled="no"
    )
    assert {need.port for need in needs(NAMED)} - {need.port for need in needs(lean)} == {
        *(3340, 3478, 3903, 10084)
    }


def test_resolvers_go_on() -> None:
    """One of this machine's own is said to go on, once, and the relay's is not said at all."""
    found = list(
        judge(
            NAMED,
            [
                Listener("udp", "127.0.0.1", 53, "dnsmasq.service"),
                Listener("tcp", "127.0.0.1", 53, "dnsmasq.service"),
                Listener("udp", "127.0.0.83", 53, "chatmail-resolver.service"),
                Listener("udp", "192.0.2.1", 53, "named.service"),
            ],
        )
    )
    (matter,) = found
    assert matter.weight is Weight.SHARED
    assert matter.what.startswith("dnsmasq.service answers on 127.0.0.1")
