"""What Telegram's refusals mean for a delivery."""

import warnings
from datetime import timedelta

from telegram.error import BadRequest, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError

from nanoclawd.sessions.ports import Undelivered

_ENTITIES = ("can't parse entities", "entity", "unsupported start tag", "can't find end")


def seconds_of(error: RetryAfter) -> float:
    """Return how long Telegram asks to wait; the library gives a number or, where somebody wants it, a timedelta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer ones announce that the type will change
        given: object = error.retry_after
    if isinstance(given, timedelta):
        return given.total_seconds()
    return float(given) if isinstance(given, int | float) else 1.0


def is_formatting(error: BadRequest) -> bool:
    """Tell whether Telegram does not like how a text is formatted, rather than the message."""
    words = error.message.lower()
    return any(mark in words for mark in _ENTITIES)


def is_away(error: TelegramError) -> bool:
    """Tell whether a request failed because of the network or of Telegram as a whole, and not for what it asked."""
    return isinstance(error, NetworkError) and not isinstance(error, BadRequest)


def as_outcome(error: TelegramError) -> Undelivered:
    """Return what a failed request means; never with an address in it, which would have the token."""
    match error:
        case RetryAfter():
            return Undelivered("Telegram asks to wait (flood control)", retry_after=seconds_of(error))
        case InvalidToken():
            return Undelivered("Telegram refuses the bot's token")
        case Forbidden() | BadRequest():
            return Undelivered(f"Telegram refuses it: {error.message}", permanent=True)
        case _:
            return Undelivered(error.message or type(error).__name__)
