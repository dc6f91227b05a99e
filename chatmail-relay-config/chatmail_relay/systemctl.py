"""systemd's units: what they are doing, and making them do something else, by systemctl(1)."""

from collections.abc import Iterable, Sequence

from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.host import can_mount
from chatmail_relay.units import POSTFIX, POSTFIX_INSTANCE

_RUNNING = {"active", "reloading", "activating"}


def inactive(units: Sequence[str]) -> list[str]:
    """Those of UNITS which are not running, in their order."""
    found = _other_than(units, "is-active", _RUNNING)
    return [unit for unit in units if unit in found or (unit == POSTFIX and _instance_is_down())]


def _instance_is_down() -> bool:
    """Whether postfix.service stands for an instance, which does not run."""
    return _has_instance() and bool(_other_than([POSTFIX_INSTANCE], "is-active", _RUNNING))


def _has_instance() -> bool:
    """Whether postfix.service stands for an instance."""
    return not _other_than([POSTFIX_INSTANCE], "is-enabled", {"enabled-runtime"})


def not_enabled(units: Sequence[str]) -> list[str]:
    """Those of UNITS which would not start with the machine, in their order."""
    return _other_than(units, "is-enabled", {"enabled", "static", "alias", "indirect"})


def _other_than(units: Sequence[str], question: str, wanted: set[str]) -> list[str]:
    if not units:
        return []
    answers = run(["systemctl", question, *units], check=False).stdout.split()
    if len(answers) != len(units):
        raise OperatorError(
            f"systemctl knows only {len(answers)} of {', '.join(units)}",
            "Is systemd running here, and is everything installed? See `systemctl status`.",
        )
    return [unit for unit, answer in zip(units, answers, strict=True) if answer not in wanted]


def states(units: Sequence[str]) -> list[tuple[str, str, str]]:
    """Each of UNITS with its UnitFileState (empty when it is not installed) and ActiveState."""
    found = []
    for unit in units:
        shown = run(["systemctl", "show", "--property=UnitFileState,ActiveState", unit]).stdout
        facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        found.append((unit, facts.get("UnitFileState", ""), facts.get("ActiveState", "inactive")))
    return found


def reload_manager() -> None:
    """Have systemd read its units again."""
    run(["systemctl", "daemon-reload"])


def enable(units: Iterable[str]) -> None:
    _act("enable", units)


def disable(units: Iterable[str]) -> None:
    _act("disable", units)


def mask(units: Iterable[str], *, runtime: bool = False) -> None:
    """Let nothing start UNITS; with RUNTIME until the next boot."""
    _act("mask", units, *(["--runtime"] if runtime else []))


def unmask(units: Iterable[str]) -> None:
    _act("unmask", units)


def stop(units: Iterable[str], *, wait: bool = True) -> None:
    """Stop UNITS, or without WAIT only say that they should: a start that waits is cancelled."""
    _act("stop", units, *([] if wait else ["--no-block"]))


def try_restart(unit: str) -> None:
    """Restart UNIT if it runs."""
    _act("try-restart", [unit])


def restart(unit: str) -> None:
    """Start UNIT anew; returns when it says that it is ready."""
    # A unit that failed often is not held back: a person asked for this start.
    run(["systemctl", "reset-failed", unit], check=False)
    if unit == POSTFIX and not _has_instance():
        # One that ran when Debian 12 became 13 is in the way of a restart, which it would join in,
        # and has nothing to stop itself by but systemd's signal.
        run(["systemctl", "--quiet", "stop", POSTFIX_INSTANCE], check=False)
        forget_failure([POSTFIX_INSTANCE])
    _act("restart", [unit])


def forget_failure(units: Iterable[str]) -> None:
    """Let UNITS not count as failed any more."""
    run(["systemctl", "reset-failed", *units], check=False)


def begin(unit: str) -> None:
    """Have UNIT start, and do not wait for it."""
    _act("start", [unit], "--no-block")


def reload(unit: str) -> None:
    """Have the running UNIT read its configuration again."""
    _act("reload", [unit])


def _act(verb: str, units: Iterable[str], *options: str) -> None:
    names = list(units)
    if not names:
        return
    done = run(["systemctl", "--quiet", verb, *options, *names], check=False)
    if done.returncode != 0:
        raise OperatorError(
            f"{' '.join(names)}: systemd could not {verb} it", journal_hint(names[0])
        )


def journal_hint(unit: str) -> str:
    """Where a unit of the relay says why."""
    # On Debian 12 it is the instance that does.
    name = "'postfix*'" if unit == POSTFIX else unit
    return f"See `journalctl {journal()} -u {name} -n 20`."


def journal() -> str:
    """The option that has journalctl(1) show the logs of the relay's daemons.

    In a container that may not mount they are among those of the machine.
    """
    return "--namespace=chatmail" if can_mount() else "--namespace=+chatmail"
