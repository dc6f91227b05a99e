"""What became of an upgrade that was not good, in words for the operator."""

from collections.abc import Iterator, Mapping

from chatmail_relay.upgrade.state import Outcome

RESUME = "chatmail-relay upgrade resume"


def summary(outcome: Outcome) -> str:
    """The whole in one line."""
    what = versions(outcome.bad) or "the daemons it runs on"
    done = {
        "configuration": "did not work with chatmail.ini as it was edited, which was taken back",
        "packages": "did not work and was taken back",
        "helpless": "did not work, and could not be taken back",
    }[outcome.result]
    return f"the upgrade of {what} {done}"


def explanation(outcome: Outcome) -> Iterator[str]:
    """What was found, what there is now, and what to do next."""
    yield f"{summary(outcome)[0].upper()}{summary(outcome)[1:]}."
    yield ""
    yield "found"
    for name, said in outcome.found.items():
        yield f"  {name}: {said}"
    if outcome.back:
        yield f"now there is {versions(outcome.back)}"
    if outcome.reason:
        yield f"what remains: {outcome.reason}"
    yield from _next_steps(outcome)


def _next_steps(outcome: Outcome) -> Iterator[str]:
    yield ""
    if outcome.result == "configuration":
        yield "The edits are in `chatmail-relay history`, or in chatmail.ini.unapplied beside the"
        yield "ini. Make them anew, correctly, then run `chatmail-relay apply`."
    if outcome.result == "helpless":
        yield "`chatmail-relay doctor` says what to do about what is wrong now."
    if outcome.held:
        yield "Nothing more is installed from the relay's repository until you run"
        yield f"`{RESUME}`, as when there is a release that mends this."
    else:
        yield f"`{RESUME}` takes note of it."


def versions(packages: Mapping[str, str]) -> str:
    """Packages with their versions, those of one version together."""
    names: dict[str, list[str]] = {}
    for name, version in sorted(packages.items()):
        names.setdefault(version, []).append(name)
    groups = (f"{', '.join(group)} {version or '(gone)'}" for version, group in names.items())
    return "; ".join(groups)
