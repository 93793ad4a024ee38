"""The host's own ``inbound.db`` of a session: work for the agent, delivery outcomes, notices.

Used from :class:`~nanoclawd.sessions.jobs.SessionJobs` only, one call at a time per session. A read lock that the
container takes through its read-only mount blocks our commit, therefore a write waits 250 ms at most and is retried by
the caller.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

import apsw

from nanoclaw_runner.contract.clock import normalised, now_text, parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.schema import UNFINISHED, WAITING, apply_session_pragmas
from nanoclaw_runner.contract.sequence import NEXT_HOST_SEQ
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.sessions.received import Received

BUSY_TIMEOUT_MS: Final = 250
MAX_TRIES: Final = 5
FIRST_BACKOFF_SECONDS: Final = 5

_WATERMARK = "outbound_watermark"
# A row for the next container is paused until that begins, so that none that is there can take it (W-70).
_HELD = "status = 'paused' AND on_wake = 1"
_OPEN = f"(status = 'pending' OR ({_HELD}))"
# One statement, which is a transaction of its own: it has the write lock before it reads the highest number. Where
# twenty agents hear a message, each further one is one more time that twenty threads wait for the interpreter's lock.
_APPEND = f"""INSERT INTO messages_in (id, series_id, seq, kind, timestamp, status, process_after, trigger,
  on_wake, channel_type, platform_id, thread_id, platform_message_id, source_session_id, content)
SELECT ?1, ?1, {NEXT_HOST_SEQ}, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
WHERE ?14 IS NULL OR EXISTS (SELECT 1 FROM messages_in WHERE id = ?14) OR EXISTS (SELECT 1 FROM delivered
  WHERE platform_message_id = ?15 AND channel_type = ?8 AND platform_id = ?9)
ON CONFLICT (id) DO NOTHING"""
_ENTRY = f"""SELECT id, tries, trigger, {normalised("process_after")}, timestamp,
  channel_type, platform_id, thread_id, {_HELD}, seq
FROM messages_in WHERE {WAITING} AND {_OPEN}"""
# As the runner looks at them: no number of context rows hides a question.
_PENDING = f"""SELECT * FROM ({_ENTRY} AND trigger = 1 ORDER BY seq LIMIT 1000)
UNION ALL SELECT * FROM ({_ENTRY} AND trigger = 0 ORDER BY seq DESC LIMIT 1000) ORDER BY seq"""

# What began it: the newest word of a person, or task, and what other agents have said since. Of a long conversation
# only the end is looked at; whatever began before that has as many hops as its newest message.
_RECENT = "(SELECT * FROM messages_in ORDER BY seq DESC LIMIT 1000)"
_BEGUN = f"""SELECT seq, channel_type, platform_id, thread_id FROM {_RECENT}
WHERE trigger = 1 AND source_session_id IS NULL AND kind IN ('chat', 'task', 'webhook') ORDER BY seq DESC LIMIT 1"""
_SAID_BY_AGENTS = f"""SELECT id, platform_id, source_session_id, seq FROM {_RECENT}
WHERE source_session_id IS NOT NULL ORDER BY seq DESC"""


def backoff_seconds(tries: int) -> int:
    """Return the wait after a number of earlier tries: 5, 10, 20, 40, 80 s (F-96)."""
    return FIRST_BACKOFF_SECONDS << min(tries, MAX_TRIES - 1)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message of before: under which id the session has it if it was said to the agent, and the platform's own id."""

    row_id: str
    platform_message_id: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to store for the agent. ``content`` is JSON; ``process_after`` any ISO or SQLite form of a time.

    ``files`` are put in place before the row is written, and named in its content. ``source_session_id`` is set where
    another agent says it: what answers goes back to exactly that session. What is about an ``earlier`` message is
    stored only where that is known: said to the agent, or by it.
    """

    id: str
    content: str
    address: Address
    kind: str = "chat"
    trigger: bool = True
    on_wake: bool = False
    process_after: str | None = None
    platform_message_id: str | None = None
    files: tuple[Received, ...] = ()
    source_session_id: str | None = None
    earlier: Earlier | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A stored message that the agent has not finished.

    Attributes:
        held: no container that is there now sees it; the next one does.
    """

    id: str
    tries: int
    trigger: bool
    process_after: str | None
    timestamp: str
    address: Address | None
    held: bool = False

    def due(self, moment: str) -> bool:
        """Tell whether it may run at a moment. Any forms of time: a message just accepted has its sender's."""
        return self.process_after is None or parse(self.process_after) <= parse(moment)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is known of an outbound row's or notice's delivery.

    Attributes:
        status: pending, sending, delivered, failed or unknown.
        chat: channel and platform id of where it went: what a later row may say of it is the container's word.
        in_reply_to: the message that it answers: that one counts as answered when this has its final outcome.
    """

    message_out_id: str
    status: str
    attempts: int = 0
    next_attempt_at: str | None = None
    platform_message_id: str | None = None
    reason: str | None = None
    chat: tuple[str, str] | None = None
    in_reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that the agent was given: the platform's own id of it, where it was written, what became of it."""

    platform_message_id: str | None
    address: Address | None
    status: str
    trigger: bool


@dataclass(frozen=True, slots=True)
class Ancestry:
    """What a message of an agent's to another agent follows from.

    Attributes:
        origin: where the newest person or task spoke; None: nowhere that is remembered.
        answered: the session from which the message came that this one answers, where an agent said that.
        newest: the session from which the other agent spoke last.
        earlier: ids of the agents' messages since the newest person or task that this one may follow from.
    """

    origin: Address | None
    answered: str | None
    newest: str | None
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """The host's own words to a person."""

    id: str
    text: str
    address: Address
    timestamp: str
    in_reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A place that the agent may write to, under the name that it knows: a chat, or another agent's group."""

    name: str
    display_name: str
    type: str
    channel_type: str | None
    platform_id: str | None
    agent_group: str | None


@dataclass(frozen=True, slots=True)
class Retry:
    """What became of a message whose container died: another try, or the end."""

    message: Pending
    failed: bool


class Inbound:
    """An open ``inbound.db``. Opening it rolls back our own hot journal, if a crash left one."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            apply_session_pragmas(self._connection)
            self._upgrade()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append(self, message: NewMessage) -> bool:
        """Store a message; False when its id is stored already (the platform told it twice), or it is about none here.

        Raises:
            ValueError: ``process_after`` is not a time.
            apsw.ConstraintError: another value breaks the contract.
            apsw.BusyError: the container holds a lock.
            apsw.FullError: the disk is full; nothing was written.
        """
        process_after = None if message.process_after is None else _one_format(message.process_after)
        self._connection.execute(
            _APPEND,
            (
                message.id,
                message.kind,
                now_text(),
                "paused" if message.on_wake else "pending",
                process_after,
                int(message.trigger),
                int(message.on_wake),
                message.address.channel_type,
                message.address.platform_id,
                message.address.thread_id,
                message.platform_message_id,
                message.source_session_id,
                message.content,
                None if message.earlier is None else message.earlier.row_id,
                None if message.earlier is None else message.earlier.platform_message_id,
            ),
        )
        return bool(self._connection.changes())

    def pending(self) -> list[Pending]:
        """Read the unfinished messages, oldest first: of questions the first 1000, of context the last 1000."""
        return [
            Pending(
                id=row[0],
                tries=row[1],
                trigger=bool(row[2]),
                process_after=row[3],
                timestamp=row[4],
                address=_address(row[5], row[6], row[7]),
                held=bool(row[8]),
            )
            for row in self._connection.execute(_PENDING)
        ]

    def release(self) -> None:
        """Let the next container see what was kept for it: right before that begins, with none there."""
        self._connection.execute(f"UPDATE messages_in SET status = 'pending' WHERE {WAITING} AND {_HELD}")

    def status_of(self, message_id: str) -> str | None:
        """Return a message's status, or None where it is unknown.

        One that the agent has done with is pending for its people as long as an answer to it has not been delivered.
        """
        row = self._connection.execute(
            f"SELECT CASE WHEN EXISTS (SELECT 1 FROM delivered d WHERE {UNFINISHED.replace('status', 'd.status')}"
            " AND d.in_reply_to = m.id) THEN 'pending' ELSE m.status END FROM messages_in m WHERE m.id = ?",
            (message_id,),
        ).fetchone()
        return None if row is None else str(row[0])

    def content_of(self, message_id: str) -> str | None:
        """Return what a message says, or None where it is unknown."""
        row = self._connection.execute("SELECT content FROM messages_in WHERE id = ?", (message_id,)).fetchone()
        return None if row is None else str(row[0])

    def retry(self, messages: Iterable[Pending]) -> list[Retry]:
        """Count a failed try for messages: postponed by the back-off, or failed after the fifth (F-96, F-97)."""
        outcomes: list[Retry] = []
        with writing(self._connection) as connection:
            for message in messages:
                failed = message.tries >= MAX_TRIES
                outcomes.append(Retry(message, failed))
                if failed:
                    self._finish(message.id, "failed")
                    continue
                connection.execute(
                    "UPDATE messages_in SET tries = tries + 1, process_after = ? WHERE id = ? AND status = 'pending'",
                    (now_text(plus_seconds=backoff_seconds(message.tries)), message.id),
                )
        return outcomes

    def fail(self, message_ids: Iterable[str]) -> None:
        """End messages that will not be answered (the caller tells the person)."""
        with writing(self._connection):
            for message_id in message_ids:
                self._finish(message_id, "failed")

    def bring_forward(self, latest: str) -> None:
        """After a clock jump: no retry waits beyond a moment. Only retries: a time that somebody chose stays."""
        self._connection.execute(
            f"UPDATE messages_in SET process_after = ?1 WHERE status = 'pending' AND tries > 0"
            f" AND {normalised('process_after')} > ?1",
            (latest,),
        )

    def record(
        self,
        deliveries: Iterable[Delivery],
        *,
        acks: Mapping[str, str] | None = None,
        watermark: int | None = None,
    ) -> None:
        """Write delivery states, finished messages and the watermark, in one commit."""
        with writing(self._connection) as connection:
            for delivery in deliveries:
                connection.execute(
                    "INSERT INTO delivered (message_out_id, status, attempts, next_attempt_at, platform_message_id,"
                    " reason, changed_at, channel_type, platform_id, in_reply_to)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (message_out_id) DO UPDATE SET"
                    " status = ?2, attempts = ?3, next_attempt_at = ?4, platform_message_id = ?5, reason = ?6,"
                    " changed_at = ?7, channel_type = ?8, platform_id = ?9, in_reply_to = ?10",
                    (
                        delivery.message_out_id,
                        delivery.status,
                        delivery.attempts,
                        delivery.next_attempt_at,
                        delivery.platform_message_id,
                        delivery.reason,
                        now_text(),
                        *(delivery.chat or (None, None)),
                        delivery.in_reply_to,
                    ),
                )
            for message_id, status in (acks or {}).items():
                self._finish(message_id, status)
            if watermark is not None:
                self._set_state(_WATERMARK, str(watermark))

    def deliveries(self, message_out_ids: Iterable[str]) -> dict[str, Delivery]:
        """Read what is known of some outbound rows' deliveries."""
        rows = self._connection.execute(
            "SELECT message_out_id, status, attempts, next_attempt_at, platform_message_id, reason, channel_type,"
            " platform_id, in_reply_to FROM delivered WHERE message_out_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(message_out_ids)),),
        )
        return {
            row_id: Delivery(
                row_id, status, attempts, due, name, reason, None if channel is None else (channel, chat), reference
            )
            for row_id, status, attempts, due, name, reason, channel, chat, reference in rows
        }

    def heard(self, reference: int | str) -> Heard | None:
        """Find a message that the agent was given, by the number that it saw or by its id."""
        column = "seq" if isinstance(reference, int) else "id"
        row = self._connection.execute(
            "SELECT platform_message_id, channel_type, platform_id, thread_id, status, trigger FROM messages_in"
            f" WHERE {column} = ?",
            (reference,),
        ).fetchone()
        return None if row is None else Heard(row[0], _address(row[1], row[2], row[3]), row[4], bool(row[5]))

    def ancestry(self, in_reply_to: str | None, other: str) -> Ancestry:
        """Find what a message to another agent follows from.

        The container says what it answers, and may say so wrongly: what is newest counts as well, of the other agent
        and of all (in a ring the other never speaks here).

        Args:
            in_reply_to: id of the message that it is said to answer.
            other: the other agent's folder.
        """
        begun = self._connection.execute(_BEGUN).fetchone()
        since = 0 if begun is None else int(begun[0])
        heard = [
            (str(row_id), str(agent), str(session), int(seq or 0))
            for row_id, agent, session, seq in self._connection.execute(_SAID_BY_AGENTS)
        ]
        of_other = [row for row in heard if row[1] == other]
        answered = next((row for row in heard if row[0] == in_reply_to), None)
        candidates = [*of_other[:1], answered, *heard[:1]]
        return Ancestry(
            origin=None if begun is None else _address(*begun[1:]),
            answered=answered[2] if answered is not None and answered[1] == other else None,
            newest=of_other[0][2] if of_other else None,
            earlier=tuple(dict.fromkeys(row[0] for row in candidates if row is not None and row[3] > since)),
        )

    def watermark(self) -> int:
        """Return the seq up to which every outbound row has its final outcome."""
        row = self._connection.execute("SELECT value FROM host_state WHERE key = ?", (_WATERMARK,)).fetchone()
        return 0 if row is None else int(row[0])

    def reset_watermark(self) -> None:
        """Begin again at the first row: ``outbound.db`` is a new file."""
        self._set_state(_WATERMARK, "0")

    def add_notice(self, notice: Notice) -> None:
        """Store words of the host; the same id twice is one notice."""
        self._connection.execute(
            "INSERT INTO notices (id, position, timestamp, in_reply_to, channel_type, platform_id, thread_id, text)"
            " VALUES (?, (SELECT coalesce(max(position), 0) + 1 FROM notices), ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (
                notice.id,
                notice.timestamp,
                notice.in_reply_to,
                notice.address.channel_type,
                notice.address.platform_id,
                notice.address.thread_id,
                notice.text,
            ),
        )

    def undelivered_notices(self) -> list[Notice]:
        """Read the notices without a final outcome, oldest first."""
        rows = self._connection.execute(
            "SELECT n.id, n.text, n.channel_type, n.platform_id, n.thread_id, n.timestamp, n.in_reply_to"
            " FROM notices n LEFT JOIN delivered d ON d.message_out_id = n.id"
            " WHERE d.status IS NULL OR d.status NOT IN ('delivered', 'failed') ORDER BY n.position LIMIT 200"
        )
        return [
            Notice(
                id=row[0], text=row[1], address=Address(row[2], row[3], row[4]), timestamp=row[5], in_reply_to=row[6]
            )
            for row in rows
        ]

    def next_due(self, looked_at: str) -> str | None:
        """Return when a trigger row, or a delivery that was postponed beyond the last look, is due; None for never.

        A delivery that was due at that look and was not made waits for its chat to be reachable, not for a time.
        """
        row = self._connection.execute(
            f"SELECT min(t) FROM (SELECT min(coalesce({normalised('process_after')}, timestamp)) AS t FROM messages_in"
            f" WHERE {WAITING} AND {_OPEN} AND trigger = 1 UNION ALL"
            f" SELECT min(next_attempt_at) FROM delivered WHERE {UNFINISHED} AND status <> 'sending'"
            " AND next_attempt_at > ?)",
            (looked_at,),
        ).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def chats_behind(self) -> frozenset[tuple[str, str]]:
        """Return the chats that have yet to get something: it was tried, or found that nobody could see it."""
        query = f"""SELECT DISTINCT channel_type, platform_id FROM delivered WHERE {UNFINISHED}
            AND channel_type IS NOT NULL AND platform_id IS NOT NULL"""
        return frozenset((str(channel), str(chat)) for channel, chat in self._connection.execute(query))

    def set_routing(self, address: Address | None) -> None:
        """Project the session's own chat for the agent's tools (F-125)."""
        place = (None, None, None) if address is None else astuple(address)
        row = self._connection.execute("SELECT channel_type, platform_id, thread_id FROM session_routing").fetchone()
        if row == place:
            return
        self._connection.execute(
            "INSERT INTO session_routing (id, channel_type, platform_id, thread_id) VALUES (1, ?1, ?2, ?3)"
            " ON CONFLICT (id) DO UPDATE SET channel_type = ?1, platform_id = ?2, thread_id = ?3",
            place,
        )

    def set_destinations(self, destinations: Sequence[Destination]) -> bool:
        """Project where the agent may write to, for its tools (F-125); False where all of it was there already."""
        wanted = sorted(astuple(destination) for destination in destinations)
        columns = "name, display_name, type, channel_type, platform_id, agent_group"
        if self._connection.execute(f"SELECT {columns} FROM destinations ORDER BY name").fetchall() == wanted:
            return False
        with writing(self._connection) as connection:
            connection.execute("DELETE FROM destinations")
            connection.executemany(f"INSERT INTO destinations ({columns}) VALUES (?, ?, ?, ?, ?, ?)", wanted)
        return True

    def _upgrade(self) -> None:
        """Bring a file of an earlier version up to date. ``delivered`` is the host's alone: no contract changes."""
        added = ("channel_type", "platform_id", "in_reply_to")
        known = "SELECT count(*) FROM pragma_table_info('delivered') WHERE name IN (?, ?, ?)"
        if self._connection.execute(known, added).get == len(added):
            return
        found = {row[1] for row in self._connection.execute("PRAGMA table_info(delivered)")}
        with writing(self._connection) as connection:
            for column in added:
                if column not in found:
                    connection.execute(f"ALTER TABLE delivered ADD COLUMN {column} TEXT")

    def _finish(self, message_id: str, status: str) -> None:
        self._connection.execute(f"UPDATE messages_in SET status = ? WHERE id = ? AND {_OPEN}", (status, message_id))

    def _set_state(self, key: str, value: str) -> None:
        text = "INSERT INTO host_state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2"
        self._connection.execute(text, (key, value))


def _address(channel_type: str | None, platform_id: str | None, thread_id: str | None) -> Address | None:
    return None if channel_type is None or platform_id is None else Address(channel_type, platform_id, thread_id)


def _one_format(text: str) -> str:
    try:
        return to_text(parse(text))
    except OverflowError as error:
        raise ValueError("a time beyond the calendar") from error
