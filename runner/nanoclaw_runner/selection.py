"""Which waiting rows go into the next prompt: a pure function.

A prompt has the rows of one place (a chat, or a thread in it), because its answer goes to one: the place of the oldest
question, so that none waits for ever. There, questions come in the order in which people wrote them; context rows fill
the room that is left with what was said last. Thus no number of context rows can hide a question, and context alone
starts nothing. A command is taken by itself, between what was written before and after it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nanoclaw_runner.contract.rows import Address

CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the choice depends on, of a row that is pending, due and not acknowledged.

    Attributes:
        trigger: the row asks for an answer; others are context.
        on_wake: only a fresh container sees it.
        place: where it was written.
        task: it asks for a run of a task, whose script may have to be run first.
        command: name of the command that it is, empty for everything else.
        request: id of the request of ours that it answers; such a row is never part of a prompt.
        answers: reference of the question of ours that it answers; part of a prompt only where no tool waits for it.
    """

    id: str
    seq: int
    trigger: bool
    on_wake: bool = False
    place: Address | None = None
    task: bool = False
    command: str = ""
    request: str = ""
    answers: str = ""


def select(candidates: Iterable[Candidate], limit: int) -> tuple[Candidate, ...]:
    """Choose the rows of one prompt, oldest first, or one command.

    Every ``on_wake`` row of the place is chosen, also beyond the limit.

    Args:
        candidates: the rows that could be chosen, in any order.
        limit: how many rows a prompt has at most; at least one trigger row is chosen whatever it says.
    """
    rows = sorted((row for row in candidates if not row.request), key=lambda row: row.seq)
    oldest = next((row for row in rows if row.trigger), None)
    if oldest is None:
        return ()
    if oldest.command:
        return _command(oldest, rows)
    command = next((row.seq for row in rows if row.trigger and row.command), None)
    here = [row for row in rows if row.place == oldest.place and (command is None or row.seq < command)]
    return _prompt(here, limit)


def _command(command: Candidate, rows: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return a command; a clearing one takes along, unread, what was said before it, wherever that was."""
    if command.command != CLEAR:
        return (command,)
    return (*(row for row in rows if row.seq < command.seq), command)


def _prompt(rows: Sequence[Candidate], limit: int) -> tuple[Candidate, ...]:
    triggers = [row for row in rows if row.trigger and not row.on_wake]
    waking = [row for row in rows if row.on_wake]
    asked = triggers[: max(limit - len(waking), 0 if any(row.trigger for row in waking) else 1)]
    context = [row for row in rows if not row.trigger and not row.on_wake]
    if len(asked) < len(triggers):
        # What was said after the last chosen question belongs to the questions that wait for the next prompt.
        last = asked[-1].seq if asked else 0
        context = [row for row in context if row.seq < last]
    room = max(limit - len(waking) - len(asked), 0)
    heard = context[len(context) - room :] if room < len(context) else context
    return tuple(sorted((*waking, *asked, *heard), key=lambda row: row.seq))
