"""Migration ``usage``: what turns took, what groups may take, and what troubles their agents."""

USAGE: tuple[str, ...] = (
    # What was used stays written down when its agent or session is deleted: somebody pays for it. id is made of the
    # session and the row that told it. day is the owner's.
    """CREATE TABLE usage_turns (
  id TEXT PRIMARY KEY NOT NULL,
  agent_group_id TEXT NOT NULL,
  group_name TEXT NOT NULL,
  session_id TEXT NOT NULL,
  day TEXT NOT NULL,
  model TEXT NOT NULL,
  input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
  output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
  cache_read_tokens INTEGER NOT NULL CHECK (cache_read_tokens >= 0),
  cache_write_tokens INTEGER NOT NULL CHECK (cache_write_tokens >= 0),
  cost_micros INTEGER CHECK (cost_micros >= 0),
  tool_calls INTEGER NOT NULL CHECK (tool_calls >= 0),
  seconds REAL NOT NULL CHECK (seconds >= 0),
  turns INTEGER NOT NULL DEFAULT 1 CHECK (turns > 0)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX usage_by_day ON usage_turns (day, agent_group_id)",
    "CREATE INDEX usage_of_session ON usage_turns (session_id, day)",
    # NULL: what the configuration file says; 0: no bound.
    """CREATE TABLE group_limits (
  agent_group_id TEXT PRIMARY KEY NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  daily_tokens INTEGER CHECK (daily_tokens >= 0),
  daily_cost_micros INTEGER CHECK (daily_cost_micros >= 0)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE troubles (
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  message TEXT NOT NULL,
  count INTEGER NOT NULL DEFAULT 1 CHECK (count > 0),
  first_at TEXT NOT NULL,
  last_at TEXT NOT NULL,
  PRIMARY KEY (agent_group_id, kind, subject)
) STRICT, WITHOUT ROWID""",
    # An endpoint that refuses its credential: people are told once, until it has worked again.
    """CREATE TABLE refused_credentials (
  endpoint TEXT PRIMARY KEY NOT NULL,
  since TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
)
