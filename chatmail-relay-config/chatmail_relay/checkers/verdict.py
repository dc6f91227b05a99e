"""What a checker's refusal looks like to an operator."""

from chatmail_relay.errors import OperatorError
from chatmail_relay.stage import Stage


def refusal(program: str, words: str, stage: Stage) -> OperatorError:
    """PROGRAM refused the staged configuration with WORDS, which name the file and the line."""
    return OperatorError(
        f"{program} refuses the new configuration: {stage.original(words).strip()}",
        "Nothing was changed. Correct the setting or the file it names, then apply again.",
    )
