"""Password hashes by the system's libcrypt, as Dovecot reads them: `{SHA512-CRYPT}$6$SALT$HASH`.

Python 3.13 has no `crypt` any more. crypt_r works on memory of its caller's, and ctypes releases
the interpreter's lock around it, so threads hash on all cores. crypt(3), crypt(5).

libcrypt takes at most 511 bytes, here and in Dovecot. The one password that is longer and allowed,
of 512 bytes, is hashed as `{PBKDF2}$1$SALT$ROUNDS$HEX`, which Dovecot computes by itself.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache

SCHEME = "{SHA512-CRYPT}"
_SALT_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DATA_SIZE = 32768  # sizeof(struct crypt_data), fixed by libxcrypt's ABI
_HASH_LENGTH = 86  # 512 bits in crypt's base 64
_MAX_PHRASE = 511  # bytes; CRYPT_MAX_PASSPHRASE_SIZE counts the NUL
_ROUNDS = 5000  # as many as SHA512-CRYPT's


class _PerThread(threading.local):
    """crypt_r's memory: one each for the few threads that hash."""

    def __init__(self) -> None:
        self.data = ctypes.create_string_buffer(_DATA_SIZE)


_memory = _PerThread()


def hash_password(password: bytes) -> str:
    """A salted hash; raises ValueError for a NUL byte, OSError when libcrypt fails.

    crypt(3) stops at a NUL: it would accept every password with the same beginning.
    """
    if b"\0" in password:
        raise ValueError("a password cannot hold a NUL byte")
    if len(password) > _MAX_PHRASE:
        return _pbkdf2(password)
    setting = f"$6${_salt()}$"
    hashed = _crypt_r(password, setting.encode())
    if not hashed.startswith(setting) or len(hashed) != len(setting) + _HASH_LENGTH:
        raise OSError("libcrypt could not hash a password")
    return SCHEME + hashed


def _pbkdf2(password: bytes) -> str:
    from hashlib import pbkdf2_hmac  # brings OpenSSL along, for next to nobody

    salt = _salt()
    digest = pbkdf2_hmac("sha1", password, salt.encode(), _ROUNDS)
    return f"{{PBKDF2}}$1${salt}${_ROUNDS}${digest.hex()}"


def _salt() -> str:
    return "".join(_SALT_ALPHABET[byte & 63] for byte in os.urandom(16))


def _crypt_r(password: bytes, setting: bytes) -> str:
    result = _libcrypt().crypt_r(password, setting, _memory.data)
    return result.decode("ascii", "replace") if result else ""


@cache
def _libcrypt() -> ctypes.CDLL:
    library = ctypes.CDLL("libcrypt.so.1", use_errno=True)
    library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
    library.crypt_r.restype = ctypes.c_char_p
    return library
