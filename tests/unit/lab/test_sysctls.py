"""tests.lab.sysctls: the host's kernel settings, as they were."""

from pathlib import Path

from tests.lab import sysctls


def kernel(top: Path) -> Path:
    """Make a /proc/sys of a few files."""
    for name, value in {
        "fs/inotify/max_user_instances": "128\n",
        "kernel/pid_max": "32768\n",
        "kernel/ns_last_pid": "77\n",
        "net/ipv4/ip_forward": "0\n",
        "vm/swappiness": "60\n",
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    (top / "vm/drop_caches").write_text("")
    return top


def test_changed_ones_are_put_back(tmp_path: Path) -> None:
    """What a machine changed is as before; what moves by itself is left alone."""
    top, saved = kernel(tmp_path / "sys"), tmp_path / "saved"
    sysctls.save(saved, top)
    for name in ("fs/inotify/max_user_instances", "kernel/ns_last_pid", "net/ipv4/ip_forward"):
        (top / name).write_text("9\n")
    assert sysctls.restore(saved, top) == ["fs/inotify/max_user_instances"]
    assert (top / "fs/inotify/max_user_instances").read_text() == "128\n"
    assert (top / "kernel/ns_last_pid").read_text() == "9\n"
    assert not saved.exists()


def test_first_values_count(tmp_path: Path) -> None:
    """A second lab does not take what the first one changed for the host's own."""
    top, saved = kernel(tmp_path / "sys"), tmp_path / "saved"
    sysctls.save(saved, top)
    (top / "vm/swappiness").write_text("1\n")
    sysctls.save(saved, top)
    sysctls.restore(saved, top)
    assert (top / "vm/swappiness").read_text() == "60\n"


def test_room_for_machines(tmp_path: Path) -> None:
    """Low limits are raised, and high ones left as they are."""
    top = kernel(tmp_path)
    (top / "fs/inotify/max_user_watches").write_text("9999999\n")
    sysctls.make_room(top)
    assert (top / "fs/inotify/max_user_instances").read_text() == "4096\n"
    assert (top / "fs/inotify/max_user_watches").read_text() == "9999999\n"


def test_nothing_saved(tmp_path: Path) -> None:
    """Without saved values nothing is written."""
    assert sysctls.restore(tmp_path / "saved", tmp_path) == []
