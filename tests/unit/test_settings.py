"""Settings: what is accepted, what is refused and in which words, and nothing undocumented."""

import re
import typing
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay import settings as module
from chatmail_relay.errors import SettingsError
from chatmail_relay.generate import generated
from chatmail_relay.kinds import DomainName, MailAddress, MailDomain
from chatmail_relay.settings import Settings, abouts, default_text, load

REPOSITORY = Path(__file__).parents[2]
MINIMAL = "[params]\nmail_domain = chat.example.org\n"


def read(*lines: str) -> Settings:
    """The settings of a minimal ini and LINES."""
    return Settings.from_text(MINIMAL + "\n".join(lines), "chatmail.ini")


def refusal(text: str) -> SettingsError:
    """The error which TEXT leads to."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_text(text, "chatmail.ini")
    return caught.value


# --- values ----------------------------------------------------------------------

GOOD_DOMAINS = [
    *("chat.example.org", "_alpha.lab", "a.b", "xn--bcher-kva.example", "1.example", "a-b.c-d.org"),
    *("a" * 63 + ".org", "_" + "a" * 62 + ".org", ".".join(["a" * 49] * 5) + ".org"),
]
HOSTILE_DOMAINS = [
    *(
        "",
        ".",
        "..",
        "a",
        "localhost",
        "a..b",
        ".a.b",
        "a.b.",
        "a/b.c",
        "../a.b",
        "a.b/..",
        "a\\.b",
    ),
    *(
        "a b.c",
        "a.b ",
        " a.b",
        "a.b\n",
        "a\n.b",
        "a.b\0",
        "a.b;",
        "a.b,c.d",
        "a.b'",
        'a.b"',
        "$a.b",
    ),
    *("-a.b", "a-.b", "a.-b", "a.b-", "a._b", "__a.b", "_.b", "_-a.b", "a_b.c", "%a.b", "*.a.b"),
    *(
        "127.0.0.1",
        "a.1",
        "[1.2.3.4]",
        "::1",
        "a.b:25",
        "user@a.b",
        "bücher.example",
        "а.b",
        "a.b#",
    ),
    *("a" * 64 + ".org", "_" + "a" * 63 + ".org", ".".join(["a" * 50] * 5) + ".org", "{a}.b"),
]


@pytest.mark.parametrize("domain", GOOD_DOMAINS)
def test_domain_accepted(domain: str) -> None:
    """Host names in DNS, with an underscore in front or without."""
    assert DomainName().parse(domain) == domain


@pytest.mark.parametrize("domain", HOSTILE_DOMAINS)
def test_domain_refused(domain: str) -> None:
    """Nothing that is no host name can become part of a path or a configuration."""
    with pytest.raises(ValueError):
        DomainName().parse(domain)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        *((text, True) for text in ("192.0.2.1", "10.0.0.1", "1.2.3.4", "223.255.255.255")),
        *((text, False) for text in ("0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255")),
        *((text, False) for text in ("01.2.3.4", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ")),
        *((text, False) for text in ("[1.2.3.4]", "1.2.3.4:25", "1.2.3.4/32", "0x7f.1.1.1", "1")),
        *((text, False) for text in ("\u0661.2.3.4", "::1", "1.2.3.4\n", "1.2.3.-4", "+1.2.3.4")),
    ],
)
def test_address_as_domain(text: str, allowed: bool) -> None:
    """An IPv4 address which others can reach, in its one usual form, can stand for a domain."""
    if allowed:
        assert MailDomain().parse(text) == text
    else:
        with pytest.raises(ValueError):
            MailDomain().parse(text)


def test_address_literal() -> None:
    """A relay without a name has brackets in its addresses, and nowhere else."""
    relay = Settings.from_text("[params]\nmail_domain = 192.0.2.1\nadmin_contact = a@b.c\n")
    assert relay.is_address_literal
    assert relay.address_domain == "[192.0.2.1]"
    assert str(relay.domain_dir).endswith("/192.0.2.1")
    assert relay.certificate_names == ("192.0.2.1",)
    assert relay.forwarded_addresses == ()
    assert relay.warnings() == []


def test_name_is_no_literal() -> None:
    """A relay with a name has it in its addresses as it is."""
    relay = read("undeliverable_after_hours = 0")
    assert not relay.is_address_literal
    assert relay.address_domain == "chat.example.org"


def test_domain_is_lowered() -> None:
    """DNS does not tell capital letters apart, paths do."""
    assert DomainName().parse("_Chat.Example.ORG") == "_chat.example.org"


GOOD_CONTACTS = ["", "a@b.c", "first.last+tag@example.org"]
HOSTILE_CONTACTS = [
    *(
        "a",
        "a@b",
        "@b.c",
        "a@",
        "a@@b.c",
        "a b@c.d",
        ".a@b.c",
        "a.@b.c",
        "a..b@c.d",
        "a@b.c, d@e.f",
    ),
    *("<a@b.c>", "|sh@b.c", "a/b@c.d", "a@b.c\nx@y.z", '"a"@b.c', "a%b@c.d", "a" * 65 + "@b.c"),
]


@pytest.mark.parametrize("contact", GOOD_CONTACTS)
def test_contact_accepted(contact: str) -> None:
    """A plain address, or none."""
    assert MailAddress().parse(contact) == contact


@pytest.mark.parametrize("contact", HOSTILE_CONTACTS)
def test_contact_refused(contact: str) -> None:
    """Nothing that Postfix could take for more than one address."""
    with pytest.raises(ValueError):
        MailAddress().parse(contact)


REFUSED = [
    ("mailboxes_dir = mail", "an absolute path"),
    ("mailboxes_dir = /", "an absolute path"),
    ("mailboxes_dir = /srv/../etc", "an absolute path"),
    ("mailboxes_dir = /srv//mail", "an absolute path"),
    ("mailboxes_dir = /srv/ma il", "an absolute path"),
    ("mailboxes_dir = /srv/%h", "an absolute path"),
    ("mailboxes_dir = /home/mail", "not below"),
    ("mailboxes_dir = /tmp", "not below"),
    ("turn_allowed_peers = 10.0.0.1", "networks such as 10.0.0.0/8"),
    ("turn_allowed_peers = 10.0.0.1/8", "networks"),
    ("turn_allowed_peers = everybody/0", "networks"),
    ("turn_min_port = 80", "a whole number from 1024"),
    ("turn_max_port = 49151", "at least 49152"),
    ("turn_max_allocations = 20000", "at most 16384"),
    ("username_min_length = 0", "a whole number from 1 to 64"),
    ("username_min_length = +9", "a whole number"),
    ("username_min_length = ٩", "a whole number"),
    ("username_min_length = 9.0", "a whole number"),
    ("username_min_length =", "a whole number"),
    ("max_message_size = 1e9", "a whole number from 65536"),
    ("max_message_size = 99999999999999999999", "a whole number"),
    ("create_max_load = nan", "a number from 0"),
    ("create_max_load = -1", "a number from 0"),
    ("create_max_load = inf", "a number from 0"),
    ("imap_compress = true", "yes or no"),
    ("registration = ajar", "one of open, invite, closed"),
    ("tls_mode = none", "self-signed"),
    ("invite_token = two words", "8 to 128 letters"),
    ("invite_token = short", "8 to 128 letters"),
    ("resolver_forward = dns.example", "IP addresses"),
    ("resolver_forward = fe80::1%eth0", "IP addresses"),
    ("appversions_file = versions.json", "or nothing"),
    ("username_max_length = 8", "at least 9"),
    ("registration = invite", "invite_token"),
    ("admin_contact = abuse@chat.example.org", "another mail address"),
    ("max_messages = 3", "max_message_size"),
    ("mail_domain = other.example", "each key once"),
    ("iroh_relay =", "own, none, or the URL"),
    ("iroh_relay = no", "own, none, or the URL"),
    ("iroh_relay = streams.example", "own, none, or the URL"),
    ("iroh_relay = wss://streams.example", "own, none, or the URL"),
    ("iroh_relay = https://streams.example/relay", "own, none, or the URL"),
    ("iroh_relay = https://user@streams.example", "own, none, or the URL"),
    ("iroh_relay = https://streams.example?a", "own, none, or the URL"),
    ("max_streams_per_address = 0", "a whole number from 1"),
]


@pytest.mark.parametrize(("line", "allowed"), REFUSED)
def test_refused_with_file_line_and_what_is_allowed(line: str, allowed: str) -> None:
    """Each mistake names its place, its key and what would do, in one line and a hint."""
    error = refusal(f"{MINIMAL}{line}\n")
    assert error.problem.startswith("chatmail.ini:3: ")
    assert allowed in error.problem
    assert line.split(" = ")[0].rstrip(" =") in error.problem
    assert "\n" not in error.problem
    assert error.hint


@pytest.mark.parametrize("line", ["invite_token = hunter2!!", "invite_token hunter2!!"])
def test_secret_is_not_repeated(line: str) -> None:
    """A mistyped token does not end up in a log."""
    error = refusal(f"{MINIMAL}{line}\n")
    assert "hunter2" not in str(error)
    assert error.value is None


FORMS = {
    "nothing": "",
    "no section": "mail_domain = a.b\n",
    "another section": f"{MINIMAL}[other]\nx = 1\n",
    "the section twice": f"{MINIMAL}[params]\n",
    "no domain": "[params]\n",
    "a value over two lines": "[params]\nmail_domain = a.b\n c.d\n",
    "a value begun in the next line": "[params]\nmail_domain =\n a.b\n",
    "a carriage return alone": f"{MINIMAL}imap_compress = no\rregistration = closed\n",
    "a vertical tab for a newline": f"{MINIMAL}\x0bregistration = closed\n",
    "a form feed for a newline": f"{MINIMAL}\x0cregistration = closed\n",
    "a C1 newline": f"{MINIMAL}#\x85registration = closed\n",
    "a line separator": f"{MINIMAL}#\u2028registration = closed\n",
    "a control character in a comment": f"{MINIMAL}# \x1b[2J\n",
    "a comment behind a value": "[params]\nmail_domain = a.b # here\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_form_refused(text: str) -> None:
    """A file that is not one section of settings is refused as a whole."""
    assert refusal(text).problem.startswith("chatmail.ini")


def test_every_value_is_typed() -> None:
    """What the kinds parse is what the fields declare."""
    settings = read(
        "appversions_file = /srv/v.json",
        "resolver_forward = 9.9.9.9, 2620:fe::fe",
        "imap_compress = yes",
    )
    hints = typing.get_type_hints(Settings)
    for key in abouts():
        hint = hints[key]
        kinds = typing.get_args(hint) if typing.get_origin(hint) is not tuple else (tuple,)
        value = getattr(settings, key)
        assert value in kinds or isinstance(
            value, tuple(kind for kind in (*kinds, hint) if isinstance(kind, type))
        ), key
        assert abouts()[key].kind.parse(settings.format(key)) == value


def test_defaults_are_allowed() -> None:
    """Each default is a value one could have written."""
    defaults = {key: default_text(key) for key in abouts()}
    assert [key for key, text in defaults.items() if text is None] == ["mail_domain"]
    written = [f"{key} = {text}" for key, text in defaults.items() if text is not None]
    assert read(*written) == read()


@pytest.mark.parametrize(
    ("domain", "line", "url"),
    [
        ("chat.example.org", "", "https://chat.example.org"),
        ("_chat.example.org", "", "http://_chat.example.org"),
        ("192.0.2.1", "", "http://192.0.2.1"),
        ("chat.example.org", "iroh_relay = none", ""),
        ("_a.lab", "iroh_relay = http://_b.lab:81/", "http://_b.lab:81/"),
        ("192.0.2.1", "iroh_relay = https://streams.example", "https://streams.example"),
    ],
)
def test_where_apps_find_the_relay_for_streams(domain: str, line: str, url: str) -> None:
    """There is no TLS where apps would refuse the certificate; another relay's URL is taken as it
    is, and nothing runs here for it."""
    settings = Settings.from_text(f"[params]\nmail_domain = {domain}\n{line}\n")
    assert settings.iroh_relay_url == url
    assert settings.runs_iroh_relay == (not line)


def test_paths_follow_from_the_settings() -> None:
    """The places which other parts use."""
    settings = read("mailboxes_dir = /srv/mail")
    assert settings.domain_dir == PurePosixPath("/srv/mail/chat.example.org")
    assert settings.certificate_names[1:] == ("www.chat.example.org", "mta-sts.chat.example.org")


def test_secret_is_not_shown() -> None:
    """The token stays out of tracebacks and logs."""
    assert "12345678" not in repr(read("invite_token = 12345678"))


def test_self_signed_needs_an_underscore() -> None:
    """A domain whose certificate no app accepts is a warning."""
    assert "underscore" in read("tls_mode = self-signed").warnings()[0]
    assert not Settings.from_text("[params]\nmail_domain = _a.lab").warnings()


def test_missing_file_says_what_to_run(tmp_path: Path) -> None:
    """Before the first configuration there is no ini."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "chatmail.ini")
    assert "dpkg-reconfigure" in caught.value.hint


def test_unreadable_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no text are an error like any other."""
    path = tmp_path / "chatmail.ini"
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(path)


# --- what is generated -------------------------------------------------------------


def test_generated_files_are_up_to_date() -> None:
    """After a change of the metadata: `python3 -m chatmail_relay.generate`."""
    for path, text in generated(REPOSITORY):
        assert path.read_text(encoding="utf-8") == text, path


def test_few_questions_by_default() -> None:
    """At debconf's default priority: the domain, the certificate and what it needs, the losses."""
    script = (REPOSITORY / "debian/chatmail-relay.config").read_text(encoding="utf-8")
    urgent = re.findall(
        r"(?:db_input|ask) (?:critical|high) (?:chatmail-relay/)?(?!invalid|chatmail)(\w+)", script
    )
    certificate = {"tls_mode", "admin_contact", "tls_certificate_file", "tls_private_key_file"}
    assert set(urgent) == {"mail_domain", "change_domain", "replace_postfix", *certificate}
    asked = {key for key, item in abouts().items() if item.question}
    assert asked == set(re.search(r'ASKED="([^"]*)"', script)[1].split())  # type: ignore[index]


def test_secrets_are_never_asked() -> None:
    """debconf's database is no place for a token."""
    assert not [key for key, item in abouts().items() if item.secret and item.question]


def test_documented() -> None:
    """Every setting says in a sentence what it means."""
    for key, item in abouts().items():
        assert item.meaning.endswith("."), key
    assert module.SECTION == "params"
