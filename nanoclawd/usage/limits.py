"""Limits for a group and day: what they are, how much of them is used up, and the words for it."""

import re
from dataclasses import dataclass
from typing import Final

from nanoclawd.errors import InvalidName
from nanoclawd.store.usage import GroupLimits

WARN_SHARE: Final = 0.8
MAX_TOKENS: Final = 10**12
MAX_DOLLARS: Final = 1_000_000
_MICROS: Final = 1_000_000
_NUMBER: Final = re.compile(r"[0-9]{1,13}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use in a day; 0: no bound."""

    tokens: int = 0
    cost_micros: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """How far a group has come with one of its limits.

    Attributes:
        kind: tokens or cost.
        share: what part of it is used up; 1 and more: all.
        words: such as ``1,200 of 1,000 tokens``.
    """

    kind: str
    share: float
    words: str


def micros(dollars: float) -> int:
    """Return an amount in millionths of a dollar."""
    return round(dollars * _MICROS)


def effective(defaults: Limits, own: GroupLimits | None) -> Limits:
    """Return the limits that hold for a group."""
    if own is None:
        return defaults
    return Limits(
        defaults.tokens if own.daily_tokens is None else own.daily_tokens,
        defaults.cost_micros if own.daily_cost_micros is None else own.daily_cost_micros,
    )


def changed(own: GroupLimits, tokens: str | None, cost: str | None) -> GroupLimits:
    """Return a group's own limits with what was said of them: a number, ``none``, or an empty text for the default.

    None leaves a limit as it is.

    Raises:
        InvalidName: it is no number.
    """
    return GroupLimits(
        own.daily_tokens if tokens is None else _limit(tokens, 1, MAX_TOKENS),
        own.daily_cost_micros if cost is None else _limit(cost, _MICROS, MAX_DOLLARS),
    )


def _limit(text: str, unit: int, most: int) -> int | None:
    """Return a limit in its unit.

    >>> _limit("2.50", 1_000_000, 100)
    2500000
    """
    plain = text.strip().lower()
    if not plain:
        return None
    if plain == "none":
        return 0
    number = float(plain) if _NUMBER.fullmatch(plain) else -1.0
    if not 0 <= number <= most or (unit == 1 and not number.is_integer()):
        raise InvalidName(f"{text[:40]!r} is no limit: a number from 0 to {most}, or none")
    return round(number * unit)


def states(limits: Limits, used: tuple[int, int]) -> list[State]:
    """Return how far a group has come with each limit that it has.

    Args:
        limits: what it may use.
        used: tokens and millionths of a dollar.
    """
    tokens, cost = used
    found = []
    if limits.tokens:
        found.append(State("tokens", tokens / limits.tokens, f"{tokens:,} of {limits.tokens:,} tokens"))
    if limits.cost_micros:
        words = f"${cost / _MICROS:,.2f} of ${limits.cost_micros / _MICROS:,.2f}"
        found.append(State("cost", cost / limits.cost_micros, words))
    return found


def used_up(group: str, state: State, resets: str) -> str:
    """Return what is said to whoever asks a group that may use nothing more today.

    >>> used_up("main", State("tokens", 1.2, "1,200 of 1,000 tokens"), "00:00 (UTC)")[:75]
    'This agent has used up what it may use in a day: 1,200 of 1,000 tokens. It '
    """
    option = "--daily-tokens" if state.kind == "tokens" else "--daily-cost"
    return (
        f"This agent has used up what it may use in a day: {state.words}. It answers again after {resets}."
        f" The owner can raise the limit: ncl groups update {group} {option} N (none: no limit)."
    )


def warning(group: str, state: State, resets: str) -> str:
    """Return what its administrators are told."""
    if state.share >= 1:
        return f"The agent {group} has used up its daily limit ({state.words}) and answers nobody until {resets}."
    return f"The agent {group} has used {int(state.share * 100)} % of its daily limit: {state.words}."
