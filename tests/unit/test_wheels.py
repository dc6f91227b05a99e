"""Lock files and the store of wheels that only lets their hashes in."""

import hashlib
from pathlib import Path

import pytest

from devtools.run import CommandFailed, Failure
from devtools.sources import PYTHONS, REPOSITORY, SOURCES
from devtools.wheels import Pin, fetch, parse_lock, stored

DATA = b"a wheel"
DIGEST = hashlib.sha256(DATA).hexdigest()
OTHER = "0" * 64


def test_a_lock_is_read_with_all_hashes() -> None:
    """Continued lines, comments and several hashes are what uv writes."""
    text = (
        f"# made by uv\nh11==0.16.0 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{OTHER}\n"
    )
    assert parse_lock(text) == [Pin("h11", "0.16.0", frozenset({DIGEST, OTHER}))]


@pytest.mark.parametrize(
    "line",
    [
        "h11",
        "h11>=0.16",
        "h11==0.16.0",
        "h11==0.16.0 --hash=md5:00",
        f"h11==0.16.0 --hash=sha256:{DIGEST[1:]}",
        "h11 @ https://example.org/h11.whl",
        "--index-url https://example.org/",
        "./h11",
    ],
)
def test_what_is_not_pinned_by_hash_is_refused(line: str) -> None:
    """No requirement enters a build without version and SHA-256."""
    with pytest.raises(Failure, match="not pinned"):
        parse_lock(line)


def test_the_name_of_a_wheel_is_escaped() -> None:
    """Wheel names have underscores where a distribution has dashes or dots."""
    assert Pin("Foo.bar-baz", "1.0", frozenset()).wheel_prefix == "foo_bar_baz-1.0-"


def test_a_stored_wheel_is_found(tmp_path: Path) -> None:
    """The file whose hash the lock names stands for the pin."""
    wheel = tmp_path / "h11-0.16.0-py3-none-any.whl"
    wheel.write_bytes(DATA)
    assert stored([Pin("h11", "0.16.0", frozenset({DIGEST}))], tmp_path) == [wheel]


def test_a_harmed_wheel_is_thrown_out(tmp_path: Path) -> None:
    """A file that is not what the lock names is not used, and is fetched again."""
    wheel = tmp_path / "h11-0.16.0-py3-none-any.whl"
    wheel.write_bytes(DATA + b"!")
    assert stored([Pin("h11", "0.16.0", frozenset({DIGEST}))], tmp_path) is None
    assert not wheel.exists()


def test_another_version_does_not_stand_for_a_pin(tmp_path: Path) -> None:
    """What an older lock left in the store stays, unused."""
    (tmp_path / "h11-0.15.0-py3-none-any.whl").write_bytes(DATA)
    assert stored([Pin("h11", "0.16.0", frozenset({DIGEST}))], tmp_path) is None


def test_a_full_store_needs_no_network(tmp_path: Path) -> None:
    """Nothing is downloaded when every pin has its file."""
    lock = tmp_path / "lock.txt"
    lock.write_text(f"h11==0.16.0 --hash=sha256:{DIGEST}\n", encoding="utf-8")
    store = tmp_path / "store"
    store.mkdir()
    (store / "h11-0.16.0-py3-none-any.whl").write_bytes(DATA)
    assert [path.name for path in fetch(lock, "3.13", store)] == ["h11-0.16.0-py3-none-any.whl"]


def test_a_failed_download_is_one_line_and_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pip said last is what a person needs; nothing half-fetched stays."""

    def fail(command: list[str]) -> None:
        raise CommandFailed(command, 1, "WARNING: retrying\nERROR: no matching distribution\n")

    monkeypatch.setattr("devtools.wheels.run", fail)
    lock = tmp_path / "lock.txt"
    lock.write_text(f"h11==0.16.0 --hash=sha256:{DIGEST}\n", encoding="utf-8")
    with pytest.raises(
        Failure, match=r"lock\.txt cannot be fetched: pip says 'ERROR: no match"
    ) as e:
        fetch(lock, "3.13", tmp_path / "store")
    assert "retrying" not in str(e.value)
    assert list((tmp_path / "store").iterdir()) == []


BACKPORTS = {"typing-extensions"}
"""What a library needs only where the older Python lacks it."""


@pytest.mark.parametrize("folder", [source.wheels for source in SOURCES if source.wheels])
def test_both_suites_have_the_same_versions(folder: str) -> None:
    """A daemon runs with the same libraries on Debian 12 and 13."""
    locks = [REPOSITORY / folder / f"requirements-{python}.txt" for python in PYTHONS.values()]
    pins = [parse_lock(lock.read_text(encoding="utf-8")) for lock in locks]
    versions = [
        {(pin.name, pin.version) for pin in lock if pin.name not in BACKPORTS} for lock in pins
    ]
    assert versions[0] == versions[1]
