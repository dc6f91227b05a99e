# PYTHON_ARGCOMPLETE_OK
"""The `chatmail-relay` command; see chatmail-relay(8).

Exit codes: 0 fine, 1 failed or refused, 2 wrong usage.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import DEFAULT_PATH, load


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
        return _apply(options)
    except OperatorError as error:
        _complain(error)
    except KeyboardInterrupt:
        _complain(OperatorError("interrupted; everything is as it was"))
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
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    apply = commands.add_parser(
        "apply",
        help="make the relay be what its settings say",
        description="Render the configuration, have every daemon check it, put changed files in "
        "place, restart or reload exactly the units concerned, and see that they answer. When "
        "anything fails, what was there is put back.",
    )
    apply.add_argument(
        "--diff", action="store_true", help="show what would change, and change nothing"
    )
    apply.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit code 0 says that nothing would change",
    )
    apply.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="work in the system below DIR, without checking by daemons and without units",
    )
    apply.add_argument(
        "--restart",
        nargs="+",
        default=[],
        metavar="UNIT",
        help="restart these units of the relay even if nothing changed for them",
    )
    return parser


def _apply(options: argparse.Namespace) -> int:
    # Here, since completion and --help need none of it.
    from chatmail_relay.apply import LOCK, Applier
    from chatmail_relay.host import read_host
    from chatmail_relay.lock import exclusive
    from chatmail_relay.plan import make_plan
    from chatmail_relay.report import summary
    from chatmail_relay.tree import Tree

    tree = Tree(options.root.resolve())
    _require_root(tree.is_system)
    with exclusive(tree.root / LOCK, _say):
        settings = load(tree.real(str(DEFAULT_PATH)))
        for warning in settings.warnings():
            _say(f"warning: {warning}")
        plan = make_plan(settings, read_host(tree.root))
        applier = Applier(plan, tree, _say)
        work = applier.decide(forced=_known(options.restart, plan.units))
        applier.check(work)
        if options.diff:
            _say("".join(change.diff() for change in work.changes).rstrip())
        look_only = options.diff or options.check
        if not look_only:
            applier.carry_out(work)
        for line in summary(plan, work, done=not look_only):
            _say(line)
        return 1 if options.check and not work.nothing else 0


def _known(names: Sequence[str], units: Sequence[str]) -> list[str]:
    full = [name if "." in name else f"{name}.service" for name in names]
    for name in full:
        if name not in units:
            raise OperatorError(
                f"{name} is no unit of the relay", f"Its units are {', '.join(units)}."
            )
    return full


def _require_root(is_system: bool) -> None:
    if is_system and os.geteuid() != 0:
        raise OperatorError("only root can apply", "Run `sudo chatmail-relay apply`.")


def _say(line: str) -> None:
    """Print LINE; a reader who has gone is no reason to stop half-way."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: OperatorError) -> None:
    sys.stderr.write(f"chatmail-relay: {error.problem}\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")


def _end(number: int, _frame: FrameType | None) -> None:
    """End as by an interrupt, so that what was begun is put back."""
    raise KeyboardInterrupt(number)


def _version() -> str:
    try:
        return version("chatmail-relay-config")
    except PackageNotFoundError:
        return "(not installed)"


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell which asks for completions; it says so in the environment."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


if __name__ == "__main__":
    main()
