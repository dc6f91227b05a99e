"""The templates, as whole configurations and in what must hold in each of them."""

import re
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import pytest
from chatmail_relay.layout import TEMPLATES
from chatmail_relay.render import PACKAGE
from chatmail_relay.units import UNITS

from tests.golden import COMMAND, GOLDENS, Golden

PLAIN = GOLDENS[0]
AUTOCONFIG = "var/lib/chatmail-relay/www/.well-known/autoconfig/mail/config-v1.1.xml"

each_golden = pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.name)


def text(golden: Golden, path: str) -> str:
    """One rendered file."""
    return golden.rendered()[path].decode()


def services(golden: Golden) -> dict[str, list[str]]:
    """The services of master.cf by name: their line's words and `-o` options."""
    lines = re.sub(r"(?m)^#.*\n", "", text(golden, "etc/postfix/master.cf"))
    entries = [line.split() for line in re.sub(r"\n[ \t]+", " ", lines).splitlines() if line]
    return {entry[0]: entry[1:] for entry in entries if entry[:2] != ["smtp", "unix"]}


@each_golden
def test_nothing_differs_from_the_kept_files(golden: Golden) -> None:
    """Every rendered file is kept, byte for byte, and no other."""
    rendered, kept = golden.rendered(), golden.kept()
    differing = [path for path in sorted(rendered | kept) if rendered.get(path) != kept.get(path)]
    assert not differing, f"run `{COMMAND}` and look at the diff"


def test_every_template_is_used() -> None:
    """No template lies in the tree without a file that is made of it on some suite."""
    below = PACKAGE / "templates"
    present = {str(path.relative_to(below)) for path in below.rglob("*") if path.is_file()}
    sources = {item.source or f"{item.target}.j2" for item in TEMPLATES}
    used = {name.format(dovecot=version) for name in sources for version in ("2.3", "2.4")}
    assert present == used


@each_golden
def test_files_name_units_of_the_relay(golden: Golden) -> None:
    """What a changed file restarts or reloads is a unit which apply knows."""
    named = {unit for file in golden.files() for unit in (*file.restart, *file.reload)}
    assert named <= {unit.name for unit in UNITS} | {"systemd-journald@chatmail.service"}


@each_golden
def test_no_secret_is_rendered(golden: Golden) -> None:
    """The invite token stays in the ini."""
    assert not any(b"let-me-in-please" in content for content in golden.rendered().values())


@each_golden
def test_no_line_ends_in_blanks(golden: Golden) -> None:
    """Rendered files look as if a person had written them."""
    for path, content in golden.rendered().items():
        assert not re.search(rb"[ \t]\n|\n\n\n|\n\n\Z", content), path
        assert content.endswith(b"\n"), path


def test_every_smtp_listener_is_filtered() -> None:
    """Whoever can reach an smtpd goes through the filter, but for the filter itself."""
    for name, words in services(PLAIN).items():
        if words[6] != "smtpd":
            continue
        filtered = any(word.startswith("smtpd_proxy_filter=unix:filter/") for word in words)
        assert filtered != name.startswith("../chatmail/reinject-"), name


def test_submission_needs_a_login() -> None:
    """Each listener for users lets nobody else in and binds the sender to the login."""
    found = [words for words in services(PLAIN).values() if "smtpd_sasl_auth_enable=yes" in words]
    assert len(found) == 3
    for words in found:
        assert "smtpd_relay_restrictions=permit_sasl_authenticated,reject" in words
        assert "smtpd_sender_restrictions=$submission_sender_restrictions" in words
        assert "smtpd_tls_mandatory_protocols=>=TLSv1.3" in words


@each_golden
def test_networks_are_not_trusted(golden: Golden) -> None:
    """No restriction lets anybody do anything because of an address."""
    for path in ("etc/postfix/main.cf", "etc/postfix/master.cf"):
        assert "permit_mynetworks" not in text(golden, path)
        assert "permit_inet" not in text(golden, path)


def test_postfix_finds_all_services_its_package_would_add() -> None:
    """Debian's postinst appends services it misses, so none is missing."""
    wanted = "flush proxymap trace verify tlsmgr anvil scache discard retry relay postlog"
    assert set(wanted.split()) <= services(PLAIN).keys()


def test_autoconfig_names_the_ports_of_the_contract() -> None:
    """Mail apps are told three ways to fetch and three to send, the best first."""
    root = ElementTree.fromstring(PLAIN.rendered()[AUTOCONFIG])
    ways = [
        (server.get("type"), server.findtext("port"), server.findtext("socketType"))
        for server in root.iter()
        if server.tag in ("incomingServer", "outgoingServer")
    ]
    assert ways == [
        ("imap", "993", "SSL"),
        ("imap", "143", "STARTTLS"),
        ("imap", "443", "SSL"),
        ("smtp", "465", "SSL"),
        ("smtp", "587", "STARTTLS"),
        ("smtp", "443", "SSL"),
    ]
    assert {name.text for name in root.iter("username")} == {"%EMAILADDRESS%"}


def drop_in_of(golden: Golden, unit: str) -> str:
    """What varies in a unit."""
    return text(golden, f"etc/systemd/system/{unit}.service.d/50-chatmail-relay.conf")


def postfix(golden: Golden) -> str:
    """The unit which is Postfix: on Debian 12 that is an instance, and postfix.service nothing."""
    return "postfix@-" if golden.host.postfix_has_instances else "postfix"


@each_golden
def test_units_see_the_resolver_of_the_relay(golden: Golden) -> None:
    """Postfix asks our resolver, where systemd can let it."""
    bind = "BindReadOnlyPaths=/etc/chatmail-relay/resolv.conf:/etc/resolv.conf"
    assert (bind in drop_in_of(golden, postfix(golden))) is golden.host.mounts
    assert "nameserver 127.0.0.83\n" in text(golden, "etc/chatmail-relay/resolv.conf")


@each_golden
def test_one_unit_of_postfix_is_changed(golden: Golden) -> None:
    """The other is left: a drop-in for a daemon makes a unit that is none hang."""
    names = {path.split("/")[3] for path in golden.rendered() if path.startswith("etc/systemd/sys")}
    found = {name for name in names if name.startswith("postfix")}
    assert found == {f"{postfix(golden)}.service.d"}


@each_golden
@pytest.mark.parametrize("name", ["postfix", "dovecot", "nginx"])
def test_daemons_of_others_are_restarted(golden: Golden, name: str) -> None:
    """What Debian's units leave to an admin is done by systemd: one that dies comes back."""
    unit = postfix(golden) if name == "postfix" else name
    drop_in = drop_in_of(golden, unit)
    for line in ("StartLimitIntervalSec=0", "Restart=on-failure", "RestartSec=2s"):
        assert f"\n{line}\n" in drop_in
    if unit.startswith("postfix"):  # Debian 12's unit does not know which process it is
        assert "\nPIDFile=/var/spool/postfix/pid/master.pid\n" in drop_in
        assert "\nWants=chatmail-clock.timer\n" in drop_in  # its queue waits by the clock


def test_paths_are_absolute_and_once() -> None:
    """No two templates make the same file."""
    paths = [file.path for file in PLAIN.plan().files]
    assert len(paths) == len(set(paths))
    assert all(path.is_absolute() and isinstance(path, PurePosixPath) for path in paths)


UNITS_OF_OURS = sorted((Path(__file__).parents[2] / "debian").glob("chatmail-relay.*.service"))
MOUNTING = ("LogNamespace=", "BindPaths=", "BindReadOnlyPaths=", "TemporaryFileSystem=")


@pytest.mark.parametrize("unit", UNITS_OF_OURS, ids=lambda path: path.name.split(".")[1])
def test_units_start_in_a_container_that_may_not_mount(unit: Path) -> None:
    """systemd would refuse those that ask to see other files; a drop-in takes that away."""
    text = unit.read_text(encoding="utf-8")
    assert "DynamicUser=yes" not in text
    if any(option in text for option in MOUNTING):
        name = f"{unit.name.split('.')[1]}.service.d/60-without-mounts.conf"
        sources = [item.source for item in TEMPLATES if item.target.endswith(f"/{name}")]
        assert len(sources) == 1, unit.name
        drop_in = (PACKAGE / "templates" / sources[0]).read_text(encoding="utf-8")
        assert all(f"{option}\n" in drop_in for option in MOUNTING)
