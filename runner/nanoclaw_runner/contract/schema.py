"""The two session databases, word for word.

The host compares ``sqlite_schema`` of a container's database with :data:`OUTBOUND_DDL` before it reads a row (a view in
a table's place never ends), so a statement here is exactly what SQLite stores: one object, no trailing semicolon.
"""

import apsw

from nanoclaw_runner.contract import CONTRACT_VERSION
from nanoclaw_runner.contract.clock import normalised
from nanoclaw_runner.contract.transaction import writing

WAITING = "status IN ('pending', 'paused')"
"""The condition of an index. A query repeats it beside its own: SQLite does not see that ``status = 'pending'`` implies
it, and would read a conversation's whole history for its few waiting rows."""

UNFINISHED = "status IN ('pending', 'sending', 'unknown')"
"""The same for deliveries."""

INBOUND_DDL: tuple[str, ...] = (
    f"""CREATE TABLE messages_in (
  id TEXT PRIMARY KEY NOT NULL,
  seq INTEGER NOT NULL UNIQUE CHECK (seq > 0 AND seq % 2 = 0),
  kind TEXT NOT NULL CHECK (kind IN ('chat', 'task', 'webhook', 'system')),
  timestamp TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed', 'paused')),
  process_after TEXT CHECK (process_after IS NULL OR {normalised("process_after")} IS NOT NULL),
  recurrence TEXT,
  series_id TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  trigger INTEGER NOT NULL DEFAULT 1 CHECK (trigger IN (0, 1)),
  on_wake INTEGER NOT NULL DEFAULT 0 CHECK (on_wake IN (0, 1)),
  channel_type TEXT,
  platform_id TEXT,
  thread_id TEXT,
  platform_message_id TEXT,
  source_session_id TEXT,
  content TEXT NOT NULL
) STRICT""",
    f"CREATE INDEX messages_in_waiting ON messages_in (seq) WHERE {WAITING}",
    "CREATE INDEX messages_in_series ON messages_in (series_id)",
    """CREATE TABLE delivered (
  message_out_id TEXT PRIMARY KEY NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'sending', 'delivered', 'failed', 'unknown')),
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  next_attempt_at TEXT,
  platform_message_id TEXT,
  reason TEXT,
  changed_at TEXT NOT NULL,
  channel_type TEXT,
  platform_id TEXT,
  in_reply_to TEXT
) STRICT""",
    f"CREATE INDEX delivered_unfinished ON delivered (message_out_id) WHERE {UNFINISHED}",
    """CREATE TABLE notices (
  id TEXT PRIMARY KEY NOT NULL,
  position INTEGER NOT NULL UNIQUE,
  timestamp TEXT NOT NULL,
  in_reply_to TEXT,
  channel_type TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  thread_id TEXT,
  text TEXT NOT NULL
) STRICT""",
    """CREATE TABLE destinations (
  name TEXT PRIMARY KEY NOT NULL,
  display_name TEXT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('channel', 'agent')),
  channel_type TEXT,
  platform_id TEXT,
  agent_group TEXT,
  CHECK ((type = 'agent') = (agent_group IS NOT NULL)),
  CHECK ((type = 'channel') = (channel_type IS NOT NULL AND platform_id IS NOT NULL))
) STRICT""",
    """CREATE TABLE session_routing (
  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  channel_type TEXT,
  platform_id TEXT,
  thread_id TEXT
) STRICT""",
    """CREATE TABLE host_state (
  key TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) STRICT""",
)
"""Written by the host only. ``notices`` are the host's own words to a person; they share ``delivered`` with replies."""

OUTBOUND_DDL: tuple[str, ...] = (
    """CREATE TABLE messages_out (
  id TEXT PRIMARY KEY NOT NULL,
  seq INTEGER NOT NULL UNIQUE CHECK (seq > 0 AND seq % 2 = 1),
  in_reply_to TEXT,
  timestamp TEXT NOT NULL,
  deliver_after TEXT,
  kind TEXT NOT NULL CHECK (kind IN ('chat', 'card', 'system')),
  channel_type TEXT,
  platform_id TEXT,
  thread_id TEXT,
  content TEXT NOT NULL
) STRICT""",
    """CREATE TABLE processing_ack (
  message_id TEXT PRIMARY KEY NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('processing', 'completed', 'failed')),
  changed_at TEXT NOT NULL
) STRICT""",
    """CREATE TABLE session_state (
  key TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL,
  changed_at TEXT NOT NULL
) STRICT""",
    """CREATE TABLE container_state (
  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  current_tool TEXT,
  tool_timeout_seconds REAL,
  tool_started_at TEXT,
  changed_at TEXT NOT NULL
) STRICT""",
)
"""Created by the host (empty), written by the container only."""


def apply_session_pragmas(connection: apsw.Connection) -> None:
    """Set what both sides rely on: rollback journal, EXTRA durability, no memory mapping.

    EXTRA, because FULL does not sync the directory after the journal's unlink (sqlite.org/pragma.html, synchronous).
    No mapping, because a file that shrinks under a mapping is a SIGBUS.
    """
    for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def create(connection: apsw.Connection, ddl: tuple[str, ...]) -> None:
    """Create a session database's objects and stamp the contract version, in one transaction."""
    apply_session_pragmas(connection)
    with writing(connection):
        for statement in ddl:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {CONTRACT_VERSION}")
