"""One turn: a query to the provider, the follow-ups that join it, and the rows that come of it."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from nanoclaw_runner import content
from nanoclaw_runner.contract.doorbell import Partial as PartialFrame
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Batch, Intake
from nanoclaw_runner.prompt import Prompt, from_rows
from nanoclaw_runner.providers import base
from nanoclaw_runner.store.outbox import Outbox, Reply
from nanoclaw_runner.supervision import Supervision

_log = logging.getLogger(__name__)


def prompt_of(batch: Batch) -> Prompt:
    """Return what the provider is asked for a batch."""
    return from_rows(batch.asked_by.id, batch.rows)


class Turn:
    """Answers one batch, and those that arrive while it is being answered.

    Attributes:
        messages: how many rows it has dealt with.
    """

    def __init__(
        self, intake: Intake, outbox: Outbox, doorbell: Doorbell, supervision: Supervision, desk: Desk, state_key: str
    ) -> None:
        """Prepare a turn.

        Args:
            intake: gives the follow-ups.
            outbox: takes the replies.
            doorbell: is rung for each reply.
            supervision: hears each sign of life.
            desk: is told what is being answered.
            state_key: where the provider's continuation is kept.
        """
        self._intake = intake
        self._outbox = outbox
        self._doorbell = doorbell
        self._supervision = supervision
        self._desk = desk
        self._state_key = state_key
        self._open: deque[Batch] = deque()
        self.messages = 0

    async def run(self, batch: Batch, query: base.Query) -> None:
        """Follow the query until every prompt given to it is answered or has failed."""
        self._open.append(batch)
        self._desk.asked = batch
        try:
            async with asyncio.TaskGroup() as group:
                follow_ups = group.create_task(self._push_follow_ups(query))
                try:
                    await self._answer(query)
                finally:
                    follow_ups.cancel()
        finally:
            self._desk.asked = None
            self._doorbell.forget_partial()
            await query.close()

    def refuse(self, batch: Batch, reason: str) -> None:
        """Tell the person why there is no answer, and consume what was asked."""
        self._open.append(batch)
        self._fail(reason)

    async def _push_follow_ups(self, query: base.Query) -> None:
        while True:
            await self._intake.changed.wait()
            if not self._open:
                # The turn is ending: nobody would answer what is taken now.
                return
            batch = self._intake.take(joining=self._open[-1])
            if batch is None:
                continue
            self._open.append(batch)
            query.push(prompt_of(batch))

    async def _answer(self, query: base.Query) -> None:
        async with aclosing(_words_for_exceptions(query)) as events:
            async for event in events:
                self._supervision.sign_of_life()
                self._handle(event)
                if not self._open:
                    return
        self._fail("the provider ended without an answer")

    def _handle(self, event: base.Event) -> None:
        match event:
            case base.Init(continuation):
                self._keep(continuation)
            case base.Partial(text):
                self._doorbell.show(PartialFrame(in_reply_to=self._open[0].asked_by.id, text=text))
            case base.Result(text, covers):
                self._reply(text, covers)
            case base.Error(message):
                self._fail(message)
            case base.Activity() | base.Progress() | base.ToolBegan() | base.ToolEnded() | base.Concern():
                pass

    def _keep(self, continuation: str) -> None:
        if self._outbox.state(self._state_key) != continuation:
            self._outbox.set_state(self._state_key, continuation)

    def _reply(self, text: str, covers: int) -> None:
        covered = [self._open.popleft() for _ in range(min(max(covers, 1), len(self._open)))]
        asked = covered[-1]
        if self._open:
            self._desk.asked = self._open[0]
        replies = [self._reply_row(asked, content.write(text))] if text.strip() else []
        self._write(replies, covered)

    def _fail(self, reason: str) -> None:
        _log.warning("turn failed: %s", reason)
        failed = list(self._open)
        self._open.clear()
        told: dict[Address | None, Reply] = {}
        for batch in failed:
            reply = self._reply_row(batch, content.write(f"Error: {reason}", error=True))
            told[reply.address] = reply
        self._write(list(told.values()), failed)

    def _reply_row(self, batch: Batch, text: str) -> Reply:
        return Reply(content=text, in_reply_to=batch.asked_by.id, address=self._intake.reply_address(batch))

    def _write(self, replies: list[Reply], covered: list[Batch]) -> None:
        self._doorbell.forget_partial()
        ids = [identifier for batch in covered for identifier in batch.ids]
        self.messages += len(ids)
        self._outbox.finish(replies, ids, self._intake.highest_seq())
        self._doorbell.ring()


async def _words_for_exceptions(query: base.Query) -> AsyncGenerator[base.Event]:
    """Turn a provider's exception into an error event; the database's own exceptions are none of its business."""
    try:
        async with aclosing(query.events()) as events:
            async for event in events:
                yield event
    except Exception as error:
        _log.exception("the provider failed")
        yield base.Error(str(error) or type(error).__name__)
