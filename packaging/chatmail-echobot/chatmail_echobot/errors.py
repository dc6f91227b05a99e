"""What an operator is told instead of a traceback."""


class StartError(Exception):
    """The bot cannot run as it is; the message says what to do."""


class NotNowError(Exception):
    """Something does not work now and may work later."""
