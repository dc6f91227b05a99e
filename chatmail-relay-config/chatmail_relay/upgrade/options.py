"""The command line's grammar of `upgrade`."""

import argparse


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    upgrade = commands.add_parser(
        "upgrade",
        help="say what became of upgrades; take from the repository again",
        description="After each upgrade of the relay or of a daemon it runs on, the local part of "
        "the doctor's examination decides whether it stays. If not, the configuration and the "
        "packages from before come back, nothing more is taken from the relay's repository, and "
        "admin_contact is told.",
        epilog="Exit codes: 0 fine; 1 an upgrade was taken back and the admin has not resumed.",
    )
    upgrade.add_argument(
        "action",
        nargs="?",
        choices=("show", "resume", "prepare", "check", "remember"),
        default="show",
        help="show (default): what became of upgrades; resume: take from the repository again. The "
        "others are run by apt, dpkg and systemd: prepare notes that an upgrade begins, check "
        "judges it once dpkg is done, remember makes what is installed the state to go back to",
    )
    upgrade.add_argument("--apt", action="store_true", help=argparse.SUPPRESS)
    upgrade.add_argument("--seen", default="", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Carry it out; the exit code."""
    from chatmail_relay.upgrade.command import upgrade

    return upgrade(options)
