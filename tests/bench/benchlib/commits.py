"""The durable commits of a turn: the written list, the real count, and what they cost when nothing else is done."""

import shutil
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.schema import INBOUND_DDL, OUTBOUND_DDL, apply_session_pragmas, create

INSERT_IN = """INSERT INTO messages_in (id, seq, kind, timestamp, series_id, channel_type, platform_id,
 platform_message_id, content) VALUES (?, ?, 'chat', ?, ?, 'terminal', 'root/bench', ?, ?)"""
_FINISH_IN = "UPDATE messages_in SET status = 'completed' WHERE id = ?"
_ACK = """INSERT INTO processing_ack (message_id, status, changed_at) VALUES (?, ?, ?)
 ON CONFLICT (message_id) DO UPDATE SET status = excluded.status, changed_at = excluded.changed_at"""
_INSERT_OUT = """INSERT INTO messages_out (id, seq, in_reply_to, timestamp, kind, channel_type, platform_id, content)
 VALUES (?, ?, ?, ?, 'chat', 'terminal', 'root/bench', ?)"""
_DELIVERY = """INSERT INTO delivered (message_out_id, status, attempts, changed_at) VALUES (?1, ?2, 1, ?3)
 ON CONFLICT (message_out_id) DO UPDATE SET status = ?2, changed_at = ?3"""
_WATERMARK = """INSERT INTO host_state (key, value) VALUES ('outbound_watermark', ?1)
 ON CONFLICT (key) DO UPDATE SET value = ?1"""

LIST: tuple[tuple[str, str, str], ...] = (
    ("inbound.db", "the message", "before its sender is told that it was accepted: it outlives any crash from here on"),
    ("outbound.db", "the claim", "a runner that dies in the turn is known to have begun it: the try is counted"),
    ("outbound.db", "reply and `completed`", "in one: a crash repeats the turn or does not, and never half-answers"),
    ("inbound.db", "`sending`", "the intent to deliver: at most one duplicate per crash, none lost"),
    ("inbound.db", "`delivered` and `completed`", "a restart does not say it again, and says that it was answered"),
)
"""File, content and reason of each commit of a turn with one reply."""

WHERE = {
    4: ", beside the reply (before it where the channel would show a repeated one again)",
    5: ", after the reply",
}
_CHANGE_COUNTER = struct.Struct(">24xI")
_WAL_HEADER_BYTES = 32
_WAL_FRAME = struct.Struct(">II8s8x")


@dataclass(frozen=True, slots=True)
class Count:
    """Commits in each file."""

    inbound: int
    outbound: int
    central: int

    def __sub__(self, earlier: "Count") -> "Count":
        return Count(self.inbound - earlier.inbound, self.outbound - earlier.outbound, self.central - earlier.central)

    def __str__(self) -> str:
        return f"inbound.db {self.inbound}, outbound.db {self.outbound}, central.db {self.central}"


class Counters:
    """Reads how many transactions the files have seen.

    A rollback-journal database counts them in its header (sqlite.org/fileformat.html, file change counter); in a
    write-ahead log each commit is a frame that tells the database's size.
    """

    def __init__(self, session: Path, state: Path) -> None:
        self._inbound = session / "in" / "inbound.db"
        self._outbound = session / "out" / "outbound.db"
        self._log = state / "central.db-wal"

    def read(self) -> Count:
        """Return the counts now."""
        return Count(_changes(self._inbound), _changes(self._outbound), self._logged())

    def _logged(self) -> int:
        log = self._log.read_bytes() if self._log.exists() else b""
        if len(log) < _WAL_HEADER_BYTES:
            return 0
        page_size = int.from_bytes(log[8:12])
        salt = log[16:24]
        frames = range(_WAL_HEADER_BYTES, len(log) - _WAL_FRAME.size, _WAL_FRAME.size + page_size)
        found = (_WAL_FRAME.unpack_from(log, offset) for offset in frames)
        return sum(pages > 0 and frame_salt == salt for _, pages, frame_salt in found)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the commits, by what they write down."""

    message: float
    claim: float
    answer: float
    delivery: float

    @property
    def until_reply(self) -> float:
        """Of those that precede the reply on a terminal."""
        return self.message + self.claim + self.answer

    @property
    def whole(self) -> float:
        """Of all."""
        return self.until_reply + self.delivery


class BareCommits:
    """Does the listed commits in one process, in two files of the same schema on the same file system."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "bare-commits"
        self._directory.mkdir()
        self._inbound = self._open("inbound.db", INBOUND_DDL)
        self._outbound = self._open("outbound.db", OUTBOUND_DDL)
        self._number = 0

    def turn(self) -> Cost:
        """Do the commits of one turn."""
        self._number += 1
        seq, now = self._number * 2, now_text()
        message, reply = f"bench-{seq:019}-000:bench", f"out-{seq:024}"
        content = '{"text": "hello", "sender": "root", "senderId": "terminal:root"}'
        begun = time.perf_counter()
        self._inbound.execute(INSERT_IN, (message, seq, now, message, message, content))
        stored = time.perf_counter()
        self._outbound.execute(_ACK, (message, "processing", now))
        claimed = time.perf_counter()
        with self._outbound:
            self._outbound.execute(_INSERT_OUT, (reply, seq + 1, message, now, '{"text": "echo: hello"}'))
            self._outbound.execute(_ACK, (message, "completed", now))
        answered = time.perf_counter()
        self._inbound.execute(_DELIVERY, (reply, "sending", now))
        with self._inbound:
            self._inbound.execute(_DELIVERY, (reply, "delivered", now))
            self._inbound.execute(_FINISH_IN, (message,))
            self._inbound.execute(_WATERMARK, (str(seq + 1),))
        return Cost(stored - begun, claimed - stored, answered - claimed, time.perf_counter() - answered)

    def close(self) -> None:
        """Remove the files."""
        self._inbound.close()
        self._outbound.close()
        shutil.rmtree(self._directory)

    def _open(self, name: str, ddl: tuple[str, ...]) -> apsw.Connection:
        connection = apsw.Connection(str(self._directory / name))
        create(connection, ddl)
        apply_session_pragmas(connection)
        return connection


def describe(counts: Sequence[tuple[Count, Count]]) -> str:
    """Hold what was counted (at the reply, at the turn's end) against the list."""
    at_reply = Counter(count for count, _ in counts).most_common(1)[0][0]
    at_end, often = Counter(count for _, count in counts).most_common(1)[0]
    files = Counter(name for name, _, _ in LIST)
    expected = Count(files["inbound.db"], files["outbound.db"], 0)
    verdict = "as listed" if at_end == expected else f"NOT as listed ({expected})"
    counted = (
        f"commits of a turn, counted in the files: {at_end} in {often} of {len(counts)} turns, {verdict};"
        f" when the reply is seen: {at_reply}"
    )
    lines = [counted]
    for number, (name, content, reason) in enumerate(LIST, start=1):
        lines.append(f"  {number}. {name}, {content}{WHERE.get(number, '')}: {reason}")
    return "\n".join(lines)


def _changes(path: Path) -> int:
    with path.open("rb") as file:
        counter: int = _CHANGE_COUNTER.unpack(file.read(_CHANGE_COUNTER.size))[0]
    return counter
