"""The real service and dispatcher over a real central.db; sessions are played, and the clock is the test's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nanoclaw_runner.contract.clock import parse
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import Unavailable
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import agent_groups, chats, tasks
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session
from nanoclawd.store.tasks import Run, Task
from nanoclawd.tasks.dispatcher import Dispatcher
from nanoclawd.tasks.service import TaskService, Where, Wish

ZONE = "Europe/Berlin"
NOON = datetime(2026, 3, 25, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment


@dataclass
class Sessions:
    """Stores what is handed over, once for each id; ``handed`` has every attempt."""

    database: Database
    stored: dict[tuple[str, str], NewMessage] = field(default_factory=dict)
    status: dict[tuple[str, str], str] = field(default_factory=dict)
    handed: list[str] = field(default_factory=list)
    trouble: Callable[[str], Exception | None] = lambda _session: None
    on_accept: Callable[[], None] = lambda: None

    async def create(
        self, agent_group_id: str, group: str, chat_id: str | None, thread_id: str | None = None, mode: str = "shared"
    ) -> Session:
        return await self.database.run(session_rows.create, agent_group_id, chat_id, thread_id, None, mode)

    async def accept_all(self, messages: Sequence[tuple[Session, NewMessage]]) -> list[bool | Exception]:
        outcomes: list[bool | Exception] = []
        for session, message in messages:
            self.on_accept()
            error = self.trouble(session.id)
            present = await self.database.run(session_rows.by_id, session.id)
            if error is None and present.status != "active":
                error = Unavailable("this conversation was closed at this moment")
            if error is not None:
                outcomes.append(error)
                continue
            self.handed.append(message.id)
            key = (session.id, message.id)
            outcomes.append(key not in self.stored)
            self.stored.setdefault(key, message)
        return outcomes

    async def row_status(self, session_id: str, row_id: str) -> str | None:
        key = (session_id, row_id)
        return self.status.get(key, "completed") if key in self.stored else None

    def rows(self) -> list[NewMessage]:
        return list(self.stored.values())


class Stage:
    """One agent with a chat and a session."""

    def __init__(self, path: Path) -> None:
        self.path = path / "central.db"
        self.clock = Clock()
        self.threads = False

    async def open(self) -> None:
        self.database = Database(self.path)
        await self.database.open()
        self.sessions = Sessions(self.database)
        self.group: AgentGroup = await self.database.run(agent_groups.create, "main")
        self.chat: Chat = await self.database.run(chats.create, "matrix", "!room", "Room", True)
        await self.database.run(chats.wire, self.chat.id, self.group.id)
        self.session = await self.database.run(session_rows.create, self.group.id, self.chat.id, None, "ssssssssssss")
        self.here = Where(self.session.id, Address("matrix", "!room", "$thread"))
        self.begin()

    def begin(self) -> None:
        """As a new daemon does."""
        self.service = TaskService(self.database, ZONE, self.clock)
        self.dispatcher = Dispatcher(
            self.database, self.sessions, lambda _channel: self.threads, clock_is_right=self._right, now=self.clock
        )

    async def _right(self) -> None:
        return

    async def close(self) -> None:
        await self.dispatcher.close()
        await self.database.close()

    async def plan(self, at: str | None = None, cron: str | None = None, **more: str) -> Task:
        wish = Wish(prompt=more.pop("prompt", "do it"), at=at, cron=cron, **more)
        return await self.service.create(self.group.id, "agent:main", wish, self.here)

    async def at(self, moment: datetime) -> None:
        """Let time go on to a moment, and what is due then be done."""
        self.clock.moment = moment
        await self.dispatcher.catch_up()

    async def after(self, **duration: float) -> None:
        await self.at(self.clock.moment + timedelta(**duration))

    async def task(self, task: Task) -> Task:
        return await self.database.run(tasks.by_id, task.id)

    async def runs(self, task: Task) -> list[Run]:
        """A task's runs, the oldest first."""
        return (await self.database.run(tasks.runs_of, task.id, 10_000))[::-1]

    async def occurrences(self, task: Task) -> list[datetime]:
        return [parse(run.occurrence) for run in await self.runs(task)]
