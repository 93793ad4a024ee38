"""Whether a wiring hears a message: its engage mode, and patterns that can't stall anybody."""

import functools
import logging
from dataclasses import dataclass
from enum import Enum

import regex

from nanoclawd.errors import InvalidName
from nanoclawd.routing.decision import DropReason, Outcome, Step
from nanoclawd.routing.event import InboundEvent
from nanoclawd.store.chats import Wiring

log = logging.getLogger(__name__)

ALWAYS = "."
"""The pattern that engages on everything, also on a message without any text (F-148)."""

MAX_PATTERN_CHARACTERS = 1000
MAX_REPETITIONS = 10_000
"""The library writes out what is repeated a fixed number of times, before any time limit counts."""

PATTERN_TIMEOUT_SECONDS = 0.1
_PATTERNS_KEPT = 1024
# Spaces and comments stand where (?x) allows them; elsewhere this only counts too much.
_COUNT = regex.compile(r"(?P<group>\)(?:\s|#[^\n]*\n|\(\?#[^)]*\))*+)?\{(?P<count>(?:[\s\d]|#[^\n]*\n)*+)")
_NO_DIGIT = regex.compile(r"#[^\n]*\n|\D")


class Match(Enum):
    """What a pattern says to a text."""

    YES = "yes"
    NO = "no"
    TIMEOUT = "timeout"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Engaged:
    """Whether a wiring engages, the step that says so, and the reason to record where it doesn't."""

    engages: bool
    step: Step
    reason: str = DropReason.NO_AGENT_ENGAGED


class Patterns:
    """Compiled patterns, the last used ones kept. Used from any thread."""

    def __init__(self, timeout: float = PATTERN_TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._compiled = functools.lru_cache(_PATTERNS_KEPT)(_compiled_or_none)

    def match(self, pattern: str, text: str) -> Match:
        """Search a text. Bounded in time; the interpreter is free meanwhile (so run it in a thread of its own)."""
        compiled = self._compiled(pattern)
        if compiled is None:
            return Match.INVALID
        try:
            found = compiled.search(text, timeout=self._timeout, concurrent=True)
        except TimeoutError:
            return Match.TIMEOUT
        return Match.NO if found is None else Match.YES


def check_pattern(pattern: str) -> str:
    """Return a pattern that can be compiled.

    Raises:
        InvalidName: it can't; the message says where.
    """
    if not pattern:
        raise InvalidName(f"an engage pattern is not empty; '{ALWAYS}' engages on everything")
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise InvalidName(f"an engage pattern has {MAX_PATTERN_CHARACTERS} characters at most")
    if _repetitions(pattern) > MAX_REPETITIONS:
        raise InvalidName(
            f"an engage pattern's counts, {{n}} within {{m}} multiplied, come to {MAX_REPETITIONS} at most"
        )
    try:
        _compile(pattern)
    except Exception as error:  # the library's own error, and whatever a hostile pattern makes it trip over
        raise InvalidName(f"the engage pattern {pattern[:60]!r} is no regular expression: {error}") from error
    return pattern


def needs_matching(wiring: Wiring) -> bool:
    """Tell whether deciding about a wiring takes a pattern's search."""
    return wiring.engage_mode == "pattern" and wiring.engage_pattern != ALWAYS


def evaluate(wiring: Wiring, event: InboundEvent, *, is_sticky: bool, patterns: Patterns) -> Engaged:
    """Decide whether a wiring engages on a message."""
    if wiring.engage_mode == "pattern":
        return _by_pattern(wiring, event.text, patterns)
    rule = f"wiring {wiring.id} engage_mode={wiring.engage_mode}"
    if event.is_mention:
        return _yes("it is addressed to the agent", rule)
    if not event.is_group:
        return _yes("in a chat of two everything is addressed to the agent", rule)
    if wiring.engage_mode == "mention":
        return _no("not mentioned", rule)
    if is_sticky:
        return _yes("not mentioned, but the agent was mentioned in this thread before", rule)
    return _no("not mentioned, and this thread is not sticky", rule)


def _by_pattern(wiring: Wiring, text: str, patterns: Patterns) -> Engaged:
    pattern = wiring.engage_pattern or ALWAYS
    rule = f"wiring {wiring.id} engage_mode=pattern engage_pattern={pattern!r}"
    if pattern == ALWAYS:
        return _yes("the agent hears everything here", rule)
    match patterns.match(pattern, text):
        case Match.YES:
            return _yes("the pattern matches", rule)
        case Match.NO:
            return _no("the pattern does not match", rule)
        case Match.TIMEOUT:
            reason = f"the pattern took longer than {PATTERN_TIMEOUT_SECONDS:g} s on this text"
            return Engaged(False, Step("engage", Outcome.STOP, reason, rule), DropReason.PATTERN_TIMEOUT)
        case Match.INVALID:
            # Whoever may be heard is the gates' matter; a broken filter must not make an agent deaf (F-149).
            log.warning(
                "wiring %s: its engage pattern is no regular expression, so it engages on everything", wiring.id
            )
            return _yes("the pattern is no regular expression, so everything engages", rule)


def _yes(reason: str, rule: str) -> Engaged:
    return Engaged(engages=True, step=Step("engage", Outcome.PASS, reason, rule))


def _no(reason: str, rule: str) -> Engaged:
    return Engaged(engages=False, step=Step("engage", Outcome.STOP, reason, rule))


def _repetitions(pattern: str) -> int:
    """Return how long what a pattern repeats a fixed number of times may become: the counts' sum, times the groups'."""
    single, groups = 0, 1
    for found in _COUNT.finditer(pattern):
        digits = _NO_DIGIT.sub("", found["count"])
        # No more digits are looked at than it takes to be over the bound.
        count = int(digits.lstrip("0")[:9] or 0)
        if found["group"] is None:
            single += count
        else:
            groups *= max(1, count)
    return max(1, single) * groups


def _compile(pattern: str) -> "regex.Pattern[str]":
    # Version 0: the syntax that people know from `re`. Our own cache holds it, not the library's.
    return regex.compile(pattern, regex.VERSION0, cache_pattern=False)


def _compiled_or_none(pattern: str) -> "regex.Pattern[str] | None":
    try:
        check_pattern(pattern)
    except InvalidName:
        return None
    return _compile(pattern)
