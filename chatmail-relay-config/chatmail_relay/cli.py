# PYTHON_ARGCOMPLETE_OK
"""The `chatmail-relay` command; see chatmail-relay(8).

Exit codes: 0 fine, 1 failed or refused, 2 wrong usage.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from chatmail_relay.errors import OperatorError
from chatmail_relay.moving import options as moving
from chatmail_relay.upgrade import options as upgrade
from chatmail_relay.version import version


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line ARGV and exit."""
    parser = make_parser()
    _complete(parser)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    sys.exit(_guarded(options))


def _guarded(options: argparse.Namespace) -> int:
    """Run the command; whatever happens, an operator gets words and no traceback."""
    try:
        return _command(options)
    except OperatorError as error:
        _complain(error)
    except KeyboardInterrupt:
        _complain(OperatorError("interrupted; what had been begun is put back"))
    except Exception as error:
        if "CHATMAIL_RELAY_DEBUG" in os.environ:
            raise
        _complain(
            OperatorError(
                f"unexpected {type(error).__name__}: {error}",
                "This is a bug. CHATMAIL_RELAY_DEBUG=1 in the environment shows where; "
                "please report it with that.",
            )
        )
    return 1


def make_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="chatmail-relay",
        description="Configure a chatmail relay from its settings.",
        epilog="See chatmail-relay(8) and chatmail.ini(5).",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_apply(commands)
    _add_rollback(commands)
    _add_dns(commands)
    _add_firewall(commands)
    _add_check(commands)
    _add_www(commands)
    _add_doctor(commands)
    _add_status(commands)
    past = commands.add_parser(
        "history",
        help="list the last good configurations",
        description="List the last ten configurations which all daemons answered with, the latest "
        "first, with date (UTC), version, and what changed.",
    )
    _add_root(past)
    _add_expire(commands)
    moving.add(commands)
    upgrade.add(commands)
    certificate = commands.add_parser(
        "certificate",
        help="take over a renewed certificate",
        description="Have the daemons use the certificate that acmetool, or in mode external "
        "somebody else, has renewed, if clients would take it, and say how long it is good. This "
        "happens by itself whenever it changes, and once a day. Settings that were edited since "
        "the last apply are not applied.",
    )
    _add_root(certificate)
    recover = commands.add_parser(
        "recover",
        help="end an apply that was interrupted",
        description="Put back what an interrupted apply had changed. The next apply does the same "
        "before anything else, and so does the machine when it boots.",
    )
    recover.add_argument(
        "--boot", action="store_true", help="restart no units: they are about to be started"
    )
    _add_root(recover)
    return parser


def _add_apply(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    apply = commands.add_parser(
        "apply",
        help="make the relay be what its settings say",
        description="Render the configuration, have every daemon check it, put changed files in "
        "place, restart or reload exactly the units concerned, and see that they answer. When "
        "anything fails, what was there is put back.",
    )
    _add_diff(apply)
    apply.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit code 0 says that nothing would change",
    )
    _add_root(apply)
    apply.add_argument(
        "--restart",
        nargs="+",
        default=[],
        metavar="UNIT",
        help="restart these units of the relay even if nothing changed for them",
    )
    _add_change_domain(apply)


def _add_rollback(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    rollback = commands.add_parser(
        "rollback",
        help="return to an earlier configuration",
        description="Return to the configuration before the present one, or to the one with the "
        "given number: chatmail.ini and every file made of it, as they were. It is applied like "
        "any other: checked first, and put back when anything fails.",
    )
    rollback.add_argument(
        "number", type=int, nargs="?", metavar="N", help="its number in `chatmail-relay history`"
    )
    _add_diff(rollback)
    _add_root(rollback)
    _add_change_domain(rollback)


def _add_dns(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    dns = commands.add_parser(
        "dns",
        help="print or check the relay's DNS records",
        description="Print the DNS records this relay needs, ready to be published, or check those "
        "that are: every authoritative server of the zone is asked itself, and each record is "
        "right, wrong or missing.",
        epilog="Exit codes of --check: 0 all required records are right; 1 one is wrong or "
        "missing, or something else failed; 3 it cannot be told, since no server answers.",
    )
    dns.add_argument("--check", action="store_true", help="check what is published")
    dns.add_argument(
        "--format",
        choices=("zone", "table", "json"),
        help="a zone file (without --check), a table for a provider's form, or JSON for programs",
    )
    dns.add_argument(
        "--zone",
        default="",
        metavar="NAME",
        help="in the table, names relative to this zone, as most forms want them",
    )
    _add_root(dns)


def _add_firewall(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    firewall = commands.add_parser(
        "firewall",
        help="print rules that open the relay's ports",
        description="Print the rules of a firewall that let in what the relay is there for, as its "
        "settings are. Nothing is opened: rules are for the admin to read and to use.",
    )
    firewall.add_argument(
        "--format",
        choices=("nftables", "ufw", "json"),
        default="nftables",
        help="rules for nft(8) (default), commands of ufw(8), or JSON for programs",
    )
    _add_root(firewall)


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser(
        "check",
        help="say what on this machine is in the relay's way",
        description="Look at what this machine already does (sites, resolvers, mail servers, "
        "packet filters, limits of its kernel or container) and say what is in the relay's way and "
        "what to do, what is left to you, and what goes on as before. Nothing is changed. The "
        "package does this before it configures a relay for the first time.",
        epilog="Exit codes: 0 nothing is in the way; 1 something is; 2 wrong usage.",
    )
    check.add_argument("--json", action="store_true", help="show it as JSON")
    check.add_argument(
        "--brief", action="store_true", help="show only what somebody has to do, if anything"
    )


def _add_www(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    www = commands.add_parser("www", help="look at the web pages", description="The web pages.")
    actions = www.add_subparsers(dest="action", metavar="ACTION", required=True)
    preview = actions.add_parser(
        "preview",
        help="serve them as they would be published",
        description="Serve the web pages on this machine as the next apply would publish them, "
        "with the files in /etc/chatmail-relay/www in the place of ours. Settings and files are "
        "read anew for every request.",
    )
    preview.add_argument(
        "--address", default="127.0.0.1", help="listen on this address instead of %(default)s"
    )
    preview.add_argument(
        "--port", type=int, default=8000, help="listen on this port instead of %(default)s"
    )
    _add_root(preview)


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="try whether the relay works, and say what does not",
        description="Prove the relay by using it: a message to oneself and one to another relay "
        "and back, port 25 both ways, our signature, every certificate and record, calls, streams, "
        "notifications, queues, clock, disk, keys and versions. Each fault is said with what it "
        "means, its likely cause and the next command; what follows from it is not judged. A timer "
        "does this once a day, and mails the contact when something is wrong.",
        epilog="Exit codes: 0 nothing is wrong; 1 something is; 2 wrong usage.",
    )
    doctor.add_argument(
        "--local",
        action="store_true",
        help="only try what needs no other server, as after an upgrade",
    )
    doctor.add_argument("--json", action="store_true", help="show the findings as JSON")
    doctor.add_argument(
        "--mail", action="store_true", help="tell admin_contact by mail when something is wrong"
    )


def _add_status(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    status = commands.add_parser(
        "status",
        help="show on one screen how the relay is",
        description="Show version, domain, certificate, units, ports, queue, disk, accounts, "
        "the messages of the last hour and day, the last expiry, and what needs doing.",
        epilog="Exit codes, for monitoring: 0 nothing needs doing; 1 something does; 2 wrong "
        "usage.",
    )
    status.add_argument("--json", action="store_true", help="show it as JSON")


def _add_expire(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    expire = commands.add_parser(
        "expire",
        help="delete old mail and idle accounts",
        description="Delete what is kept no longer: old mail, large mail that was seen, the oldest "
        "of mailboxes that are nearly full, and accounts that nobody uses. This happens by itself "
        "every hour.",
        epilog="Exit codes: 0 done; 1 something had to be left as it is, or nothing could be done.",
    )
    expire.add_argument(
        "--dry-run", action="store_true", help="delete nothing; say what would go, and how much"
    )
    expire.set_defaults(root=Path("/"))


def _add_diff(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--diff", action="store_true", help="show what would change, and change nothing"
    )


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="work in the system below DIR, without checking by daemons and without units",
    )


def _add_change_domain(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--change-domain",
        action="store_true",
        help="change the domain of a relay that has accounts without asking; they are lost",
    )


def _command(options: argparse.Namespace) -> int:
    # Here, since completion and --help need none of it.
    from chatmail_relay import commands, expirecommand, firewall, preview
    from chatmail_relay.guest import command as guest
    from chatmail_relay.zone import command as zone

    root: Path = getattr(options, "root", Path("/"))
    if root.resolve() == Path("/") and os.geteuid() != 0:
        raise OperatorError(
            "only root can do that", f"Run `sudo chatmail-relay {options.command}`."
        )
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "apply": commands.apply,
        "rollback": commands.rollback,
        "dns": zone.dns,
        "firewall": firewall.firewall,
        "check": guest.check,
        "www": preview.preview,
        "doctor": _doctor,
        "status": _status,
        "expire": expirecommand.expire,
        "upgrade": upgrade.run,
        "history": commands.show_history,
        "certificate": commands.renew,
        "recover": commands.recover,
        "import": moving.run,
        "backup": moving.run,
        "restore": moving.run,
    }
    return run[options.command](options)


def _doctor(options: argparse.Namespace) -> int:
    from chatmail_relay.doctor.command import doctor  # takes longer to load than all others

    return doctor(options)


def _status(options: argparse.Namespace) -> int:
    from chatmail_relay.doctor.status import status

    return status(options)


def _complain(error: OperatorError) -> None:
    sys.stderr.write(f"chatmail-relay: {error.problem}\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")


def _end(number: int, _frame: FrameType | None) -> None:
    """End as by an interrupt, so that what was begun is put back."""
    raise KeyboardInterrupt(number)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell which asks for completions; it says so in the environment."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


if __name__ == "__main__":
    main()
