"""What is remembered of a conversation beside the client's own transcript, over ends of client and container."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from nanoclaw_runner.providers.claude_messages import NOTHING_COUNTED, Counts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one conversation.

    Attributes:
        session: the conversation's name; None: it has not begun.
        counted: what the client has counted so far; None: nobody knows.
        kept: the transcript's last entry of a turn that the API took; None: none yet.
        refused: the API has refused what came after that. It would refuse the next request as well, since that has
            everything in it: the conversation is to be carried on from ``kept``.
    """

    session: str | None
    counted: Counts | None
    kept: str | None = None
    refused: bool = False

    @property
    def begins_anew(self) -> bool:
        """Whether nothing of the conversation was ever taken."""
        return self.refused and self.kept is None

    def write(self, path: Path) -> None:
        """Keep them; a failure is logged: it costs a count, or one refusal more."""
        books = {"session": self.session, "counted": self.counted, "kept": self.kept, "refused": self.refused}
        try:
            path.write_text(json.dumps(books))
        except OSError as error:
            _log.warning("what is known of the conversation cannot be kept: %s", error)


def read(path: Path, continuation: str | None) -> Books:
    """Return the books of a conversation that is carried on; of one that is not known, empty ones."""
    if continuation is None:
        return Books(None, NOTHING_COUNTED)
    unknown = Books(continuation, None)
    try:
        found = json.loads(path.read_bytes())
        if found["session"] != continuation:
            return unknown
        first, second, third, fourth, fifth = map(int, found["counted"])
    except (OSError, ValueError, TypeError, KeyError):
        return unknown
    kept = found.get("kept")
    counted = (first, second, third, fourth, fifth)
    return Books(continuation, counted, kept if isinstance(kept, str) else None, found.get("refused") is True)
