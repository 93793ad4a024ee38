"""A provider that does what a test tells it, in a conversation on the test's own loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Self

import pytest
from runner_stage import Host

from eventually import eventually
from nanoclaw_runner import conversation as conversation_module
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.doorbell import Partial
from nanoclaw_runner.conversation import Conversation
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Intake
from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base
from nanoclaw_runner.store.inbox import Inbox
from nanoclaw_runner.store.outbox import Outbox
from nanoclaw_runner.supervision import Supervision
from nanoclaw_runner.workshop import Workshop


class Notifier:
    """Hears what systemd would."""

    socket = None

    def __init__(self) -> None:
        self.said: list[str] = []

    def notify(self, words: str) -> None:
        self.said.append(words)


class Query:
    """One query: its prompts are there to be seen, its events are the test's."""

    def __init__(self, prompt: Prompt, continuation: str | None) -> None:
        self.continuation = continuation
        self.prompts = [prompt]
        self.closed = False
        self.room = asyncio.Event()
        self.room.set()
        self._events: asyncio.Queue[base.Event | Exception | None] = asyncio.Queue()

    def push(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)

    async def passed_on(self) -> None:
        await self.room.wait()

    async def events(self) -> AsyncGenerator[base.Event]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        self.closed = True

    def say(self, *events: base.Event | Exception | None) -> None:
        """Give events; None: the query ends."""
        for event in events:
            self._events.put_nowait(event)


class Provider:
    """Makes queries, and keeps them for the test."""

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self.workshop: Workshop | None = None
        self.warmed: list[str | None] = []

    def query(self, prompt: Prompt, continuation: str | None) -> Query:
        self.queries.append(Query(prompt, continuation))
        return self.queries[-1]

    async def command(self, name: str, args: str, continuation: str | None) -> str | None:
        return f"{name}{args} of {continuation}"

    def warm(self, continuation: str | None) -> None:
        self.warmed.append(continuation)


class Talk:
    """A conversation that runs while the test's ``async with`` does."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
        values = {"prompt": "addressed", "quiet_seconds": 60.0, "idle_seconds": 60.0, **changes}
        self.host = host
        self.provider = Provider()
        self.notifier = Notifier()
        self.config = AgentConfig(**values)  # type: ignore[arg-type]
        monkeypatch.setattr(conversation_module, "load", self._load)
        self.outbox = Outbox(host.places.outbound_db)
        self.inbox = Inbox(host.places.inbound_db)
        self.intake = Intake(self.inbox, self.outbox, self.config.max_messages_per_prompt)
        host.listening.setblocking(False)
        self.doorbell = Doorbell(host.listening, on_ring=self.intake.changed.set)
        self.doorbell.open()
        self.shown: list[str] = []
        show = self.doorbell.show
        monkeypatch.setattr(self.doorbell, "show", lambda partial: (self._note(partial()), show(partial)))
        self.desk = Desk(self.outbox, self.intake, self.doorbell)
        self.supervision = Supervision(self.notifier, None)  # type: ignore[arg-type]
        self.conversation = Conversation(
            self.config,
            host.places,
            intake=self.intake,
            outbox=self.outbox,
            doorbell=self.doorbell,
            supervision=self.supervision,
            desk=self.desk,
        )
        self.task: asyncio.Task[None] | None = None

    def _note(self, partial: Partial | None) -> None:
        if partial is not None:
            self.shown.append(partial.text)

    def _load(self, workshop: Workshop) -> Provider:
        self.provider.workshop = workshop
        return self.provider

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.conversation.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait((self.task,))
        self.outbox.close()

    def ring(self) -> None:
        self.intake.changed.set()

    def insert(self, text: str, **place: object) -> str:
        identifier = self.host.insert(text, **place)  # type: ignore[arg-type]
        self.ring()
        return identifier

    async def query(self, number: int = 1, prompts: int = 1) -> Query:
        """Return the query of a number, once it has been given so many prompts."""
        await eventually(
            lambda: len(self.provider.queries) >= number and len(self.provider.queries[number - 1].prompts) >= prompts
        )
        return self.provider.queries[number - 1]

    async def replies(self, count: int) -> list[str]:
        await eventually(lambda: len(self.host.replies()) >= count)
        return self.host.replies()

    async def settled(self, *ids: str) -> None:
        """Wait until messages are done with."""
        await eventually(lambda: all(self.host.acks().get(one) == "completed" for one in ids))


type Opens = Callable[..., Talk]
"""Begins a conversation; takes what is to be different in its configuration."""
