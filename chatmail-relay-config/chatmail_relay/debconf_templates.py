"""The text of debian/chatmail-relay.templates: what debconf asks, from the settings' metadata.

A setting with a question becomes `chatmail-relay/KEY`, and, where an answer can be wrong, an error
`chatmail-relay/invalid_KEY`. Lines that start with an underscore are translated (po-debconf(7)).
"""

from textwrap import wrap

from chatmail_relay.about import About
from chatmail_relay.kinds import OneOf
from chatmail_relay.settings import abouts, default_text

PREFIX = "chatmail-relay"
WIDTH = 78

NOTE = """\
# Made by `python3 -m chatmail_relay.generate` from the settings' metadata: edit that instead.

"""

REPLACE_POSTFIX = """\
Template: chatmail-relay/replace_postfix
Type: boolean
Default: false
_Description: Replace the configuration of the Postfix on this machine?
 Postfix was configured here before the chatmail relay came. The relay needs
 main.cf and master.cf for itself: mail for other domains, aliases and relays
 set up there would end.
 .
 The present files are kept in /var/lib/chatmail-relay/original and put back
 when the package is removed. If you refuse, the relay stays unconfigured and
 Postfix goes on as it is.
"""

DELETE_MAIL = """\
Template: chatmail-relay/delete_mail
Type: boolean
Default: false
_Description: Delete all mail, accounts and keys of the chatmail relay?
 The package is being purged. The mailboxes, the accounts with their passwords
 and devices, and the keys of the certificate and of the signatures (DKIM) can
 go with it, and nobody can bring them back.
 .
 If you refuse, they stay in /var/lib/chatmail or where the mail is kept,
 /var/lib/chatmail-metadata, /var/lib/chatmail-relay/tls,
 /var/lib/chatmail-relay/dkim and /var/lib/acme, and a relay that is installed
 again goes on with them.
"""

CHANGE_DOMAIN = """\
Template: chatmail-relay/change_domain
Type: boolean
Default: false
_Description: Change the domain, and lose the accounts of the present one?
 This relay has accounts whose addresses are of its present domain. With
 another domain nobody can log in to them or write to them any more. Their
 mail stays on disk.
 .
 If you refuse, the domain stays as it is.
"""


def asked() -> dict[str, About]:
    """The settings which debconf asks for, by key."""
    return {key: item for key, item in abouts().items() if item.question}


def render_templates() -> str:
    """The whole file."""
    blocks = [REPLACE_POSTFIX, CHANGE_DOMAIN]
    for key, item in asked().items():
        blocks.append(_question(key, item))
        if not isinstance(item.kind, OneOf):
            blocks.append(_error(key, item))
    blocks.append(DELETE_MAIL)
    return NOTE + "\n".join(blocks)


def _question(key: str, item: About) -> str:
    default = default_text(key)
    lines = [f"Template: {PREFIX}/{key}"]
    if isinstance(item.kind, OneOf):
        choices = ", ".join(item.kind.choices)
        lines += ["Type: select", f"Choices-C: {choices}", f"__Choices: {choices}"]
    else:
        lines.append("Type: string")
    if default:
        lines.append(f"Default: {default}")
    return "\n".join(lines) + "\n" + _description(item.question, item.meaning)


def _error(key: str, item: About) -> str:
    head = f"Template: {PREFIX}/invalid_{key}\nType: error\n"
    name = item.question.rstrip(":?")
    return head + _description("This answer cannot be used", f"{name}: {item.kind.allowed}.")


def _description(short: str, long: str) -> str:
    body = "".join(f" {line}\n" for line in wrap(long, WIDTH, break_on_hyphens=False))
    return f"_Description: {short}\n{body}"
