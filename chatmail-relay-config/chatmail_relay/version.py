"""The version of this program, which is that of all packages of the relay."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The version that is installed."""
    try:
        return installed("chatmail-relay-config")
    except PackageNotFoundError:
        return "(not installed)"
