"""A stage for one session: real databases, the daemon's own readers and writers, the runner's own outbox, and a chat
platform in memory."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from nanoclaw_runner.contract import clock, sequence
from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.rows import Address, OutboundRow
from nanoclaw_runner.store.outbox import Outbox, Reply
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.drain import Drain, Drained
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.ports import Delivered, Outgoing, Progress, SessionRef, Text, Undelivered

CHAT = Address("memory", "chat")
SESSION = SessionRef("abcdefghijkl", "main", CHAT)
READER = OutboundReader()
"""One for the whole process, as in the daemon: it registers a VFS."""


def said(text: str) -> str:
    return f'{{"text": "{text}"}}'


def message(identifier: str, **changes: object) -> NewMessage:
    values: dict[str, object] = {"id": identifier, "content": said(identifier), "address": CHAT, **changes}
    return NewMessage(**values)  # type: ignore[arg-type]  # a test's own keywords


@dataclass
class Platform:
    """A chat platform: takes what it is given as long as it is reachable, and remembers it in order."""

    got: list[Outgoing] = field(default_factory=list)
    away: bool = False
    shows_once: bool = False
    answer: Callable[[Outgoing], Delivered | Undelivered] = lambda _outgoing: Delivered()
    at_work: dict[str, Address] = field(default_factory=dict)
    ended: list[tuple[str, bool]] = field(default_factory=list)

    def reachable(self, address: Address) -> bool:
        return not self.away

    def at_once(self, address: Address) -> bool:
        return self.shows_once

    async def deliver(self, session: SessionRef, outgoing: Outgoing) -> Delivered | Undelivered:
        result = self.answer(outgoing)
        if isinstance(result, Delivered):
            self.got.append(outgoing)
        return result

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Nobody watches."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        self.ended.append((message_id, completed))

    def working(self, session: SessionRef, address: Address) -> None:
        self.at_work[session.id] = address

    def rested(self, session: SessionRef) -> None:
        self.at_work.pop(session.id, None)

    @property
    def texts(self) -> list[str]:
        return [outgoing.body.text for outgoing in self.got if isinstance(outgoing.body, Text)]

    @property
    def ids(self) -> list[str]:
        return [outgoing.id for outgoing in self.got]


@dataclass
class Rules:
    """A house with its rules: which other chats the agent may write to, what it asked, and what it asked for."""

    chats: set[tuple[str, str]] = field(default_factory=set)
    questions: dict[str, tuple[Card, Address]] = field(default_factory=dict)
    requests: list[OutboundRow] = field(default_factory=list)
    reports: dict[str, Mapping[str, object]] = field(default_factory=dict)
    fails: list[Exception] = field(default_factory=list)

    async def may_write_to(self, session: SessionRef, address: Address) -> bool:
        assert not session.owns(address), "a session's own chat needs no asking"
        return (address.channel_type, address.platform_id) in self.chats

    async def question_asked(self, session: SessionRef, row_id: str, card: Card, address: Address) -> str:
        self.fail()
        self.questions[row_id] = (card, address)
        return f"card-{row_id}"

    async def question_failed(self, session: SessionRef, row_id: str) -> None:
        self.questions.pop(row_id, None)

    async def reported(self, session: SessionRef, row_id: str, content: Mapping[str, object]) -> None:
        self.fail()
        self.reports[row_id] = content

    async def request(self, session: SessionRef, row: OutboundRow) -> None:
        self.fail()
        self.requests.append(row)

    def fail(self) -> None:
        if self.fails:
            raise self.fails.pop(0)


async def locks_are_not_ended(reason: str) -> None:
    raise AssertionError(reason)


@dataclass
class Stage:
    """A session of which both sides are at hand. ``restart`` is what the database sees of a new daemon."""

    root: Path
    platform: Platform = field(default_factory=Platform)
    rules: Rules = field(default_factory=Rules)
    session: SessionRef = SESSION

    def __post_init__(self) -> None:
        self.paths = SessionPaths(self.root / "sessions" / "main" / SESSION.id)
        self.jobs = SessionJobs(threads=2)
        self._begin()

    def _begin(self) -> None:
        self.files = SessionFiles(SESSION.id, self.paths, self.jobs, READER, locks_are_not_ended)
        self.drain = Drain(self.session, self.files, self.platform, self.rules)

    async def restart(self) -> None:
        await self.files.close()
        self._begin()

    async def end(self) -> None:
        await self.files.close()
        self.jobs.close()

    async def run(self, *pending_ids: str) -> Drained:
        return await self.drain.run(pending_ids)

    def reply(self, *texts: str, completed: tuple[str, ...] = ()) -> None:
        """Answer as the runner does: rows and acknowledgements in one commit."""
        with self.outbox() as outbox:
            highest = self.query_inbound("SELECT max(seq) FROM messages_in")
            outbox.finish([Reply(said(text), address=CHAT) for text in texts], completed, int(str(highest or 0)))

    @contextmanager
    def outbox(self) -> Iterator[Outbox]:
        outbox = Outbox(self.paths.outbound_db)
        try:
            yield outbox
        finally:
            outbox.close()

    def write_out(self, identifier: str, **columns: object) -> int:
        """Insert a row as any code in the container can; returns its seq."""
        values: dict[str, object] = {
            "kind": "chat",
            "timestamp": clock.now_text(),
            "channel_type": CHAT.channel_type,
            "platform_id": CHAT.platform_id,
            "content": said(identifier),
            **columns,
        }
        highest_in = int(str(self.query_inbound("SELECT coalesce(max(seq), 0) FROM messages_in")))
        connection = apsw.Connection(str(self.paths.outbound_db))
        try:
            highest_out = int(str(connection.execute("SELECT coalesce(max(seq), 0) FROM messages_out").get))
            values = {"id": identifier, "seq": sequence.next_container_seq(highest_in, highest_out), **values}
            connection.execute(
                f"INSERT INTO messages_out ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                tuple(values.values()),
            )
        finally:
            connection.close()
        return int(str(values["seq"]))

    def query_inbound(self, sql: str, *bindings: object) -> object:
        """One look at ``inbound.db`` by a connection of the test's own."""
        connection = apsw.Connection(str(self.paths.inbound_db), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            return connection.execute(sql, bindings).get  # type: ignore[arg-type]  # plain values
        finally:
            connection.close()

    def query_outbound(self, sql: str) -> object:
        connection = apsw.Connection(str(self.paths.outbound_db), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.execute(sql).get
        finally:
            connection.close()

    def outbound_ids(self) -> list[str]:
        connection = apsw.Connection(str(self.paths.outbound_db), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return [str(row[0]) for row in connection.execute("SELECT id FROM messages_out ORDER BY seq")]
        finally:
            connection.close()
