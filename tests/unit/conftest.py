"""What no unit test has to do for itself."""

import pytest

from tests.clients.dkim import rsa_key


@pytest.fixture(autouse=True)
def one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key signs for all relays, since making one takes longer than most tests."""
    monkeypatch.setattr("chatmail_relay.dkim.generate", rsa_key)
