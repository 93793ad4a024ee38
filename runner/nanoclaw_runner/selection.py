"""Which waiting rows go into the next prompt: a pure function.

Trigger rows come in the order in which people wrote them; context rows fill the room that is left with what was said
last. Thus no number of context rows can hide a trigger row, and context alone starts nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the choice depends on, of a row that is pending, due and not acknowledged."""

    id: str
    seq: int
    trigger: bool
    on_wake: bool = False


def select(candidates: Iterable[Candidate], limit: int) -> tuple[Candidate, ...]:
    """Choose the rows of one prompt, oldest first.

    Every ``on_wake`` row is chosen, also beyond the limit: only a fresh container sees it, and it sees it once.

    Args:
        candidates: the rows that could be in the prompt, in any order.
        limit: how many rows a prompt has at most; at least one trigger row is chosen whatever it says.
    """
    rows = sorted(candidates, key=lambda row: row.seq)
    triggers = [row for row in rows if row.trigger and not row.on_wake]
    waking = [row for row in rows if row.on_wake]
    if not triggers and not any(row.trigger for row in waking):
        return ()
    asked = triggers[: max(limit - len(waking), 0 if any(row.trigger for row in waking) else 1)]
    context = [row for row in rows if not row.trigger and not row.on_wake]
    if len(asked) < len(triggers):
        # What was said after the last chosen question belongs to the questions that wait for the next prompt.
        last = asked[-1].seq if asked else 0
        context = [row for row in context if row.seq < last]
    room = max(limit - len(waking) - len(asked), 0)
    heard = context[len(context) - room :] if room < len(context) else context
    return tuple(sorted((*waking, *asked, *heard), key=lambda row: row.seq))
