"""Rows of kind ``system``: what the host itself tells the runner or its agent, as JSON with a ``type``.

=====================  =======  ==================================================================================
``command``            asks     ``name``, ``args``, ``sender``, ``senderId``: somebody who may has given a command
``control_reply``      context  ``requestId``, ``frame``: the answer to a call of the agent's ``ncl``
``question_response``  asks     ``reference``, ``title``, ``value``, ``label``, ``userName``: the answer to a card;
                                ``expired``: there was none
anything else          either   ``text``: a note to the agent
=====================  =======  ==================================================================================

A command is told apart by its row, never by a text: what people write is not looked at for commands here (W-4).
"""

from dataclasses import dataclass

from nanoclaw_runner.content import object_of
from nanoclaw_runner.contract.rows import InboundRow
from nanoclaw_runner.contract.text import storable

COMMAND = "command"
CONTROL_REPLY = "control_reply"
QUESTION_RESPONSE = "question_response"
SYSTEM = "system"
_NAMELESS = "?"
_MAX_FIELD_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody wants done with the session itself."""

    name: str
    args: str


def command_name(kind: str, row_type: object, name: object) -> str:
    """Return the name of the command that a row is, or an empty text."""
    if kind != SYSTEM or row_type != COMMAND:
        return ""
    return str(name) if name else _NAMELESS


def command_of(row: InboundRow) -> Command | None:
    """Return the command that a row is, or None."""
    found = _object(row)
    name = command_name(row.kind, found.get("type"), found.get("name"))
    return Command(name, _text(found, "args")) if name else None


def reply_of(row: InboundRow) -> str:
    """Return what a row answers: the frame of a ``control_reply``, empty where there is none; else all that it says."""
    found = _object(row)
    return row.content if found.get("type") == QUESTION_RESPONSE else _text(found, "frame")


def note_of(row: InboundRow) -> str:
    """Return what a row tells the agent."""
    found = _object(row)
    text = _text(found, "text")
    if text:
        return text
    if found.get("type") != QUESTION_RESPONSE:
        return row.content
    title, label, value, reference, who = (
        _text(found, key)[:_MAX_FIELD_CHARACTERS] for key in ("title", "label", "value", "reference", "userName")
    )
    about = f' "{title}"' if title else ""
    if found.get("expired"):
        return f"nobody has answered your question{about} in time" + (f" (reference {reference})" if reference else "")
    also = ", ".join(
        f"{name} {text}"
        for name, text in (("value", value if value != label else ""), ("reference", reference), ("from", who))
        if text
    )
    return f"the answer to your question{about}: {label or value}" + (f" ({also})" if also else "")


def _object(row: InboundRow) -> dict[str, object]:
    return object_of(row.content) if row.kind == SYSTEM else {}


def _text(found: dict[str, object], key: str) -> str:
    value = found.get(key)
    return storable(value) if isinstance(value, str) else ""
