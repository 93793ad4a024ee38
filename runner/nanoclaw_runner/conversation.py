"""The runner's life: turns one after the other, the query that stays open between them, and the end after a quiet time.

A query that has answered everything stays open for the configured time, and the next batch is pushed into it: a
provider whose client is a process of its own starts it once. What the provider does meanwhile, and each new batch,
begins that time anew. A command comes between two queries.
"""

import asyncio
import contextlib
import logging

from nanoclaw_runner import content
from nanoclaw_runner.commands import carry_out
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.exchange import Exchange
from nanoclaw_runner.instructions import Instructions
from nanoclaw_runner.intake import Batch, Intake
from nanoclaw_runner.places import Places
from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base, load
from nanoclaw_runner.scribe import Scribe
from nanoclaw_runner.scripts import Gate
from nanoclaw_runner.selection import CLEAR
from nanoclaw_runner.standing import Standing
from nanoclaw_runner.station import Station
from nanoclaw_runner.store.outbox import Outbox, Reply
from nanoclaw_runner.supervision import Supervision
from nanoclaw_runner.system_rows import Command
from nanoclaw_runner.tool_watch import ToolWatch
from nanoclaw_runner.tools import toolbox
from nanoclaw_runner.turn import Turn
from nanoclaw_runner.way_out import WayOut
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
        self._way_out = WayOut(places.gateway_socket)
        self._gate = Gate(
            intake, outbox, doorbell, places.workspace, allowed=config.task_scripts, variables=self._way_out.variables
        )
        watch = ToolWatch(supervision, outbox, config.silence_seconds)
        tools = toolbox(config, places, desk)
        tools.watcher = watch
        tools.before = intake.claim
        scribe = Scribe(config, places, desk.book, intake.inbox, outbox)
        self._scribe = scribe
        self._watch = watch
        self._tools = tools
        self._station = Station(
            config, intake, outbox, doorbell, supervision, desk, scribe, tools, watch, Standing(outbox)
        )
        self._provider: base.Provider | None = None
        self._exchange: Exchange | None = None
        self._turns = 0

    async def run(self) -> None:
        """Return after the idle time; the last look, right before, found nothing."""
        self._supervision.status(lambda: "idle")
        self._warm()
        async with asyncio.TaskGroup() as group:
            try:
                await self._run(group)
            finally:
                await self._close()

    async def _run(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while True:
            batch = self._intake.take(claim=False)
            if batch is not None:
                passed = await self._gate.pass_on(batch)
                if passed is not None:
                    await self._answer(passed, group)
                idle_since = loop.time()
                if self._intake.more:
                    continue
            quiet = await self._close_when_quiet()
            if self._exchange is not None:
                idle_since = max(idle_since, self._exchange.heard_at)
            remaining = idle_since + self._config.idle_seconds - loop.time()
            if remaining <= 0 and batch is None:
                return
            # No look without a reason: right after an answer it would meet the host's commit of the next message.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(min(remaining, quiet), 0)):
                    await self._intake.changed.wait()

    async def _close_when_quiet(self) -> float:
        """Close an open query in which nothing has happened for long enough; return when to look next, in seconds."""
        if self._exchange is None:
            return self._config.idle_seconds
        loop = asyncio.get_running_loop()
        quiet = self._exchange.heard_at + self._config.quiet_seconds - loop.time()
        if quiet > 0 and not self._exchange.over:
            return quiet
        if not self._exchange.over:
            _log.info("the query was quiet for %.0f s and is closed", self._config.quiet_seconds)
        await self._close()
        return self._config.idle_seconds

    async def _close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.close()

    def _warm(self) -> None:
        """Have a provider that can be prepared begin with it before the first look."""
        try:
            warm = getattr(self._load(), "warm", None)
            if callable(warm):
                warm(self._outbox.state(self._state_key))
        except base.UnusableProviderError:
            # Whoever asks is told.
            return
        except Exception:
            _log.exception("the provider could not be prepared")

    async def _answer(self, batch: Batch, group: asyncio.TaskGroup) -> None:
        command = batch.command
        if command is not None:
            self._intake.claim()
            await self._close()
            await self._obey(batch, command)
            return
        self._turns += 1
        name = self._config.provider
        turn = Turn(self._station, self._state_key)
        loop = asyncio.get_running_loop()
        number, begun = self._turns, loop.time()

        def status() -> str:
            doing = f"running {self._watch.current}" if self._watch.current else turn.doing or "answering"
            return f"turn {number}: {doing} ({name}), {loop.time() - begun:.0f} s"

        self._supervision.status(status)
        try:
            provider = self._load()
        except base.UnusableProviderError as error:
            turn.refuse(batch, str(error), "configuration")
        else:
            self._supervision.watch_silence(self._config.silence_seconds)
            await self._ask(turn, batch, provider, group)
        finally:
            self._supervision.stop_watching()
        ended = loop.time()
        first = (turn.spoke_at or ended) - begun
        _log.info("turn %d: %d messages, %.3f s, first word after %.3f s", number, turn.messages, ended - begun, first)
        self._supervision.status(lambda: "idle")

    async def _ask(self, turn: Turn, batch: Batch, provider: base.Provider, group: asyncio.TaskGroup) -> None:
        """Put a batch to the open query, or to a new one; to a new one as well where the open one proves to be dead.

        An open query's client begins to work, and to ask its model, while the claim is being committed. Nothing comes
        of that before the commit: whatever a client says, and each call of a tool that it wants to make, goes through
        this loop, and there the claim comes first (:meth:`Turn.hear`, ``Toolbox.before``). A runner that dies in
        between has done nothing, and the message waits as before.
        """
        waiting: tuple[Batch, ...] = (batch,)
        exchange = self._exchange
        if exchange is not None and not exchange.over:
            exchange.listener = turn.hear
            turn.begin(batch, reused=exchange)
            if not exchange.may_begin_early:
                self._intake.claim()
            exchange.push(self._scribe.next(batch))
            await exchange.passed_on()
            self._intake.begin_claim()
            await turn.run(exchange)
            waiting, turn.unheard = turn.unheard, ()
        self._intake.claim()
        if waiting:
            await self._close()
            await self._ask_anew(turn, waiting, provider, group)
        if self._exchange is not None and self._exchange.over:
            await self._close()

    async def _ask_anew(
        self, turn: Turn, waiting: tuple[Batch, ...], provider: base.Provider, group: asyncio.TaskGroup
    ) -> None:
        prompt = self._scribe.first(waiting[0])
        try:
            query = self._query(provider, prompt)
        except Exception as error:
            _log.exception("the provider failed to begin a query")
            for batch in waiting:
                turn.refuse(batch, str(error) or type(error).__name__)
            return
        turn.begin(waiting[0])
        self._exchange = Exchange(query, group, turn.hear)
        for batch in waiting[1:]:
            turn.begin(batch)
            self._exchange.push(self._scribe.next(batch))
        await turn.run(self._exchange)

    def _query(self, provider: base.Provider, prompt: Prompt) -> base.Query:
        return provider.query(prompt, self._outbox.state(self._state_key))

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
        """Load the provider after READY, which does not wait for its libraries."""
        if self._provider is None:
            instructions = Instructions(self._config, self._places, self._desk.book)
            workshop = Workshop(self._config, self._places, self._desk, self._tools, instructions, self._way_out)
            self._provider = load(workshop)
        return self._provider
