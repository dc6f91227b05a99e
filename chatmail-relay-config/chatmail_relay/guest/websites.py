"""Sites which nginx serves here beside the relay, as `nginx -T` shows its own configuration.

Sites in conf.d and sites-enabled go on being served. Port 443 is the relay's; what comes there for
other names is handed to sites that listen on SHARED.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.command import run
from chatmail_relay.guest.matter import Matter, Weight
from chatmail_relay.guest.packaged import edited_conffile
from chatmail_relay.host import SHARED, sites
from chatmail_relay.settings import Settings

MAIN = "/etc/nginx/nginx.conf"
DEFAULT = "/etc/nginx/sites-available/default"
FOLDERS = ("/etc/nginx/conf.d/", "/etc/nginx/sites-enabled/")

EVERYWHERE = ("*", "0.0.0.0", "[::]")  # noqa: S104 # as nginx writes it

_WITHOUT_IPV6 = "failed (97:"
"""nginx's word for sockets of a family which there is not."""

_FILE = re.compile(r"(?m)^# configuration file (\S+):$")
_SERVER = re.compile(r"\bserver\s*\{")
_COMMENT = re.compile(r"(?m)(^|\s)#.*$")
_LISTEN = re.compile(r"\blisten\s+([^;]+);")
_NAMES = re.compile(r"\bserver_name\s+([^;]+);")


@dataclass(frozen=True)
class Site:
    """One `server` of nginx: its file, where it listens (without options), its names."""

    file: str
    listens: tuple[str, ...]
    names: tuple[str, ...]

    def on(self, port: int) -> list[str]:
        """Where it listens on PORT: addresses, empty for all."""
        found = []
        for listen in self.listens:
            address, _, number = listen.rpartition(":")
            if not number.isdecimal():
                address, number = listen, "80"  # an address alone
            if number == str(port) and not listen.startswith("unix:"):
                found.append("" if address in EVERYWHERE else address)
        return found


@dataclass(frozen=True)
class Web:
    """What nginx would do here by its own configuration."""

    sites: tuple[Site, ...] = ()
    refusal: str = ""
    """Why it would not start with that."""
    main_edited: bool = False


def look(root: Path = Path("/")) -> Web:
    """nginx's own configuration, whether or not it runs with that now."""
    if not (root / MAIN.lstrip("/")).exists():
        return Web()
    done = run(["nginx", "-T", "-q", "-c", MAIN], check=False)
    refusal = "" if done.returncode == 0 else _reason(done.stderr)
    # One that nginx refuses it does not show.
    shown = parse(done.stdout if done.stdout.strip() else _files(root))
    edited = edited_conffile(root, DEFAULT)
    found = [site for site in shown if edited or not site.file.endswith("/sites-enabled/default")]
    if _WITHOUT_IPV6 in refusal and not any(map(_wants_ipv6, found)):
        refusal = ""  # because of the page that comes with nginx, which is then left out
    return Web(tuple(found), refusal, edited_conffile(root, MAIN))


def _reason(words: str) -> str:
    lines = words.strip().splitlines() or ["it does not say why"]
    return next((line for line in lines if "[emerg]" in line), lines[-1])


def _files(root: Path) -> str:
    """The files of sites, as nginx would show them."""
    return "".join(
        f"# configuration file /{path.relative_to(root)}:\n"
        + path.read_text(encoding="utf-8", errors="replace")
        for path in sites(root)
        if path.is_file()
    )


def _wants_ipv6(site: Site) -> bool:
    return any(listen.startswith("[") for listen in site.listens)


def parse(dump: str) -> Iterator[Site]:
    """The sites in what `nginx -T` prints."""
    parts = _FILE.split(dump)
    for file, text in zip(parts[1::2], parts[2::2], strict=True):
        plain = _COMMENT.sub("", text)
        for server in _SERVER.split(plain)[1:]:
            listens = [words.split()[0] for words in _LISTEN.findall(server)] or ["80"]
            listens = [f"*:{word}" if word.isdecimal() else word for word in listens]
            names = [name for words in _NAMES.findall(server) for name in words.split()]
            yield Site(file, tuple(listens), tuple(names))


def judge(web: Web, settings: Settings) -> Iterator[Matter]:
    """Which sites go on, and which cannot."""
    if web.refusal:
        yield Matter(
            Weight.IN_THE_WAY,
            f"nginx does not start with its present configuration: {web.refusal}",
            "Mend that until `nginx -t` is content.",
        )
    if web.main_edited:
        yield Matter(
            Weight.TO_KNOW,
            f"{MAIN} was edited, and nginx runs with the relay's own instead",
            "What sites need of it belongs into a file in /etc/nginx/conf.d, which is read.",
        )
    for site in web.sites:
        yield from _judge_site(site, settings)


def _judge_site(site: Site, settings: Settings) -> Iterator[Matter]:
    if not site.file.startswith(FOLDERS):
        yield Matter(
            Weight.TO_KNOW,
            f"a site in {site.file} is not served while the relay is here",
            f"Move it to a file in {FOLDERS[0]} or {FOLDERS[1]}.",
        )
        return
    stopped = list(_on_our_ports(site, settings))
    yield from stopped
    if not stopped:
        where = " ".join(site.names) or ", ".join(site.listens)
        yield Matter(Weight.SHARED, f"nginx serves {where} ({site.file})")


def _on_our_ports(site: Site, settings: Settings) -> Iterator[Matter]:
    if site.on(443):
        yield Matter(
            Weight.IN_THE_WAY,
            f"a site in {site.file} listens on port 443, which the relay's nginx needs",
            f"Have it `listen {SHARED} ssl proxy_protocol;` instead: what comes to port 443 for "
            "other names than the relay's is handed on there. `set_real_ip_from 127.0.0.0/8; "
            "real_ip_header proxy_protocol;` shows it the visitors' addresses.",
        )
    if site.on(8443):
        yield Matter(
            Weight.IN_THE_WAY,
            f"a site in {site.file} listens on port 8443, which the relay's nginx needs",
            "Have it listen on another port.",
        )
    own = [address for address in site.on(80) if address]
    if own and settings.tls_mode == "acme":
        yield Matter(
            Weight.IN_THE_WAY,
            f"a site in {site.file} has port 80 of {own[0]} for itself, so that the certificate "
            "authority does not find the relay's answers there",
            "Have it `listen 80;` without an address: nginx tells both apart by name.",
        )
    taken = sorted(set(site.names) & set(settings.certificate_names))
    if taken and site.on(80):
        yield Matter(
            Weight.TO_KNOW,
            f"a site in {site.file} is for {taken[0]}, too, where the relay answers",
            "Give it another name, or it is not reached.",
        )
