"""Has the first certificate asked for, and takes renewed ones over without an apply.

Taking over works with the configuration that was last applied, so that an admin's unfinished edits
stay what they are, and goes through the same journal: a certificate with which a daemon does not
answer is put back.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from chatmail_relay import acme, certificate, reach, systemctl
from chatmail_relay.apply import Applier, Say
from chatmail_relay.certificate import Choice
from chatmail_relay.changes import Change
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import File, Plan
from chatmail_relay.settings import Settings
from chatmail_relay.system import System
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import ACME, ACME_TIMER, CERTIFICATE
from chatmail_relay.work import decide
from chatmail_relay.x509 import Facts, Unusable

SETTLING = 3.0
"""Seconds in which certificate and key, which change one after the other, may not fit."""
PAUSE = 0.5
WARN_SECONDS = 14 * 24 * 3600.0

Sleep = Callable[[float], None]


def ask_authority(plan: Plan, tree: Tree, say: Say) -> None:
    """Where an authority has not given a certificate yet, have it asked, or say what is missing.

    Failures which these settings have ended are forgotten.
    """
    settings = plan.settings
    asked = ACME_TIMER in plan.units
    problem = asked and certificate.choose(settings, tree).problem
    if not asked:
        systemctl.forget_failure([ACME])
    if settings.tls_mode == "self-signed":
        systemctl.forget_failure([CERTIFICATE])
    if not problem:
        return
    for missing in reach.missing(settings.certificate_names, tree.real(acme.WEBROOT)):
        say(f"warning: {missing}")
    say(f"{settings.mail_domain}: asking for a certificate; see `systemctl status {ACME}`")
    systemctl.begin(ACME)


def take_over(
    plan: Plan,
    tree: Tree,
    system: System,
    say: Say,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Sleep = time.sleep,
) -> str:
    """Have the daemons of PLAN use the right certificate; what is said of it.

    Raises OperatorError when there is none that can be used, or when it ends soon.
    """
    settings = plan.settings
    while True:
        choice = _settled(settings, tree, sleep)
        changes = [change for file in choice.files if (change := _change(file, tree))]
        if not changes:
            break
        down = system.inactive(plan.units)
        runs = [unit for unit in plan.units if unit not in down]
        Applier(replace(plan, directories=()), tree, system, say).carry_out(decide(changes, runs))
        say(f"{settings.mail_domain}: the certificate has changed, and the daemons use the new one")
    if choice.problem and _awaited(settings, tree):
        return f"{settings.mail_domain}: {choice.problem}"
    if choice.problem:
        raise OperatorError(choice.problem, f"Meanwhile {choice.meanwhile}.")
    return _verdict(settings, tree, clock)


def _awaited(settings: Settings, tree: Tree) -> bool:
    """Whether there has never been a certificate; whoever asks for it says why."""
    return settings.tls_mode == "acme" and not tree.real(acme.live(settings)[0]).exists()


def _settled(settings: Settings, tree: Tree, sleep: Sleep) -> Choice:
    """The choice once what was being written is whole."""
    waited = 0.0
    while True:
        choice = certificate.choose(settings, tree)
        if not choice.problem or waited >= SETTLING or _awaited(settings, tree):
            return choice
        sleep(PAUSE)
        waited += PAUSE


def _change(file: File, tree: Tree) -> Change | None:
    found = tree.look(file.path)
    after = Found(file.content, None, *tree.ids(file.owner, file.group), file.mode)
    if (found.content, found.mode) == (after.content, after.mode):
        return None
    return Change(file.path, found, after, file.restart, file.reload)


def _verdict(settings: Settings, tree: Tree, clock: Callable[[], float]) -> str:
    own = _present(settings, tree)
    if clock() > own.due and own.ends - clock() < WARN_SECONDS:
        raise OperatorError(
            f"the certificate ends on {own.ending}, and nobody has renewed it",
            "It stays in use."
            + (" See `systemctl status chatmail-acme`." if settings.tls_mode == "acme" else ""),
        )
    return f"{settings.mail_domain}: issued by {own.issuer}, good until {own.ending}"


def _present(settings: Settings, tree: Tree) -> Facts:
    try:
        return certificate.present(settings, tree)
    except (OSError, Unusable) as why:
        problem = f"{settings.certificate} cannot be used: {why}"
        raise OperatorError(problem, "Run `chatmail-relay apply`, which mends it.") from None
