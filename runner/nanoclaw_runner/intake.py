"""What comes next: the look at the inbox, the choice and the claim, and when to look again.

Nothing here polls. A look follows a ring, a new connection, the end of a turn, the moment a row becomes due, or, while
the host's file cannot be read, a short and growing pause.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.rows import Address, InboundRow
from nanoclaw_runner.selection import Candidate, select
from nanoclaw_runner.store.inbox import Inbox, NotYetError
from nanoclaw_runner.store.outbox import Outbox
from nanoclaw_runner.system_rows import Command, command_of, reply_of
from nanoclaw_runner.waiting import Waiting

_log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 5.0
QUESTION = "question:"
"""Begins the keys of ``session_state`` under which questions to people are kept while a turn waits for them."""

LONGEST_TIMER_SECONDS = 3600.0
"""A due time further away is looked at again by then: the wall clock may have been set meanwhile."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed rows of one place that make one prompt, oldest first; at least one of them asks for an answer."""

    rows: tuple[InboundRow, ...]

    @property
    def asked_by(self) -> InboundRow:
        """The last row that asks: the answer goes where it came from."""
        return next(row for row in reversed(self.rows) if row.trigger)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all rows."""
        return tuple(row.id for row in self.rows)

    @property
    def command(self) -> Command | None:
        """The command that is to be carried out in place of a prompt."""
        return command_of(self.asked_by)


class Intake:
    """Takes claimed batches out of the inbox.

    Attributes:
        changed: set whenever it is worth looking again.
        more: the last look left questions for the next prompt, for which nobody will ring.
        inbox: what is looked at.
        waiting: who waits for the replies to calls of the host.
    """

    def __init__(self, inbox: Inbox, outbox: Outbox, limit: int) -> None:
        """Prepare; nothing is read yet.

        Args:
            inbox: what the host has written.
            outbox: keeps the claims.
            limit: rows in one prompt, at most.
        """
        self.changed = asyncio.Event()
        self.more = False
        self.inbox = inbox
        self.waiting = Waiting()
        self._outbox = outbox
        self._limit = limit
        # Rows for a fresh container that were there before its first prompt; those of other places come later.
        self._waking: set[str] = set()
        self._fresh = True
        self._requests: dict[str, str] = {}
        self._unclaimed: tuple[str, ...] = ()
        self._highest_seen = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def take(self, joining: Batch | None = None, *, claim: bool = True) -> Batch | None:
        """Look, choose and claim; None when nothing asks for an answer right now.

        Args:
            joining: the batch being answered: only what may be answered along with it is taken. As soon as somebody
                waits elsewhere or has given a command, that is nothing: they come next.
            claim: False: the caller sees to it that :meth:`claim` is called before anything can come of the batch.
        """
        self.changed.clear()
        self.more = False
        try:
            look = self.inbox.look(
                lambda candidates: self._choose(candidates, joining),
                now=clock.now_text(),
                fresh=self._fresh or bool(self._waking),
            )
        except NotYetError as error:
            # Usual while messages come in quick succession: the end of a turn meets the host's next commit.
            _log.debug("not yet: %s", error)
            self._look_again_in(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            return None
        self._pause = FIRST_PAUSE_SECONDS
        self._look_again_in(_seconds_until(look.next_due) if look.next_due else None)
        replies = {row.id: row for row in look.rows if row.id in self._requests}
        self._hand_out(replies)
        rows = tuple(row for row in look.rows if row.id not in replies)
        if not rows:
            return None
        batch = Batch(rows=rows)
        self._unclaimed = (*self._unclaimed, *batch.ids)
        if claim:
            self.claim()
        self._fresh = False
        self._waking.difference_update(batch.ids)
        self._highest_seen = max(self._highest_seen, batch.rows[-1].seq)
        return batch

    def claim(self) -> None:
        """Return when it is written down that what was taken is worked on."""
        if self._unclaimed:
            self._outbox.claim(self._unclaimed)
            self._unclaimed = ()
        self._outbox.settle()

    def begin_claim(self) -> None:
        """Have it written down in a thread while this one goes on: :meth:`claim` waits for that, and so does any write.

        A slow disk holds up neither the client's way to its model, which leads through this process, nor its signs of
        life.
        """
        if self._unclaimed:
            self._outbox.begin_claim(self._unclaimed)
            self._unclaimed = ()

    def highest_seq(self) -> int:
        """Return the inbox's greatest sequence number, or the greatest one seen while the file cannot be read."""
        try:
            self._highest_seen = self.inbox.highest_seq()
        except NotYetError as error:
            _log.info("not yet: %s", error)
        return self._highest_seen

    def reply_address(self, batch: Batch) -> Address | None:
        """Return where the answer to a batch goes: where it was asked, else the session's own chat."""
        if batch.asked_by.address is not None:
            return batch.asked_by.address
        try:
            return self.inbox.routing()
        except NotYetError as error:
            _log.warning("an answer has no address: %s", error)
            return None

    def _choose(self, candidates: Sequence[Candidate], joining: Batch | None) -> Sequence[Candidate]:
        done = self._outbox.acknowledged(candidate.id for candidate in candidates)
        waiting = [candidate for candidate in candidates if candidate.id not in done]
        if self._fresh:
            self._waking.update(candidate.id for candidate in waiting if candidate.on_wake)
        waiting = [candidate for candidate in waiting if not candidate.on_wake or candidate.id in self._waking]
        answers = [candidate for candidate in waiting if candidate.answers in self.waiting]
        held = {candidate.id for candidate in waiting if candidate.answers and self._is_open(candidate.answers)}
        held.update(candidate.id for candidate in answers)
        chosen = select((candidate for candidate in waiting if candidate.id not in held), self._limit)
        if joining is not None and not _may_join(chosen, joining):
            chosen = ()
        taken = {candidate.id for candidate in (*chosen, *answers)}
        self.more = any(candidate.trigger and candidate.id not in taken for candidate in waiting)
        replies = [*(candidate for candidate in waiting if candidate.request), *answers]
        self._requests = {candidate.id: candidate.request or candidate.answers for candidate in replies}
        return (*chosen, *replies)

    def _is_open(self, reference: str) -> bool:
        """Tell whether the turn that asks a question is not over: a repeated one asks again, and wants the answer."""
        kept = self._outbox.state(f"{QUESTION}{reference}")
        if kept is None:
            return False
        asked = str(json.loads(kept)["asked"])
        return not self._outbox.is_finished(asked) and self.inbox.is_waiting(asked)

    def _hand_out(self, replies: Mapping[str, InboundRow]) -> None:
        if not replies:
            return
        for identifier, row in replies.items():
            self.waiting.answered(self._requests[identifier], reply_of(row))
        self._outbox.finish([], replies, 0)

    def _look_again_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.changed.set)


def _may_join(chosen: Sequence[Candidate], batch: Batch) -> bool:
    """Tell whether rows may be answered along with a batch; a task's script runs before a turn, not during one."""
    return all(row.place == batch.asked_by.address and not row.command and not row.task for row in chosen)


def _seconds_until(due: str) -> float:
    ahead = (clock.parse(due) - datetime.now(UTC)).total_seconds()
    # A millisecond late rather than early: an early look finds nothing and arms the timer again.
    return min(max(ahead, 0.0) + 0.001, LONGEST_TIMER_SECONDS)
