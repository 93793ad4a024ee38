"""What can be asked about a conversation kept in a file: how long it is, what it took; and how it is shortened."""

from pathlib import Path
from typing import Final

from nanoclaw_runner.providers.openai_context import KEPT_BY_COMMAND, Meter, Room
from nanoclaw_runner.providers.openai_history import History

NOTHING_KEPT: Final = "Nothing is kept of a conversation yet."
_KIB: Final = 1024


def clear(directory: Path) -> None:
    """Delete every conversation.

    Raises:
        OSError: a file cannot be deleted.
    """
    for path in directory.glob("*"):
        path.unlink(missing_ok=True)


async def compact(room: Room, history: History, title: str) -> str:
    """Have all but the newest exchanges summarised.

    Args:
        room: does it.
        history: of the conversation.
        title: of the archive, where somebody gave one.
    """
    past = history.past()
    count = len(past.exchanges)
    if count <= KEPT_BY_COMMAND:
        return f"There is nothing to make compact: {_exchanges(count)} kept."
    new, by_model = await room.fold(history, past, KEPT_BY_COMMAND, title)
    older = count - KEPT_BY_COMMAND
    kept = f"the last {KEPT_BY_COMMAND} are kept as they are, and all is archived in the workspace's conversations"
    if not by_model:
        return (
            f"{_exchanges(older)} of {count} were made short without the model, which gave no summary: their first"
            f" words are remembered; {kept}."
        )
    size = _size(len(new.summary.encode(errors="replace")))
    return f"{_exchanges(older)} of {count} were summarised by the model ({size}); {kept}."


def about(name: str, history: History, meter: Meter) -> str | None:
    """Carry out a command that only tells something; None for one that means nothing here."""
    if name == "context":
        return _context(history, meter)
    if name == "cost":
        return _cost(history)
    return None


def _context(history: History, meter: Meter) -> str:
    past = history.past()
    if not past.exchanges and not past.summary:
        return NOTHING_KEPT
    count = len(past.exchanges)
    summary = len(past.summary.encode(errors="replace"))
    size = sum(exchange.size for exchange in past.exchanges) + summary
    before = f", and a summary of what was before ({_size(summary)})" if summary else ""
    return (
        f"{_exchanges(count)} of this conversation {'is' if count == 1 else 'are'} kept{before}."
        f" With the next message the model gets all of it: {_size(size)}, roughly {meter.tokens(size):,} tokens."
    )


def _cost(history: History) -> str:
    counted = [one for one in history.past().exchanges if one.tokens_read or one.tokens_written]
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
