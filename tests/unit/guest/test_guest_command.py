"""How `chatmail-relay check` says what it has found."""

import json
from argparse import Namespace

import pytest
from chatmail_relay.guest import command
from chatmail_relay.guest.command import as_json, shown
from chatmail_relay.guest.matter import Matter, Weight, hinders

BLOCKED = Matter(Weight.IN_THE_WAY, "x.service has port 80", "Stop it.")
CLOSED = Matter(Weight.TO_DO, "ufw is closed", "Open it.")
NEWS = Matter(Weight.TO_KNOW, "there is no IPv6")
SITE = Matter(Weight.SHARED, "nginx serves guest.lab")
ALL = [SITE, NEWS, CLOSED, BLOCKED]


def test_for_people() -> None:
    """What matters most comes first, with what to do below."""
    assert list(shown(ALL)) == [
        *("In the way:", "  x.service has port 80.", "    Stop it."),
        *("Left to you:", "  ufw is closed.", "    Open it."),
        *("To know:", "  there is no IPv6."),
        *("Goes on as before:", "  nginx serves guest.lab."),
        "Nothing was changed. `chatmail-relay check` looks again.",
    ]
    assert list(shown([SITE]))[-1] == "Nothing is in the way."


def test_brief() -> None:
    """Where a package is installed, only what somebody has to do."""
    assert list(shown([SITE, NEWS], brief=True)) == []
    assert list(shown([SITE, CLOSED], brief=True)) == [
        *("Left to you:", "  ufw is closed.", "    Open it."),
    ]


def test_for_programs() -> None:
    """Each weight is a list."""
    told = as_json(ALL)
    assert told["ok"] is False
    assert told["in_the_way"] == [{"what": BLOCKED.what, "advice": BLOCKED.advice}]
    assert set(told) == {"ok", "in_the_way", "to_do", "to_know", "shared"}
    assert as_json([NEWS])["ok"] is True


@pytest.mark.parametrize(("found", "code"), [(ALL, 1), ([CLOSED, NEWS], 0), ([], 0)])
def test_exit_code(
    found: list[Matter],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only what is in the way fails."""
    monkeypatch.setattr(command, "matters", lambda _settings: iter(found))
    assert command.check(Namespace(json=True, brief=False)) == code
    assert json.loads(capsys.readouterr().out)["ok"] is not hinders(found)
