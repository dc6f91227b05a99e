"""What blhc says of a build's log, and what is a fault of it."""

import pytest

from devtools.hardening import judged


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("dovecot-instant_0.1.0_amd64.build", 0, ""),
        ("iroh-relay_0.35.0_amd64.build", 0, ""),
        ("chatmail-turn_1.0.0_amd64.build", 1, ""),
        ("dovecot-instant_0.1.0_amd64.build", 1, "no call of the compiler"),
        ("dovecot-instant_0.1.0_amd64.build", 8, "CFLAGS missing (-fstack-protector-strong)"),
        ("iroh-relay_0.35.0_amd64.build", 9, "CFLAGS missing"),
        ("chatmail-turn_1.0.0_amd64.build", 0, "name it in devtools/hardening.py"),
        ("chatmail-turn_1.0.0_amd64.build", 8, "CFLAGS missing"),
    ],
)
def test_compiled_packages_have_flags_and_others_no_compiler(
    name: str, code: int, said: str
) -> None:
    """Flags have to be there where C is compiled, and C is noticed where there was none."""
    found = judged(name, code, "CFLAGS missing (-fstack-protector-strong): cc -c x.c\n")
    assert said in found
    assert bool(found) == bool(said)
