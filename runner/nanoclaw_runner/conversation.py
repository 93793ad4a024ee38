"""The runner's life: turns one after the other, and the end after a quiet time."""

import asyncio
import contextlib
import logging

from nanoclaw_runner import content
from nanoclaw_runner.commands import carry_out
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Batch, Intake
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers import base, load
from nanoclaw_runner.selection import CLEAR
from nanoclaw_runner.store.outbox import Outbox, Reply
from nanoclaw_runner.supervision import Supervision
from nanoclaw_runner.system_rows import Command
from nanoclaw_runner.tools import toolbox
from nanoclaw_runner.turn import Turn, prompt_of
from nanoclaw_runner.workshop import Workshop

_log = logging.getLogger(__name__)

CONTINUATION = "continuation:"
"""Begins the keys under which each provider's conversation is kept."""


class Conversation:
    """Answers a session's messages until there have been none for the configured time."""

    def __init__(
        self,
        config: AgentConfig,
        places: Places,
        *,
        intake: Intake,
        outbox: Outbox,
        doorbell: Doorbell,
        supervision: Supervision,
        desk: Desk,
    ) -> None:
        self._config = config
        self._places = places
        self._intake = intake
        self._outbox = outbox
        self._doorbell = doorbell
        self._supervision = supervision
        self._desk = desk
        self._provider: base.Provider | None = None
        self._turns = 0

    async def run(self) -> None:
        """Return after the idle time; the last look, right before, found nothing."""
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        self._supervision.status(lambda: "idle")
        while True:
            batch = self._intake.take()
            if batch is not None:
                await self._answer(batch)
                idle_since = loop.time()
                if self._intake.more:
                    continue
            remaining = idle_since + self._config.idle_seconds - loop.time()
            if remaining <= 0 and batch is None:
                return
            # No look without a reason: right after an answer it would meet the host's commit of the next message.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(remaining, 0)):
                    await self._intake.changed.wait()

    async def _answer(self, batch: Batch) -> None:
        command = batch.command
        if command is not None:
            await self._obey(batch, command)
            return
        self._turns += 1
        name = self._config.provider
        state_key = self._state_key
        turn = Turn(self._intake, self._outbox, self._doorbell, self._supervision, self._desk, state_key)
        loop = asyncio.get_running_loop()
        number, begun = self._turns, loop.time()
        self._supervision.status(lambda: f"turn {number}: answering ({name}), {loop.time() - begun:.0f} s")
        try:
            provider = self._load()
        except base.UnusableProviderError as error:
            turn.refuse(batch, str(error))
        else:
            self._supervision.watch_silence(self._config.silence_seconds)
            await turn.run(batch, provider.query(prompt_of(batch), self._outbox.state(state_key)))
        finally:
            self._supervision.stop_watching()
        _log.info("turn %d: %d messages, %.3f s", number, turn.messages, loop.time() - begun)
        self._supervision.status(lambda: "idle")

    async def _obey(self, batch: Batch, command: Command) -> None:
        self._supervision.status(lambda: "carrying out a command")
        self._supervision.watch_silence(self._config.silence_seconds)
        try:
            words = await carry_out(command, self._load, self._outbox.state(self._state_key), self._places)
        finally:
            self._supervision.stop_watching()
        reply = Reply(
            content=content.write(words),
            in_reply_to=batch.asked_by.id,
            address=self._intake.reply_address(batch),
        )
        forget = CONTINUATION if command.name == CLEAR else None
        self._outbox.finish([reply], batch.ids, self._intake.highest_seq(), forget=forget)
        self._doorbell.ring()
        self._supervision.status(lambda: "idle")

    @property
    def _state_key(self) -> str:
        return f"{CONTINUATION}{self._config.provider.lower()}"

    def _load(self) -> base.Provider:
        """Load the provider at the first turn: READY does not wait for its libraries."""
        if self._provider is None:
            tools = toolbox(self._config, self._places, self._desk)
            workshop = Workshop(self._config, self._places, self._desk, tools, lambda: self._config.instructions)
            self._provider = load(workshop)
        return self._provider
