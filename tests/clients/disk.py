"""Disks that are small, and full, on a machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.clients.relay import Relay

MIB = 1024 * 1024
FILES = 4000
"""Files and folders that such a disk has room for."""


@contextmanager
def small_disk(
    relay: Relay, place: str, size: int, units: str, contents: str = "-mindepth 1 -maxdepth 1"
) -> Iterator[None]:
    """Have a folder in a file system of that many MiB; the units which use it start anew.

    CONTENTS, in find's words, is what of the folder is there, too.
    """
    machine = relay.machine
    machine.run(f"systemctl stop {units} && mkdir /root/disk")
    options = f"size={size}m,nr_inodes={FILES}"
    try:
        machine.run(f"mount -t tmpfs -o {options} tmpfs /root/disk")
        machine.run(f"find {place} {contents} -exec cp -a -t /root/disk {{}} +")
        machine.run(f"chmod --reference={place} /root/disk && chown --reference={place} /root/disk")
        machine.run(f"mount --bind /root/disk {place} && systemctl start {units}")
        yield
    finally:
        # Lazily: a process that is just ending may still have a file open there.
        machine.run(
            f"systemctl stop {units}; umount -ql {place}; umount -ql /root/disk; rmdir /root/disk",
            check=False,
        )
        machine.run(f"systemctl start {units}")
        assert not machine.run("findmnt -n /root/disk", check=False).stdout


@contextmanager
def filled(relay: Relay, place: str, left: int) -> Iterator[None]:
    """Leave that many bytes free in a file system."""
    file = f"{place}/filler"
    free = f"$(($(stat -f -c '%a * %S' {place})))"
    relay.machine.run(f"fallocate -l $(({free} - {left})) {file}")
    try:
        yield
    finally:
        relay.machine.run(f"rm {file}")
