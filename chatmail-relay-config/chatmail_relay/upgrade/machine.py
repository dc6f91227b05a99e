"""This machine, as `gate` has it."""

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from email.message import EmailMessage
from pathlib import Path

from chatmail_relay import commands
from chatmail_relay.command import run
from chatmail_relay.doctor import notice
from chatmail_relay.doctor.command import read_world
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Tree
from chatmail_relay.undo import Say
from chatmail_relay.upgrade import beginning, hold, packages, proof, state, words
from chatmail_relay.upgrade.copies import Copies
from chatmail_relay.upgrade.packages import OPTIONAL, Package
from chatmail_relay.upgrade.state import Faults, Outcome, Pending

APPLY = ("chatmail-relay", "apply")
REMEMBER = ("chatmail-relay", "upgrade", "remember")
"""The installed program keeps itself, since it is what was found to work."""


class ThisMachine:
    """The running system, whose files are TREE. SAY takes lines for the journal."""

    def __init__(self, tree: Tree, say: Say) -> None:
        self._tree = tree
        self._say = say

    def pending(self) -> Pending | None:
        return state.pending(self._tree)

    def keep_pending(self, to_keep: Pending) -> None:
        state.keep_pending(self._tree, to_keep)

    def forget_pending(self) -> None:
        state.forget_pending(self._tree)

    def packages(self) -> Mapping[str, Package]:
        return packages.installed()

    def release(self) -> str:
        return beginning.release()

    def wait_for_dpkg(self) -> None:
        packages.wait_for_dpkg()

    def dpkg_locked(self) -> AbstractContextManager[None]:
        return packages.dpkg_locked()

    def prove(self, known: Sequence[str]) -> Faults:
        return proof.prove(known)

    def configure(self) -> None:
        packages.configure_pending()

    def apply(self) -> None:
        run(APPLY, env=commands.BY_UPGRADE, timeout=packages.MINUTES)

    def previous_configuration(self, number: int) -> None:
        commands.rollback(
            argparse.Namespace(
                root=self._tree.root, number=number, diff=False, check=False, change_domain=True
            )
        )

    def copies(self, wanted: Mapping[str, str]) -> Mapping[str, Path]:
        return Copies(self._tree).of(wanted)

    def reinstall(self, debs: Sequence[Path]) -> None:
        optional = [deb for deb in debs if deb.name.partition("_")[0] in OPTIONAL]
        packages.install([deb for deb in debs if deb not in optional])
        for deb in optional:
            if packages.can_be_installed(deb):
                packages.install([deb])
            else:
                self._say(
                    f"warning: {deb.name} stays away, since it does not fit what else is there"
                )

    def remove(self, names: Sequence[str]) -> None:
        packages.remove(names)

    def seen(self) -> str:
        return packages.seen()

    def remember(self, seen: str) -> bool:
        done = run([*REMEMBER, "--seen", seen], check=False, timeout=packages.MINUTES)
        if done.returncode == packages.DPKG_CAME_BETWEEN:
            return False
        if done.returncode != 0:
            self._say(f"warning: this state could not be kept: {done.stderr.strip()}")
            state.forget_pending(self._tree)
        return True

    def hold(self) -> None:
        hold.hold(self._tree)

    def keep_outcome(self, outcome: Outcome) -> None:
        for line in words.explanation(outcome):
            self._say(line)
        state.keep_outcome(self._tree, outcome)

    def tell(self, outcome: Outcome) -> None:
        world = read_world(self._tree)
        summary = words.summary(outcome)

        def mail() -> EmailMessage:
            subject = f"{world.settings.mail_domain}: {summary}"
            return notice.compose(world, "an upgrade", subject, words.explanation(outcome))

        self._say(notice.deliver(world, mail))

    def deliver(self) -> None:
        with contextlib.suppress(OperatorError):
            run(["postqueue", "-f"])

    def now(self) -> float:
        return time.time()
