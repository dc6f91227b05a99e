"""The units' drop-ins, judged by systemd-analyze(1)."""

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/systemd/system/"


def check(stage: Stage) -> None:
    """Raise OperatorError when systemd has a word to say about a line of a drop-in."""
    folder = stage.path(PREFIX)
    units = sorted(item.name.removesuffix(".d") for item in folder.glob("*.d"))
    done = run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *_concrete(units)],
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{folder}:"},
    )
    words = [line for line in done.stderr.splitlines() if str(folder) in line]
    if words:
        raise refusal("systemd", "\n".join(words), stage)


def _concrete(units: list[str]) -> list[str]:
    """Templates cannot be verified by themselves; an instance of theirs can."""
    return [name.replace("@-.", "@-.").replace("@.", "@check.") for name in units]
