"""One turn: what is asked of the provider, the follow-ups that join it, and the rows that come of it."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from nanoclaw_runner import reports
from nanoclaw_runner.addressing import Sorted, correction, misdirected
from nanoclaw_runner.answering import Answering, Found
from nanoclaw_runner.contract.doorbell import Partial as PartialFrame
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.exchange import Ended, Exchange, Heard
from nanoclaw_runner.intake import Batch
from nanoclaw_runner.providers import base
from nanoclaw_runner.station import Station
from nanoclaw_runner.store.outbox import Reply

_log = logging.getLogger(__name__)

MAX_REPORTS: Final = 16
"""Of the troubles of one turn."""

_BESIDE: Final = "said-"
"""Begins the ids of messages that were written beside calls of tools: a turn that is repeated writes none twice."""

_NOTHING: Final = Sorted()
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt that the provider has and has not answered.

    Attributes:
        answering: for the newest batch that an answer answers.
        batches: all of them.
        since: the loop's time when the first of them was asked.
        held: an answer that waits for the agent to say whom it meant: the prompt asks for that.
        usage: what that answer took.
        spoken: what was sent before the answer, beside calls of tools.
        missed: what was to be, and named nobody.
    """

    answering: Answering
    batches: tuple[Batch, ...]
    since: float
    held: Sorted | None = None
    usage: tuple[base.Usage, ...] = ()
    spoken: tuple[Reply, ...] = ()
    missed: Sorted = _NOTHING

    @property
    def spoken_here(self) -> bool:
        """Whether something of it went to where it was asked."""
        return any(row.address == self.answering.address for row in self.spoken)


class Turn:
    """Answers one batch, and those that arrive while it is being answered.

    Attributes:
        messages: how many rows it has dealt with.
        unheard: batches that went into a query which had ended before it could hear them.
        doing: what the provider says that it is doing, for the status.
        spoke_at: when the first word of an answer came (the loop's time), None before.
    """

    def __init__(self, station: Station, state_key: str) -> None:
        """Prepare a turn.

        Args:
            station: what it works with.
            state_key: where the provider's continuation is kept.
        """
        self._station = station
        self._state_key = state_key
        self._loop = asyncio.get_running_loop()
        self._open: deque[_Asked] = deque()
        self._exchange: Exchange | None = None
        self._last: Answering | None = None
        self._moved = asyncio.Event()
        self._may_be_unheard = False
        self._own_calls = 0
        self._troubles: list[tuple[base.Trouble, str, str]] = []
        self.messages = 0
        self.unheard: tuple[Batch, ...] = ()
        self.doing = ""
        self.spoke_at: float | None = None

    def begin(self, batch: Batch, *, reused: Exchange | None = None) -> None:
        """Take a batch up, whose prompt the provider is about to be given.

        Args:
            batch: what is asked.
            reused: a query that was open before this turn: should it prove to have ended, nobody was heard, and a new
                one is due.
        """
        self._exchange = reused
        self._may_be_unheard = reused is not None
        if not self._open:
            self._station.desk.asked = batch
            self._count_anew()
        self._add(batch)

    async def run(self, exchange: Exchange) -> None:
        """Follow the query until every prompt given to it is answered or has failed."""
        self._exchange = exchange
        try:
            async with asyncio.TaskGroup() as group:
                follow_ups = group.create_task(self._push_follow_ups(exchange))
                try:
                    await self._until_answered()
                finally:
                    follow_ups.cancel()
        finally:
            self._station.watch.nothing_runs()
            self._station.desk.asked = None
            self._station.doorbell.forget_partial()

    def refuse(self, batch: Batch, reason: str, trouble: base.Trouble = "") -> None:
        """Tell the person why there is no answer, and consume what was asked.

        Args:
            batch: what was asked.
            reason: in words.
            trouble: what the operator is told that it is, empty for nothing.
        """
        self._add(batch)
        if trouble:
            self._report(trouble, self._station.config.provider, reason)
        self._fail(reason)
        self._station.desk.asked = None

    def hear(self, event: Heard) -> None:
        """Deal with what the provider says; between turns, too."""
        self._station.supervision.sign_of_life()
        if not isinstance(event, base.Init | base.Activity | base.Works):
            # What says nothing need not wait for the claim.
            self._station.intake.claim()
        if not isinstance(event, base.Init | base.Activity | base.Error | base.Concern | base.Works | Ended):
            self._may_be_unheard = False
        if self.spoke_at is None and isinstance(event, base.Partial | base.Said | base.Result):
            self.spoke_at = self._loop.time()
        match event:
            case base.Init(continuation):
                self._keep(continuation)
            case base.Partial(text):
                self.doing = ""
                self._show(text)
            case base.Said(text):
                self._send_beside(text)
            case base.Result(text, covers, usage):
                self._answered(text, covers, (usage,) if usage is not None else ())
            case base.Error(message, _, trouble):
                self._failed(message, trouble)
            case Ended():
                self._ended()
            case _:
                self._note(event)

    def _note(self, event: base.Event) -> None:
        """Deal with what is no part of an answer."""
        match event:
            case base.Progress(message):
                self.doing = message
            case base.ToolBegan(name, timeout):
                self._own_tool_began(name, timeout)
            case base.ToolEnded(name):
                self._station.watch.ended(name)
            case base.Concern(trouble, subject, message):
                self._report(trouble, subject, message)
            case base.Works(server):
                if self._station.standing.works(server, self._station.intake.highest_seq):
                    self._station.doorbell.ring()
            case _:
                # A sign of life and nothing else.
                return

    async def _push_follow_ups(self, exchange: Exchange) -> None:
        while True:
            await self._station.intake.changed.wait()
            if not self._open or exchange.over:
                # The turn is ending: nobody would answer what is taken now.
                return
            batch = self._station.intake.take(joining=self._open[-1].answering.batch)
            if batch is None:
                continue
            self._add(batch)
            exchange.push(self._station.scribe.next(batch))

    async def _until_answered(self) -> None:
        seconds = self._station.config.turn_seconds
        while self._open and not self.unheard:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(self._open[0].since + seconds):
                    await self._moved.wait()
            except TimeoutError:
                self._abandon()
                self._fail(f"I was not done within {_spoken(seconds)}, and was stopped. Please ask again.")

    def _add(self, batch: Batch) -> None:
        station = self._station
        here = station.intake.reply_address(batch)
        addressed = station.config.prompt == "addressed"
        answering = Answering(batch, here, station.desk.book, addressed=addressed)
        self._open.append(_Asked(answering, (batch,), self._loop.time()))

    def _count_anew(self) -> None:
        self._station.tools.begin_turn()
        self._own_calls = 0

    @property
    def _calls(self) -> int:
        return self._station.tools.calls + self._own_calls

    def _keep(self, continuation: str) -> None:
        outbox = self._station.outbox
        if outbox.state(self._state_key) != continuation:
            outbox.set_state(self._state_key, continuation)

    def _show(self, text: str) -> None:
        if not self._open or self._open[0].held is not None:
            return
        answering = self._open[0].answering

        def partial() -> PartialFrame | None:
            shown = answering.so_far(text)
            return PartialFrame(in_reply_to=answering.batch.asked_by.id, text=shown) if shown.strip() else None

        self._station.doorbell.show(partial)

    def _own_tool_began(self, name: str, timeout: float | None) -> None:
        self._station.watch.provider_began(name, timeout)
        self._own_calls += 1
        most = self._station.config.max_tool_calls
        if self._open and self._own_calls > most:
            self._abandon()
            self._fail(f"I made more than {most} tool calls without an answer, and was stopped. Please ask again.")

    def _report(self, kind: base.Trouble, subject: str, message: str) -> None:
        """Keep a report for the answer's transaction; between turns it is written at once."""
        trouble = (kind, subject, message)
        if len(self._troubles) < MAX_REPORTS and trouble not in self._troubles:
            self._troubles.append(trouble)
        if not self._open:
            self._write([], ())

    def _send_beside(self, text: str) -> None:
        answering = self._open[0].answering if self._open else self._last
        if answering is None:
            return
        found = answering.beside(text)
        rows = answering.rows(found.sent)
        if self._open:
            asked = self._open[0]
            # Of what names nobody the agent is told when it has answered; a word in between would be in its way.
            missed = _both(asked.missed, replace(found, sent=()))
            self._open[0] = replace(asked, spoken=(*asked.spoken, *rows), missed=missed)
        else:
            rows = _settled(answering, (), Found(found))
        if rows:
            desk = self._station.desk
            self._station.doorbell.forget_partial()
            self._write([replace(row, id=desk.key("", (row.address, row.content), _BESIDE)) for row in rows], ())

    def _answered(self, text: str, covers: int, usage: tuple[base.Usage, ...]) -> None:
        covered = [self._open.popleft() for _ in range(min(covers, len(self._open)))]
        answering = covered[-1].answering if covered else self._open[0].answering if self._open else self._last
        if answering is None:
            _log.warning("an answer without any question is dropped")
            return
        self._last = answering
        found = answering.found(text, spoken=any(asked.spoken_here for asked in covered))
        for asked in reversed(covered):
            found = replace(found, sorted=_both(asked.missed, found.sorted))
        batches = tuple(batch for asked in covered for batch in asked.batches)
        since = min((asked.since for asked in covered), default=self._loop.time())
        usage = (*(one for asked in covered for one in asked.usage), *usage)
        held = [asked.held for asked in covered if asked.held is not None]
        if covered and not held and not found.is_clear and self._exchange is not None and not self._exchange.over:
            self._open.append(_Asked(answering, batches, since, found.sorted, usage))
            words = correction(found.sorted, answering.places())
            self._exchange.push(self._station.scribe.note(f"{answering.batch.asked_by.id}-named", words))
            self._moved.set()
            return
        spoken = any(asked.spoken for asked in covered)
        rows = _settled(answering, held, found, spoken=spoken)
        if usage:
            seconds = self._loop.time() - since
            rows.append(reports.usage(answering.batch.asked_by.id, usage, tool_calls=self._calls, seconds=seconds))
        if covered:
            self._count_anew()
        # Before those that came up in this turn are written: they go on.
        self._station.standing.answered(self._station.intake.highest_seq)
        self._write(rows, batches)

    def _failed(self, message: str, trouble: base.Trouble) -> None:
        if not trouble and self._nobody_heard():
            return
        if trouble:
            self._report(trouble, "", message)
        if self._open:
            self._fail(message)
        else:
            _log.warning("the provider failed while nothing was asked: %s", message)

    def _ended(self) -> None:
        if self._open and not self._nobody_heard():
            self._fail("the provider ended without an answer")

    def _nobody_heard(self) -> bool:
        """Tell whether the query had ended before it was given this turn's prompts; they are for a new one then."""
        if not self._may_be_unheard or self._calls or not self._open:
            return False
        self.unheard = tuple(batch for asked in self._open for batch in asked.batches)
        self._open.clear()
        self._moved.set()
        return True

    def _fail(self, reason: str) -> None:
        _log.warning("turn failed: %s", reason)
        failed = list(self._open)
        self._open.clear()
        rows: list[Reply] = []
        told: dict[Address | None, Reply] = {}
        for asked in failed:
            rows += _settled(asked.answering, (), Found(asked.missed))
            if asked.held is not None:
                # There is an answer, if to nobody in particular: that is worth more than the reason.
                rows += _settled(asked.answering, [asked.held], Found(Sorted()))
            else:
                told[asked.answering.address] = asked.answering.here(f"Error: {reason}", error=True)
        self._write([*rows, *told.values()], [batch for asked in failed for batch in asked.batches])

    def _abandon(self) -> None:
        if self._exchange is not None:
            self._exchange.abandon()

    def _write(self, rows: Sequence[Reply], covered: Sequence[Batch]) -> None:
        station = self._station
        if covered:
            station.doorbell.forget_partial()
        ids = [identifier for batch in covered for identifier in batch.ids]
        self.messages += len(ids)
        for kind, subject, _ in self._troubles:
            station.standing.begins(kind, subject)
        told = [reports.trouble(kind, message, subject) for kind, subject, message in self._troubles]
        station.outbox.finish([*rows, *told], ids, station.intake.highest_seq())
        self._troubles.clear()
        station.doorbell.ring()
        if self._open:
            station.desk.asked = self._open[0].answering.batch
        self._moved.set()


def _both(first: Sorted, second: Sorted) -> Sorted:
    """Return what is for nobody of two parts of an answer, and what is sent of the second."""
    loose = "\n\n".join(text for text in (first.loose, second.loose) if text)
    return Sorted(second.sent, (*first.unknown, *second.unknown), loose)


def _settled(answering: Answering, held: Sequence[Sorted], found: Found, *, spoken: bool = False) -> list[Reply]:
    """Return the rows of an answer; what still names nobody goes to where it was asked rather than nowhere.

    Args:
        answering: for the rows.
        held: the answer that the agent was asked about.
        found: what it says now.
        spoken: something was sent beside calls of tools since then.
    """
    rows = [row for one in held for row in answering.rows(one.sent)] + answering.rows(found.sorted.sent)
    silent = found.thought and found.is_clear
    corrected = bool(held) and bool(found.sorted.sent or silent or spoken)
    # An agent that was asked whom it meant mostly excuses itself: what it said first is the answer.
    left = [found.sorted] if corrected or not held else [*held]
    for one in left:
        if one.loose:
            rows.append(answering.here(one.loose))
        rows += [answering.here(misdirected(name, text)) for name, text in one.unknown]
    return rows


def _spoken(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:g} seconds"
    minutes = round(seconds / _MINUTE)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
