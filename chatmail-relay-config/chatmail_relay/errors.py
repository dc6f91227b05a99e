"""The one family of errors an operator sees: what is wrong, and what to do next.

The command line turns an OperatorError into two lines on stderr and exit code 1; anything else
that escapes is a bug.
"""


class OperatorError(Exception):
    """A problem stated in one sentence, with the next step as its hint."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}\n{self.hint}" if self.hint else self.problem


class SettingsError(OperatorError):
    """Something in the settings file is wrong; nothing was changed because of it.

    `value` is None where there is none or where it is secret.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str,
        line: int | None = None,
        key: str | None = None,
        value: str | None = None,
        allowed: str | None = None,
        hint: str = "",
    ) -> None:
        place = file if line is None else f"{file}:{line}"
        allowance = f"; allowed is {allowed}" if allowed else ""
        super().__init__(f"{place}: {problem}{allowance}", hint or f"Correct {file}, then go on.")
        self.file = file
        self.line = line
        self.key = key
        self.value = value
        self.allowed = allowed
