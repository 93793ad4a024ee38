"""What went wrong with somebody else's code or server, in words that can be stored and shown."""

from typing import Final

from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import NanoclawError

_MAX_WORDS: Final = 300


def in_words(error: BaseException) -> str:
    """Return what an exception says, on one line and bounded, or at least its kind."""
    words = one_line(str(error))
    if isinstance(error, NanoclawError | TimeoutError) and words:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def one_line(text: str) -> str:
    """Return an adapter's words on one line, bounded, in characters that can be stored."""
    return " ".join(storable(text).split())[:_MAX_WORDS]
