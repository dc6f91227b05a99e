"""The command line's grammar of `import`, `backup` and `restore`."""

import argparse
from pathlib import Path


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands; each has a --root."""
    for parser in (_import(commands), _backup(commands), _restore(commands)):
        parser.add_argument(
            "--root",
            type=Path,
            default=Path("/"),
            metavar="DIR",
            help="work in the system below DIR",
        )


def run(options: argparse.Namespace) -> int:
    """Carry out the one that was named; the exit code."""
    from chatmail_relay.moving import backup, importing, restore

    commands = {
        "import": importing.import_,
        "backup": backup.backup,
        "restore": restore.restore,
    }
    return commands[options.command](options)


def _import(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "import",
        help="take over a relay that upstream's cmdeploy set up",
        description="Copy the mailboxes of an existing relay, which goes on working: passwords, "
        "days of the last login, mail with its UIDs, tokens of devices. Run it as often as you "
        "like; each run brings what changed. Then stop the old relay's mail services and run it "
        "with --final, which brings the rest, settings and keys, and makes this machine the relay. "
        "Nothing is changed on the old side.",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="the root of the old machine: a folder, or USER@HOST (ssh)"
    )
    parser.add_argument("--dry-run", action="store_true", help="change nothing; say what would be")
    parser.add_argument(
        "--final", action="store_true", help="the old relay is stopped: this machine becomes it"
    )
    parser.add_argument(
        "--new-dkim-key",
        action="store_true",
        help="leave the key which signs mail behind, and make another one",
    )
    return parser


def _backup(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "backup",
        help="write all that makes this relay into an encrypted file",
        description="Write settings, keys, certificates, web pages of yours, and every account "
        "with its mail into a file encrypted by age(1), for the recipients given or with a "
        "passphrase that is asked for. The relay goes on working.",
    )
    parser.add_argument("file", metavar="FILE", help="the new file, or - for the standard output")
    parser.add_argument(
        "--recipient",
        "-r",
        action="append",
        default=[],
        metavar="KEY",
        help="who can restore it: a public key of age-keygen(1) or ssh-keygen(1); can be repeated",
    )
    parser.add_argument(
        "--recipients-file",
        "-R",
        action="append",
        default=[],
        metavar="FILE",
        help="a file with such keys, one a line",
    )
    return parser


def _restore(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "restore",
        help="make this machine the relay of a backup",
        description="Read a file of `chatmail-relay backup`, put settings and keys in place, and "
        "add every account that is not here, with its mail. Accounts that are here stay as they "
        "are. Then the relay is applied.",
    )
    parser.add_argument("file", metavar="FILE", help="the file, or - for the standard input")
    parser.add_argument(
        "--identity",
        "-i",
        action="append",
        default=[],
        metavar="FILE",
        help="a file with a secret key of age-keygen(1) or ssh-keygen(1); can be repeated",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing; read it whole and say what is in it"
    )
    return parser
