"""What is read of an AppArmor profile."""

import pytest

from tests.lab.confinement import allows, rules

PROFILE = """\
@{PROC} = /proc/
@{etc_ro}=/usr/etc/ /etc/
@{etc_ro}+=/opt/etc/
profile unbound /usr/sbin/unbound flags=(attach_disconnected) {
  capability net_bind_service,
  #  /commented r,
  /etc/unbound/** r,
  owner /etc/unbound/*.key* rw,
  audit deny /etc/unbound/unbound_control.{key,pem} rw,
  /{,etc/unbound/}var/lib/unbound/** r,
  @{etc_ro}/hosts r,
  r /lib/x86_64-linux-gnu/lib*.so*,
  /usr/share/dns/root.[hk]* r,
  /bin/sh ix,
}
"""

CASES = {
    "below": ("/etc/unbound/chatmail.conf", "r", True),
    "not to be written": ("/etc/unbound/chatmail.conf", "w", False),
    "owner": ("/etc/unbound/a.key", "w", True),
    "denied": ("/etc/unbound/unbound_control.pem", "r", False),
    "an empty alternative": ("/var/lib/unbound/root.key", "r", True),
    "a variable": ("/etc/hosts", "r", True),
    "one that is added": ("/opt/etc/hosts", "r", True),
    "permissions first": ("/lib/x86_64-linux-gnu/libc.so.6", "r", True),
    "not across folders": ("/lib/x86_64-linux-gnu/a/libc.so.6", "r", False),
    "a class": ("/usr/share/dns/root.key", "r", True),
    "not of the class": ("/usr/share/dns/root.zone", "r", False),
    "in a comment": ("/commented", "r", False),
    "nothing said": ("/etc/shadow", "r", False),
}


@pytest.mark.parametrize("what", CASES)
def test_allows(what: str) -> None:
    """Globs, alternatives, variables and refusals count as AppArmor counts them."""
    path, permission, expected = CASES[what]
    assert allows(list(rules(PROFILE)), path, permission) is expected
