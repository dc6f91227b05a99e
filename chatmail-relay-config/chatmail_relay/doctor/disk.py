"""Room on the file systems that the relay writes to, for bytes and for files."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.doctor.world import World
from chatmail_relay.settings import STATE_DIR

MIB = 1024 * 1024
QUEUE = "/var/spool/postfix"
ROOT_MIB = 256
"""What updates, logs and applying settings want."""
FEW_FILES = 1000


@dataclass(frozen=True)
class Room:
    """What is left in the file system of a folder, and what is WANTED there, in MiB."""

    place: str
    free: int
    total: int
    files: int
    """How many more files there can be; -1 where there is no limit."""
    wanted: int


def look(world: World) -> Finding:
    """Look at each file system once."""
    return judge(_rooms(world))


def _rooms(world: World) -> Iterator[Room]:
    settings = world.settings
    largest = settings.max_message_size / MIB
    wanted = {
        str(settings.mailboxes_dir): settings.create_min_disk_mib,
        # Postfix takes no mail with less than one and a half of the largest message.
        QUEUE: round(4 * largest),
        str(STATE_DIR): ROOT_MIB,
        "/": ROOT_MIB,
    }
    seen = set()
    for place, least in wanted.items():
        path = world.tree.real(place)
        if path.exists() and (device := path.stat().st_dev) not in seen:
            seen.add(device)
            yield room(place, os.statvfs(path), least)


def room(place: str, about: os.statvfs_result, wanted: int) -> Room:
    """The numbers of a file system, for those who are not root."""
    files = about.f_favail if about.f_files else -1
    free, total = about.f_bavail * about.f_frsize, about.f_blocks * about.f_frsize
    return Room(place, free // MIB, total // MIB, files, wanted)


def judge(rooms: Iterable[Room]) -> Finding:
    """Whether there is enough everywhere."""
    known = list(rooms)
    for one in known:
        if one.free < one.wanted:
            return _short(one, f"{one.free} MiB are free, and {one.wanted} are wanted")
        if 0 <= one.files < FEW_FILES:
            return _short(one, f"only {one.files} more files can be made")
    return fine(", ".join(f"{one.place}: {one.free / 1024:.1f} GiB free" for one in known))


def _short(one: Room, what: str) -> Finding:
    return fault(
        f"the disk of {one.place} is nearly full: {what}",
        meaning="no new accounts are made; when it is full, mail is refused for the time being",
        cause="the mailboxes have grown, or something else on this machine has",
        command=f"du -xhd2 {one.place} | sort -h | tail -n 20",
    )
