"""What is written down before the first apply, and put back at removal."""

from pathlib import Path
from subprocess import CompletedProcess

import pytest
from chatmail_relay import before, kernel, systemctl
from chatmail_relay.before import KERNEL, KERNEL_SETTINGS, RECORD, Before, UnitState
from chatmail_relay.changes import APPLIED
from chatmail_relay.tree import Found, Tree

from tests.golden import GOLDENS

OURS = "# Ours.\nfs.inotify.max_user_instances = 12048\nfs.inotify.max_user_watches = 524288\n"


class Units:
    """Stands in for systemctl: units with their two states, and what was asked of them."""

    def __init__(self, **states: tuple[str, str]) -> None:
        self.states = {f"{name}.service": state for name, state in states.items()}
        self.done: list[str] = []
        self.broken: set[str] = set()

    def run(self, argv: list[str], *, check: bool = True) -> CompletedProcess[str]:
        """Answer as systemctl does."""
        words = [word for word in argv[1:] if not word.startswith("--")]
        if words[0] == "show":
            file, active = self.states.get(words[1], ("", "inactive"))
            text = f"UnitFileState={file}\nActiveState={active}\n"
            return CompletedProcess(argv, 0, text, "")
        if words[0] == "is-enabled":
            return CompletedProcess(argv, 1, "disabled\n" * len(words[1:]), "")
        if words[0] != "reset-failed":
            self.done.append(" ".join(words))
        return CompletedProcess(argv, int(words[1] in self.broken), "", "")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root with two kernel settings, in which the relay was not applied yet."""
    made = Tree(tmp_path)
    for name, value in zip(KERNEL, ("128", "65536"), strict=True):
        path = tmp_path / "proc/sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="ascii")
    return made


def use(monkeypatch: pytest.MonkeyPatch, units: Units) -> None:
    """Have the module ask UNITS."""
    monkeypatch.setattr(systemctl, "run", units.run)


def value(tree: Tree, name: str) -> str:
    """A kernel setting as it is."""
    return tree.real(f"/proc/sys/{name}").read_text(encoding="ascii").strip()


def test_what_is_written_is_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record says of each daemon how it is, and each kernel setting's value."""
    use(monkeypatch, Units(nginx=("enabled", "active"), dovecot=("masked", "inactive")))
    before.record(tree)
    found = before.recorded(tree)
    assert found is not None
    assert UnitState("nginx.service", "enabled", "active") in found.units
    assert UnitState("dovecot.service", "masked", "inactive") in found.units
    assert UnitState("unbound.service", "", "inactive") in found.units
    assert found.kernel == dict(zip(KERNEL, ("128", "65536"), strict=True))
    assert before.parse(found.render()) == found


def test_an_applied_relay_is_not_what_was_before(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once applied, the record stays as it is."""
    use(monkeypatch, Units())
    tree.put(APPLIED, Found(b"/etc/x\n", None, *tree.ids("root", "root"), 0o644))
    before.record(tree)
    assert not tree.look(RECORD).exists


@pytest.mark.parametrize(
    "text", ["", "\n", "unit x\n", "kernel\n", "what else\n", "unit a b c d\n"]
)
def test_a_damaged_record(text: str) -> None:
    """Lines that say nothing are no facts."""
    assert before.parse(text) == Before((), {})


RESTORED: list[tuple[tuple[str, str], tuple[str, str], list[str]]] = [
    (("enabled", "active"), ("enabled", "active"), ["restart"]),
    (("enabled", "active"), ("disabled", "inactive"), ["enable", "restart"]),
    (("enabled", "inactive"), ("enabled", "active"), ["stop"]),
    (("disabled", "inactive"), ("enabled", "active"), ["disable", "stop"]),
    (("disabled", "active"), ("enabled", "active"), ["disable", "restart"]),
    (("disabled", "failed"), ("enabled", "active"), ["disable", "stop"]),
    (("masked", "inactive"), ("enabled", "active"), ["stop", "mask", "stop"]),
    (("enabled", "active"), ("masked", "inactive"), ["unmask", "enable", "restart"]),
]


@pytest.mark.parametrize(("old", "now", "steps"), RESTORED)
def test_a_unit_is_as_it_was(
    old: tuple[str, str], now: tuple[str, str], steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what it is to what it was, with the steps that takes."""
    units = Units(nginx=now)
    use(monkeypatch, units)
    said: list[str] = []
    before.restore_units(Before((UnitState("nginx.service", *old),), {}), said.append)
    assert units.done == [f"{step} nginx.service" for step in steps]
    assert said == []


def test_a_unit_that_is_gone_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of a daemon which is not installed any more."""
    units = Units()
    use(monkeypatch, units)
    before.restore_units(Before((UnitState("nginx.service", "enabled", "active"),), {}), print)
    assert units.done == []


def test_unbound_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never ran with the relay's configuration goes on undisturbed."""
    units = Units(unbound=("enabled", "active"))
    use(monkeypatch, units)
    before.restore_units(Before((UnitState("unbound.service", "enabled", "active"),), {}), print)
    assert units.done == []


def test_a_unit_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and the others get theirs."""
    units = Units(nginx=("enabled", "active"), postfix=("enabled", "active"))
    units.broken.add("nginx.service")
    use(monkeypatch, units)
    said: list[str] = []
    old = [UnitState(f"{name}.service", "enabled", "active") for name in ("nginx", "postfix")]
    before.restore_units(Before(tuple(old), {}), said.append)
    assert units.done == [
        *("restart nginx.service", "stop postfix@-.service", "restart postfix.service")
    ]
    assert said == ["nginx.service is not as it was; see `systemctl status nginx.service`"]


def test_the_kernel_is_as_it_was(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the relay changed gets its old value; what an admin changed since stays."""
    use(monkeypatch, Units())
    before.record(tree)
    found = before.recorded(tree)
    assert found is not None
    tree.put(KERNEL_SETTINGS, Found(OURS.encode(), None, *tree.ids("root", "root"), 0o644))
    for name, new in zip(KERNEL, ("12048", "999999"), strict=True):
        tree.real(f"/proc/sys/{name}").write_text(new, encoding="ascii")
    before.restore_kernel(tree, found, print)
    assert [value(tree, name) for name in KERNEL] == ["128", "999999"]


def test_what_the_relay_sets_is_known() -> None:
    """The settings which are written down are those of the template."""
    path = str(KERNEL_SETTINGS).lstrip("/")
    assert tuple(kernel.names(GOLDENS[0].rendered()[path])) == KERNEL
