"""The relay's units: sandboxed all alike, and given what their programs read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatmail_relay.settings import Settings, abouts
from chatmail_relay.units import (
    DELIVER,
    ECHOBOT,
    EXPIRE,
    FILTERMAIL,
    IROH_RELAY,
    LOG_FEED,
    METADATA,
    METRICS,
    MTA_STS,
    MTAIL,
    OURS,
    REDIRECTOR,
    RESOLVER,
    TRIM,
    TURN,
    UNITS,
    Unit,
)

from tests.unit.fakes import settings

REPOSITORY = Path(__file__).parents[2]
CHATMAILD = REPOSITORY / "chatmaild/chatmaild"
MODULES = {
    "chatmail-metadata.service": "metadata",
    "chatmail-mxdeliv.service": "mxdeliv",
    "chatmail-deliver.service": "deliver",
    "chatmail-metrics.timer": "metrics",
    "chatmail-expire.timer": "expire",
}
"""Where a daemon's module is not called like its unit."""

DERIVED = {
    "address_domain": {"mail_domain"},
    "is_address_literal": {"mail_domain"},
    "domain_dir": {"mailboxes_dir", "mail_domain"},
    "forwarded_addresses": {"admin_contact", "mail_domain"},
    "iroh_relay_url": {"iroh_relay", "mail_domain"},
    "internal_addresses": {"mail_domain"},
    "reserved_names": set[str](),
}
"""What the properties of Settings are made of."""

NOT_USED = {"newemail.service": {"create_max_load", "create_min_memory_mib", "create_min_disk_mib"}}
"""What a daemon's modules read in a part of theirs which this daemon does not use."""

STARTED_SERVICES = (
    "chatmail-acme.service",
    "chatmail-certificate.service",
    "chatmail-disconnect.service",
)
"""What timers and paths start, as root: the files they write are root's."""

RESTARTED = ("StartLimitIntervalSec=0", "Restart=on-failure", "RestartSec=2s")
"""Back soon, tried for ever, and never without a pause."""

daemons = pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.settings], ids=lambda unit: unit.name
)
ours = pytest.mark.parametrize(
    "name", [*(unit.name for unit in UNITS if unit.ours and unit.probes), ECHOBOT]
)
oneshots = pytest.mark.parametrize("name", [unit for unit in OURS if unit in STARTED_SERVICES])


def service(name: str) -> dict[str, str]:
    """The [Service] section of a unit of ours, lines of one key joined by spaces."""
    text = (REPOSITORY / f"debian/chatmail-relay.{name}").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for line in text.partition("[Service]")[2].partition("[Install]")[0].splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key] = f"{found.get(key, '')} {value}".strip()
    return found


def closure(module: str, seen: set[str]) -> set[str]:
    """The modules of chatmaild which MODULE imports, itself included."""
    if module not in seen and (CHATMAILD / f"{module}.py").exists():
        seen.add(module)
        for node in ast.walk(ast.parse((CHATMAILD / f"{module}.py").read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chatmaild."):
                closure(str(node.module).removeprefix("chatmaild."), seen)
    return seen


def settings_read(module: str) -> Iterator[str]:
    """The attributes of anything called settings that MODULE looks at."""
    for node in ast.walk(ast.parse((CHATMAILD / f"{module}.py").read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            holder = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if holder.strip("_") == "settings":
                yield node.attr


@daemons
def test_unit_is_given_what_its_program_reads(unit: Unit) -> None:
    """A setting that a daemon reads is in its credential, so that a change restarts it."""
    name, given = unit.name, set(unit.settings)
    module = MODULES.get(name, name.removesuffix(".service"))
    read: set[str] = set()
    for part in closure(module, set()) - {"service"}:  # which only moves what it is given
        for attribute in settings_read(part):
            read |= DERIVED.get(attribute, {attribute})
    assert (read & abouts().keys()) - NOT_USED.get(name, set()) <= given


def test_properties_are_known() -> None:
    """The table above speaks of properties that exist."""
    assert all(isinstance(getattr(Settings, name), property) for name in DERIVED)


@ours
def test_sandbox(name: str) -> None:
    """Never root, nothing to gain, nothing to write but what is named."""
    unit = service(name)
    assert unit["User"] not in ("", "root")
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert unit["SystemCallFilter"].split()[0] == "@system-service"
    assert "~@privileged" in unit["SystemCallFilter"]
    low_port = name in (RESOLVER, REDIRECTOR)
    assert unit["CapabilityBoundingSet"] == ("CAP_NET_BIND_SERVICE" if low_port else "")
    if name == DELIVER:  # Postfix comes to it, too
        assert unit["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
        assert unit["SocketBindDeny"] == "any"
        assert unit["SocketBindAllow"] == "ipv4:tcp:10084"
    elif name in (METADATA, MTA_STS):  # speak to others' web servers, and let nobody speak to them
        assert unit["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
        assert unit["SocketBindDeny"] == "any"
    elif name == TURN:  # for everybody's calls
        assert unit["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
        assert (unit["SocketBindDeny"], unit["SocketBindAllow"]) == ("any", "udp")
    elif name == IROH_RELAY:  # nginx comes to it
        assert unit["RestrictAddressFamilies"] == "AF_INET"
        assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
        assert (unit["SocketBindDeny"], unit["SocketBindAllow"]) == ("any", "ipv4:tcp:3340")
    elif name == ECHOBOT:  # a user of Dovecot and Postfix
        assert unit["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
        assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
        assert unit["SocketBindDeny"] == "any"
        assert unit["MemoryMax"] == "256M"
    elif name == MTAIL:  # Prometheus comes to it
        assert unit["RestrictAddressFamilies"] == "AF_INET"
        assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
        assert (unit["SocketBindDeny"], unit["SocketBindAllow"]) == ("any", "ipv4:tcp:3903")
    elif name == FILTERMAIL:  # asks the resolver
        assert unit["RestrictAddressFamilies"] == "AF_UNIX AF_INET"
        assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "127.0.0.83")
        assert unit["SocketBindDeny"] == "any"
    elif not low_port:
        assert unit["PrivateNetwork"] == "yes"
        assert unit["RestrictAddressFamilies"] == "AF_UNIX"


@ours
def test_ready_and_restarted(name: str) -> None:
    """Ordering is real, and a crash is not the end."""
    unit = service(name)
    assert unit["Type"] == ("exec" if name in (REDIRECTOR, IROH_RELAY, MTAIL) else "notify")
    assert unit["LogNamespace"] == "chatmail"
    assert unit["LimitCORE"] == "1"
    text = (REPOSITORY / f"debian/chatmail-relay.{name}").read_text(encoding="utf-8")
    for line in RESTARTED:
        assert f"\n{line}\n" in text


@oneshots
def test_sandbox_of_what_runs_as_root(name: str) -> None:
    """Root in name: it writes the folders it is there for, and nothing else."""
    unit = service(name)
    assert unit["Type"] == "oneshot"
    assert unit["ProtectSystem"] == "strict"
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["SystemCallFilter"].split()[0] == "@system-service"
    assert "CAP_SYS_ADMIN" not in unit["CapabilityBoundingSet"]
    assert "/var/spool/postfix" in unit["InaccessiblePaths"]


def test_sandbox_of_the_doctor() -> None:
    """Root in name: it goes to every daemon's socket, and can change next to nothing."""
    unit = service("chatmail-doctor.service")
    assert unit["Type"] == "oneshot"
    assert unit["ProtectSystem"] == "strict"
    assert unit["ReadWritePaths"] == "/run /var/lib/chatmail-relay /var/spool/postfix"
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["SystemCallFilter"] == "@system-service"
    assert "CAP_SYS_ADMIN" not in unit["CapabilityBoundingSet"]
    assert unit["SocketBindDeny"] == "ipv4:tcp ipv6:tcp"


def test_sandbox_of_what_counts() -> None:
    """It looks into folders of others, and can write in none of them; it speaks to this machine."""
    unit = service(METRICS)
    assert unit["User"] == "_chatmail-metrics"
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == "CAP_DAC_READ_SEARCH"
    assert unit["ProtectSystem"] == "strict"
    assert unit["ReadWritePaths"] == "/run/chatmail/metrics"
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
    assert unit["SocketBindDeny"] == "any"
    assert "/var/lib/chatmail-relay" in unit["InaccessiblePaths"]


def test_sandbox_of_who_reads_the_journal() -> None:
    """It reads one journal, and writes into a pipe."""
    unit = service(LOG_FEED)
    assert unit["User"] == "_chatmail-log"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["PrivateNetwork"] == "yes"
    assert "ReadWritePaths" not in unit
    assert unit["TemporaryFileSystem"] == "/run/log:ro /var/log:ro"


@pytest.mark.parametrize("name", [EXPIRE, TRIM])
def test_sandbox_of_the_expiry(name: str) -> None:
    """It owns the mail and writes nothing else, and speaks to nobody."""
    unit = service(name)
    assert unit["Type"] == "oneshot"
    assert unit["User"] == "_chatmail"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["ProtectSystem"] == "strict"
    assert unit["NoNewPrivileges"] == unit["PrivateNetwork"] == "yes"
    assert unit["RestrictAddressFamilies"] == "AF_UNIX"
    assert unit["SystemCallFilter"].split()[0] == "@system-service"
    assert "~@privileged" in unit["SystemCallFilter"]
    credential = unit["LoadCredential"]
    assert credential == "chatmail.ini:/var/lib/chatmail-relay/settings/chatmail-expire.ini"


@daemons
def test_credential_is_its_own(unit: Unit) -> None:
    """Each daemon gets the file which apply writes for it."""
    name = unit.credential.removesuffix(".ini")
    credential = service(f"{name}.service")["LoadCredential"]
    assert credential == f"chatmail.ini:/var/lib/chatmail-relay/settings/{name}.ini"


@pytest.mark.parametrize("mode", ["acme", "self-signed", "external"])
@daemons
def test_credential_can_be_read(unit: Unit, mode: str) -> None:
    """What a daemon is given of settings that belong together is enough."""
    whole = settings(
        mail_domain="chat.example.org",
        tls_mode=mode,
        tls_certificate_file="/srv/cert.pem",
        tls_private_key_file="/srv/key.pem",
        registration="invite",
        invite_token="let-me-in",
    )
    given = "".join(f"{key} = {whole.format(key)}\n" for key in unit.settings)
    assert Settings.from_text(f"[params]\n{given}").mail_domain == "chat.example.org"
