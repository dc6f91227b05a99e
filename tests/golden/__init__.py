"""The whole configuration of some relays, as files to be read and compared.

`PYTHONPATH=chatmail-relay-config python3 -m tests.golden` writes them anew from the templates; a
unit test fails when they differ, so the diff of a template's change shows what it does to a server.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatmail_relay.host import Host
from chatmail_relay.plan import File, Plan, make_plan
from chatmail_relay.settings import STATE_DIR, Settings
from chatmail_relay.webpage import LANGUAGES

HERE = Path(__file__).parent
COMMAND = "PYTHONPATH=chatmail-relay-config python3 -m tests.golden"
REPEATED = (
    STATE_DIR / "settings",
    *(STATE_DIR / "www" / language for language in LANGUAGES if language != "en"),
    *(STATE_DIR / "www" / name for name in ("favicon.svg", "style.css")),
)

TRIXIE = Host(dovecot="2.4", nginx=(1, 26), postfix=(3, 10), cpus=2, ipv6=True)
TRIXIE_WITHOUT_IPV6 = Host(
    dovecot="2.4", nginx=(1, 26), postfix=(3, 10), cpus=8, ipv6=False, echobot=True
)
BOOKWORM = Host(dovecot="2.3", nginx=(1, 22), postfix=(3, 7), cpus=2, ipv6=True)
BOOKWORM_WITHOUT_IPV6 = Host(
    dovecot="2.3", nginx=(1, 22), postfix=(3, 7), cpus=8, ipv6=False, echobot=True
)
GUEST = Host(
    dovecot="2.4", nginx=(1, 26), postfix=(3, 10), cpus=1, ipv6=False,
    site_on_80=True, site_on_443=True, mounts=False,
)  # fmt: skip
"""A container that may not mount, where nginx has sites of its own."""

PLAIN = "mail_domain = _alpha.lab\n"
ACME = "mail_domain = chat.example.org\n"
LITERAL = "mail_domain = 192.0.2.1\nadmin_contact = admin@example.org\n"
FULL = """\
mail_domain = _chat.example.org
admin_contact = admin@example.org
mailboxes_dir = /srv/mail
registration = invite
invite_token = let-me-in-please
max_message_size = 1048576
max_smtp_recipients = 50
max_mailbox_size_mib = 100
imap_compress = yes
imap_hibernate_seconds = 0
max_imap_connections = 500
resolver_forward = 192.0.2.53 2001:db8::53
"""


def _repeated(path: PurePosixPath) -> bool:
    """Whether what PATH says is said elsewhere, too."""
    if path.match("*.service.d/60-without-mounts.conf"):  # the same for all but that one
        return path.parent.name not in ("doveauth.service.d", "chatmail-log-feed.service.d")
    return any(map(path.is_relative_to, REPEATED))


@dataclass(frozen=True)
class Golden:
    """One relay whose configuration is kept in the folder NAME."""

    name: str
    host: Host
    ini: str

    def plan(self) -> Plan:
        """Its configuration as the templates make it now."""
        return make_plan(Settings.from_text(f"[params]\n{self.ini}"), self.host)

    def files(self) -> list[File]:
        """What is made of templates, web pages in English; the rest repeats that for daemons and
        in other languages, or is a copy."""
        return [file for file in self.plan().files if not _repeated(file.path)]

    def rendered(self) -> dict[str, bytes]:
        """The bytes of the files, by their path below the folder."""
        return {str(file.path).lstrip("/"): file.content for file in self.files()}

    def kept(self) -> dict[str, bytes]:
        """The files that are kept, by their path below the folder."""
        folder = HERE / self.name
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    def write(self) -> None:
        """Make the kept files those that are rendered."""
        folder = HERE / self.name
        for path in self.kept().keys() - self.rendered().keys():
            (folder / path).unlink()
        for path, content in self.rendered().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


GOLDENS = (
    Golden("trixie-plain", TRIXIE, PLAIN),
    Golden("trixie-full", TRIXIE_WITHOUT_IPV6, FULL),
    Golden("trixie-literal", TRIXIE, LITERAL),
    Golden("trixie-acme", TRIXIE, ACME),
    Golden("trixie-guest", GUEST, ACME),
    Golden("bookworm-plain", BOOKWORM, PLAIN),
    Golden("bookworm-full", BOOKWORM_WITHOUT_IPV6, FULL),
    Golden("bookworm-literal", BOOKWORM, LITERAL),
)
