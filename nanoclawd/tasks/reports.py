"""What a session says of a task's script: a row of kind ``system`` with the action ``task``."""

from typing import Final, Literal

import msgspec

from nanoclaw_runner.contract.rows import OutboundRow
from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import Refused

_MAX_REASON_CHARACTERS: Final = 500


class ScriptReport(msgspec.Struct, frozen=True, tag_field="action", tag="task"):
    """The container's word, so each field is checked.

    Attributes:
        row: id of the row that asked for the run.
        outcome: skipped: the script said that there is nothing to do; failed: it could not say so.
    """

    row: str
    outcome: Literal["skipped", "failed"]
    reason: str = ""


def script_report(row: OutboundRow) -> ScriptReport | None:
    """Read a row; None where it is something else.

    Raises:
        Refused: it is meant to be one, and is none.
    """
    try:
        if msgspec.json.decode(row.content, type=_Action).action != "task":
            return None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    try:
        found = msgspec.json.decode(row.content, type=ScriptReport)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("the report of a task can't be read") from None
    return msgspec.structs.replace(found, reason=_one_line(found.reason))


class _Action(msgspec.Struct, frozen=True):
    action: str


def _one_line(text: str) -> str:
    """The words are the agent's: whoever lists runs sees no control characters."""
    plain = "".join(character if character.isprintable() else " " for character in storable(text))
    return " ".join(plain.split())[:_MAX_REASON_CHARACTERS]
