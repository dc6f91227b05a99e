"""Password hashes."""

from __future__ import annotations

import ctypes
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatmaild import crypt


def verifies(hashed: str, password: bytes) -> bool:
    """Whether libcrypt itself finds the password in the hash."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    setting = hashed.removeprefix(crypt.SCHEME).encode()
    result = library.crypt(password, setting)
    return bool(result == setting)


@pytest.mark.parametrize(
    "password", [b"x" * 9, b"y" * 511, bytes(range(1, 256)), "пароль".encode()]
)
def test_hash_verifies(password: bytes) -> None:
    """A hash is the password's and not another's."""
    hashed = crypt.hash_password(password)
    assert hashed.startswith("{SHA512-CRYPT}$6$")
    assert verifies(hashed, password)
    assert not verifies(hashed, password[:-1])


def test_longest() -> None:
    """512 bytes are more than libcrypt takes: Dovecot's own PBKDF2, no byte of them lost."""
    scheme, version, salt, rounds, digest = crypt.hash_password(b"z" * 512).split("$")
    assert (scheme, version) == ("{PBKDF2}", "1")
    found = [
        hashlib.pbkdf2_hmac("sha1", b"z" * length, salt.encode(), int(rounds)).hex()
        for length in (511, 512)
    ]
    assert digest == found[1] != found[0]


def test_salted() -> None:
    """The same password never has the same hash twice."""
    assert crypt.hash_password(b"password1") != crypt.hash_password(b"password1")


def test_nul_refused() -> None:
    """A NUL would hide the rest of the password."""
    with pytest.raises(ValueError, match="NUL"):
        crypt.hash_password(b"password\0more")


@pytest.mark.parametrize("result", ["", "*0", "$6$", "$1$xyz$abc"])
def test_failure_of_libcrypt(monkeypatch: pytest.MonkeyPatch, result: str) -> None:
    """What is no hash is never stored as one."""
    monkeypatch.setattr(crypt, "_crypt_r", lambda *_: result)
    with pytest.raises(OSError, match="libcrypt"):
        crypt.hash_password(b"password1")


def test_threads() -> None:
    """Threads that hash at once do not disturb each other."""
    passwords = [f"password-{number}".encode() for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(crypt.hash_password, passwords))
    assert all(verifies(hashed, word) for hashed, word in zip(hashes, passwords, strict=True))
