"""What can be asked about a conversation kept in a file: how long it is, what it took; and how it is shortened."""

from pathlib import Path
from typing import Final

from nanoclaw_runner.providers.openai_history import History

NOTHING_KEPT: Final = "Nothing is kept of a conversation yet."
KEPT_EXCHANGES: Final = 4
"""So many stay when a conversation is made compact."""

_BYTES_PER_TOKEN: Final = 4
_KIB: Final = 1024


def clear(directory: Path) -> None:
    """Delete every conversation.

    Raises:
        OSError: a file cannot be deleted.
    """
    for path in directory.glob("*"):
        path.unlink(missing_ok=True)


def about(name: str, history: History) -> str | None:
    """Carry out a command other than ``clear``; None for one that means nothing here."""
    if name == "context":
        return _context(history)
    if name == "compact":
        return _compact(history)
    if name == "cost":
        return _cost(history)
    return None


def _context(history: History) -> str:
    every, recent = history.every(), history.recent()
    if not every:
        return NOTHING_KEPT
    kept, given = (sum(exchange.size for exchange in exchanges) for exchanges in (every, recent))
    return (
        f"{_exchanges(len(every))} of this conversation {'is' if len(every) == 1 else 'are'} kept ({_size(kept)})."
        f" With the next message the model gets the newest {len(recent)} of them: {_size(given)},"
        f" roughly {given // _BYTES_PER_TOKEN:,} tokens."
    )


def _compact(history: History) -> str:
    count = len(history.every())
    if count <= KEPT_EXCHANGES:
        return f"There is nothing to make compact: {_exchanges(count)} kept."
    history.keep_last(KEPT_EXCHANGES)
    return (
        f"The last {KEPT_EXCHANGES} of {count} exchanges are kept. What was said before them is forgotten:"
        " no summary was made of it."
    )


def _cost(history: History) -> str:
    counted = [exchange for exchange in history.every() if exchange.tokens_read or exchange.tokens_written]
    if not counted:
        return "The model's endpoint has reported no usage for this conversation."
    read = sum(exchange.tokens_read for exchange in counted)
    written = sum(exchange.tokens_written for exchange in counted)
    return (
        f"The model's endpoint reported {read:,} tokens read and {written:,} written"
        f" in the {_exchanges(len(counted))} that are kept. What they cost is between you and the endpoint."
    )


def _exchanges(count: int) -> str:
    return f"{count} exchange{'' if count == 1 else 's'}"


def _size(size: int) -> str:
    return f"{size} bytes" if size < _KIB else f"{size / _KIB:.0f} KiB"
