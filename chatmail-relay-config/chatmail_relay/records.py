"""How files, changes and plans are written down: JSON, with their bytes in base64.

What is written here can hold secrets: it goes into files which only root can read.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from chatmail_relay.changes import Change
from chatmail_relay.plan import File
from chatmail_relay.tree import Found

Record = dict[str, Any]


def of_found(found: Found) -> Record:
    """What is at a path, as a record."""
    return {
        "content": None if found.content is None else b64encode(found.content).decode(),
        "target": found.target,
        "uid": found.uid,
        "gid": found.gid,
        "mode": found.mode,
    }


def to_found(record: Mapping[str, Any]) -> Found:
    """What a record of `of_found` says."""
    content = record["content"]
    return Found(
        content=None if content is None else b64decode(content),
        target=record["target"],
        uid=record["uid"],
        gid=record["gid"],
        mode=record["mode"],
    )


def of_change(change: Change) -> Record:
    """A change, as a record."""
    return {
        "path": str(change.path),
        "before": of_found(change.before),
        "after": of_found(change.after),
    }


def to_change(record: Mapping[str, Any]) -> Change:
    """What a record of `of_change` says; which units notice is written down elsewhere."""
    before, after = to_found(record["before"]), to_found(record["after"])
    return Change(PurePosixPath(record["path"]), before, after)


def of_file(file: File) -> Record:
    """A file of a plan, as a record."""
    return {
        "path": str(file.path),
        "content": b64encode(file.content).decode(),
        "owner": file.owner,
        "group": file.group,
        "mode": file.mode,
        "restart": file.restart,
        "reload": file.reload,
    }


def to_file(record: Mapping[str, Any]) -> File:
    """What a record of `of_file` says."""
    return File(
        path=PurePosixPath(record["path"]),
        content=b64decode(record["content"]),
        owner=record["owner"],
        group=record["group"],
        mode=record["mode"],
        restart=tuple(record["restart"]),
        reload=tuple(record["reload"]),
    )
