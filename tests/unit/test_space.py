"""An apply that does not fit on the disk is refused before it begins."""

from pathlib import Path

import pytest
from chatmail_relay import space
from chatmail_relay.errors import OperatorError

from tests.unit.relayroot import RelayRoot


@pytest.fixture
def relay(tmp_path: Path) -> RelayRoot:
    """A machine before its first apply."""
    made = RelayRoot(tmp_path / "relay")
    made.edit("mail_domain = _alpha.lab\n")
    return made


def require(relay: RelayRoot, free: int) -> None:
    """Ask for the room that the first apply needs."""
    applier = relay.applier([])
    space.require(relay.plan().files, applier.decide().changes, relay.tree, lambda _place: free)


def test_enough(relay: RelayRoot) -> None:
    """What is there now is enough."""
    require(relay, 100 * 1024 * 1024)
    assert space.free_bytes(relay.root) > 0


@pytest.mark.parametrize("free", [0, space.MARGIN])
def test_not_enough(relay: RelayRoot, free: int) -> None:
    """The file system is named, with what is free and what is needed, and nothing is written."""
    before = relay.files()
    with pytest.raises(OperatorError, match=r" MiB free, and this needs [5-9]\.\d MiB there"):
        require(relay, free)
    assert relay.files() == before


def test_counts_what_apply_writes(relay: RelayRoot) -> None:
    """It asks for more than an apply takes, at its widest."""
    applier = relay.applier([])
    work = applier.decide()
    plan = relay.plan()
    before, changes = relay.copy("before").tree, work.changes
    applier.carry_out(work, relay.entry())
    written = sum(path.stat().st_size for path in relay.root.rglob("*") if path.is_file())
    with pytest.raises(OperatorError):
        space.require(plan.files, changes, before, lambda _place: space.MARGIN + written)
