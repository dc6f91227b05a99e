"""Which messages are answered and how: a message in, an answer or the reason for none out."""

from __future__ import annotations

from dataclasses import dataclass

LAST_SPECIAL = 9
"""Contacts up to this number are nobody: the bot itself, the app (deltachat_rpc_client.const)."""

TOO_LARGE = "I send back files of up to {} KiB only."


@dataclass(frozen=True)
class Heard:
    """An incoming message, as far as it matters; `file` is where the core has it."""

    contact: int
    text: str = ""
    file: str = ""
    file_name: str = ""
    kind: str = "Text"
    is_whole: bool = True
    """Whether the file that belongs to it has come, too."""
    is_readable: bool = True
    is_encrypted: bool = True
    is_information: bool = False
    """What apps show between messages, as `Messages are end-to-end encrypted`."""
    is_alone: bool = True
    """Whether the chat has no others."""
    is_of_bot: bool = False
    """Said by the message (`Auto-Submitted`, RFC 3834), or known of its author."""


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    text: str
    file: str = ""
    file_name: str = ""
    kind: str = "Text"


def problem(heard: Heard) -> str:
    """Why a message gets no answer; nothing when it does."""
    if heard.contact <= LAST_SPECIAL:
        return "it is nobody's"
    if heard.is_of_bot:
        return "it is a bot's"
    if heard.is_information or heard.kind == "Call":
        return "it is no message"
    if not heard.is_alone:
        return "it is for several"
    if not heard.is_encrypted:
        return "it is not encrypted"
    if not heard.is_readable:
        return "it cannot be read"
    if heard.is_whole and not heard.text and not heard.file:
        return "it is empty"
    return ""


def answer(heard: Heard, max_file_kib: int) -> Answer:
    """The same again; words where the file was too large to be fetched."""
    if not heard.is_whole:
        return Answer(TOO_LARGE.format(max_file_kib))
    if not heard.file:
        return Answer(heard.text)
    return Answer(heard.text, heard.file, heard.file_name, heard.kind)
