"""Purpose: on a machine that already serves something a relay is a guest who disturbs nobody.

nginx serves a site on 80 and one on 443, dnsmasq is the resolver, Postfix relays for others, a
packet filter is closed, rsyslog keeps logs, resolvconf writes /etc/resolv.conf, AppArmor's profiles
are there, and a user is called vmail. The relay comes, says what is in its way and stays off; what
can be shared is shared; and when it goes, everything is as it was, byte for byte.
"""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients import web
from tests.clients.relay import OUR_UNITS, Relay, User
from tests.clients.smtp import Smtp
from tests.lab import Lab
from tests.lab.confinement import allows, rules
from tests.lab.installing import Repository, answers, trust
from tests.lab.leftovers import ALWAYS
from tests.lab.network import ROUTER4
from tests.lab.snapshot import Facts, May, differences, snapshot

pytestmark = pytest.mark.long

DOMAIN = "_host.lab"
MINUTES = 600.0  # seconds
NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}
WITH_ALL = "-o APT::AutoRemove::SuggestsImportant=no -o APT::AutoRemove::RecommendsImportant=no"
"""apt keeps what others merely suggest, as Postfix does Dovecot."""
DEBIANS = (
    May(r"(user|group) (?!_chatmail).*", "Debian's packages leave their users"),
    May(r"file /etc/apparmor\.d/disable", "unbound removes that folder of AppArmor's"),
    May(r"file (/etc/dovecot(/conf\.d)?|/var/lib/dovecot)", "Dovecot leaves its folders, empty"),
    May(r"file /var/log/(auth|mail|user)\.log|file /var/log/syslog", "rsyslog goes on writing"),
    May(r"file /var/tmp/systemd-private-.*", "those of services that were restarted"),
    May(r"file /run/dnsmasq/dnsmasq\.pid", "the admin has restarted it"),
    May(r"(file|content) /usr/share/dns(/root\.key)?", "the lab's key goes with dns-root-data"),
)
"""What packages of Debian's do not put back when they are purged, and the lab's own."""
HERE_BEFORE = (
    *("apparmor", "dnsmasq", "nftables", "nginx", "openssl", "postfix", "resolvconf", "rsyslog"),
)
POSTFIX = (
    "postfix postfix/main_mailer_type select Internet Site\n"
    "postfix postfix/mailname string guest.lab\n"
)
SITE = "/etc/nginx/sites-enabled/guest"
PAGE = "this site was here before"
DNSMASQ = "/etc/dnsmasq.d/guest.conf"
FILTER = """\
table inet filter {
    chain input {
        type filter hook input priority filter; policy accept;
        ct state established,related accept
        iif lo accept
        meta l4proto ipv6-icmp accept
        tcp dport { 25, 80, 443, 8080 } accept
        tcp dport 993 reject
        udp dport 53 accept
    }
}
"""
ADMIN = f"""
set -e
useradd --create-home --shell /bin/sh vmail
postconf -e 'smtpd_banner = guest.lab of an admin' 'relay_domains = other.lab'
systemctl reload postfix
printf '%s\\n' no-resolv server={ROUTER4} except-interface=none >{DNSMASQ}
systemctl restart dnsmasq
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=guest.lab -addext \\
    subjectAltName=DNS:guest.lab -keyout /etc/ssl/private/guest.key -out /etc/ssl/guest.pem
echo '{PAGE}' >/var/www/html/guest.txt
cat >{SITE} <<'END'
log_format guest '$remote_addr';
server {{
    listen 80;
    listen 443 ssl;
    server_name guest.lab;
    root /var/www/html;
    ssl_certificate /etc/ssl/guest.pem;
    ssl_certificate_key /etc/ssl/private/guest.key;
    access_log /var/log/nginx/guest.log guest;
}}
END
systemctl reload nginx
systemctl enable nftables
nft -f -
"""
MENDED = f"""
set -e
cp {SITE} /root/site && cp {DNSMASQ} /root/dnsmasq
printf '%s\\n' bind-dynamic listen-address=127.0.0.1 >>{DNSMASQ}
sed -i 's/listen 443 ssl;/listen 127.0.0.83:444 ssl proxy_protocol;'\\
'set_real_ip_from 127.0.0.0\\/8; real_ip_header proxy_protocol;/' {SITE}
systemctl restart dnsmasq
nginx -t -q && systemctl reload nginx
"""
UNDONE = f"""
set -e
cat /root/site >{SITE} && cat /root/dnsmasq >{DNSMASQ} && rm /root/site /root/dnsmasq
systemctl restart dnsmasq
systemctl restart nginx
"""


@dataclass
class Guest:
    """A machine that an admin had set up, and what it was like."""

    relay: Relay
    before: Facts

    def apt(self, words: str) -> str:
        """Run apt-get with nobody to ask; what it said."""
        command = f"apt-get -y -q {words} 2>&1"
        return self.relay.machine.run(command, env=NONINTERACTIVE, timeout=MINUTES).stdout

    def check(self) -> tuple[int, dict[str, Any]]:
        """The exit code of `chatmail-relay check`, and what it has found."""
        done = self.relay.machine.run("chatmail-relay check --json", check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, found

    def said(self, weight: str) -> list[str]:
        """What `check` says of one weight."""
        return [matter["what"] for matter in self.check()[1][weight]]

    def page(self, port: int, *, tls: bool) -> str:
        """The admin's site as a visitor sees it."""
        place, host = self.relay.place, self.relay.host
        name = "guest.lab"
        answer = web.request(place, host, "GET", "/guest.txt", name=name, port=port, tls=tls)
        return answer.body.decode().strip()

    def goes_on(self, *, postfix: bool = True) -> None:
        """What was here before answers as it did; nothing has failed."""
        machine = self.relay.machine
        assert self.page(80, tls=False) == PAGE
        assert self.page(443, tls=True) == PAGE
        if postfix:
            with Smtp(self.relay.place, self.relay.host, 25) as smtp:
                assert smtp.greeting.text == "guest.lab of an admin"
        assert machine.run("systemctl --failed --no-legend").stdout == ""
        assert self.before["content /run/resolvconf/resolv.conf"] == resolver_file(machine)
        machine.run("getent ahosts packages.lab")


def resolver_file(machine: Any) -> str:
    """What the machine's programs read."""
    text: str = machine.read("/etc/resolv.conf")
    return text


@pytest.fixture(scope="module")
def guest(lab: Lab, suite: str, repository: Repository) -> Iterator[Guest]:
    """The machine, which knows the repository but never had a relay."""
    machine = lab.machine("guest", suite, "relay-deps")
    try:
        machine.wait_running()
        machine.run("debconf-set-selections", stdin=POSTFIX)
        install = f"apt-get install -y -q --no-install-recommends {' '.join(HERE_BEFORE)}"
        machine.run(install, env=NONINTERACTIVE, timeout=MINUTES)
        machine.run(ADMIN, stdin=FILTER)
        trust(lab, machine, repository)
        lab.dns.relay(DOMAIN, machine)
        before = snapshot(machine)
        before["content /run/resolvconf/resolv.conf"] = resolver_file(machine)
        made = Guest(Relay(machine, lab.clients, DOMAIN), before)
        made.goes_on()
        yield made
    finally:
        lab.remove(machine)


def test_something_is_in_the_way(guest: Guest) -> None:
    """The package says what, is installed but off, and everything goes on as before."""
    machine = guest.relay.machine
    machine.run("debconf-set-selections", stdin=answers(DOMAIN, {"replace_postfix": "true"}))
    said = guest.apt("install chatmail-relay chatmail-echobot-")
    assert f"a site in {SITE} listens on port 443, which the relay's nginx needs" in said, said
    assert "dnsmasq.service has port 53 (UDP) on all addresses, 127.0.0.83 included" in said, said
    assert "installed but off: something is in its way, as said above" in said
    code, found = guest.check()
    assert (code, found["ok"], len(found["in_the_way"])) == (1, False, 2), found
    guest.goes_on()


@pytest.fixture(scope="module")
def user(guest: Guest) -> User:
    """The admin does what was said, and somebody has an account."""
    guest.relay.machine.run(MENDED)
    guest.relay.machine.run("chatmail-relay apply", timeout=MINUTES)
    # This host may be busy with other work.
    guest.relay.change(create_max_load=10_000)
    guest.relay.machine.run("nft delete rule inet filter input handle $(nft -a list chain inet "
                            "filter input | sed -n 's/.*dport 993 .*handle //p')")  # fmt: skip
    return guest.relay.signup()


def test_shared(guest: Guest, user: User) -> None:
    """Sites are served on both ports by name, the resolver answers, and the relay works."""
    code, found = guest.check()
    assert code == 0, found
    guest.goes_on(postfix=False)
    relay = guest.relay
    for unit in OUR_UNITS:
        assert relay.properties(unit, "ActiveState")["ActiveState"] == "active", unit
    answer = relay.web("GET", "/")
    assert answer.status == 200
    assert DOMAIN in answer.body.decode()
    with relay.place.entered():
        visitor = socket.create_connection((relay.host, 80))
        address = visitor.getsockname()[0]
        visitor.close()
    seen = relay.machine.read("/var/log/nginx/guest.log").split()
    assert seen[-1] == address, "the site on 443 sees the proxy's address, not the visitor's"
    writer = relay.signup()
    relay.wait_for_mail(user, relay.send(writer, user.address))


def test_what_goes_on_is_said(guest: Guest, user: User) -> None:
    """Each thing that was here is named, and the ports which the filter keeps closed."""
    shared = "\n".join(guest.said("shared"))
    for words in (
        *("nginx serves guest.lab", "dnsmasq.service answers on 127.0.0.1", "the user vmail"),
        *("/etc/resolv.conf (a link to", "rsyslog is told nothing"),
    ):
        assert words in shared
    assert any("it relays mail for other.lab" in what for what in guest.said("to_know"))


def test_closed_ports_are_said(guest: Guest, user: User) -> None:
    """A filter that drops is read; after the rules which the relay prints it is content."""
    machine = guest.relay.machine
    machine.run("nft 'chain inet filter input { policy drop; }'")
    (closed,) = guest.said("to_do")
    assert "nftables chain inet filter input does not let everybody in on 465/tcp" in closed
    machine.run("chatmail-relay firewall | nft -f -")
    assert guest.said("to_do") == []
    machine.run("nft flush ruleset && nft -f -", stdin=FILTER)


def test_rsyslog_knows_nobody(guest: Guest, user: User) -> None:
    """Who wrote to whom is in none of the files which rsyslog keeps."""
    kept = guest.relay.machine.run(
        f"grep -rl {user.localpart} /var/log --include=syslog --include='mail*' --include=messages",
        check=False,
    )
    assert kept.stdout == ""


def test_apparmor(guest: Guest, user: User) -> None:
    """Every profile of Debian's is valid, and those of our daemons' programs let them read what
    they do read; where the kernel can, they run confined."""
    machine = guest.relay.machine
    machine.run("apparmor_parser --skip-kernel-load --skip-cache /etc/apparmor.d")
    profile = machine.run("apparmor_parser --preprocess /etc/apparmor.d/usr.sbin.unbound").stdout
    pid = guest.relay.properties("chatmail-resolver.service", "MainPID")["MainPID"]
    opened = machine.run(
        f"sed -En 's/.* (\\/\\S+)$/\\1/p' /proc/{pid}/maps; readlink /proc/{pid}/fd/*;"
        r" sed -En 's/^ *[a-z-]+: \"?(\/[^\"]+)\"?$/\1/p' /etc/unbound/chatmail.conf"
    ).stdout.split()
    paths = {path for path in opened if machine.path(path).is_file()}
    paths |= {"/etc/unbound/chatmail.conf"}
    assert {"/usr/sbin/unbound", "/usr/share/dns/root.key"} <= paths
    known = list(rules(profile))
    assert [path for path in sorted(paths) if not allows(known, path, "r")] == []
    assert allows(known, "/run/systemd/notify", "w")
    assert not allows(known, "/etc/shadow", "r")
    assert not allows(known, "/etc/chatmail-relay/chatmail.ini", "r")
    if machine.path("/sys/kernel/security/apparmor/profiles").exists():
        assert "(enforce)" in machine.read(f"/proc/{pid}/attr/current")


def test_gone(guest: Guest, user: User) -> None:
    """With everything purged the machine is what it was, byte for byte."""
    more = {"replace_postfix": "true", "delete_mail": "true"}
    guest.relay.machine.run("debconf-set-selections", stdin=answers(DOMAIN, more))
    guest.apt(f"{WITH_ALL} purge --auto-remove chatmail-relay")
    guest.relay.machine.run(UNDONE)
    guest.goes_on()
    after = snapshot(guest.relay.machine)
    after["content /run/resolvconf/resolv.conf"] = resolver_file(guest.relay.machine)
    found = "\n".join(map(str, differences(guest.before, after, [*ALWAYS, *DEBIANS])))
    assert found == "", found
