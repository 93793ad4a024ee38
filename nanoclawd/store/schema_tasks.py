"""Migration ``tasks``: what agents are to do later, and what became of each occurrence."""

TASKS: tuple[str, ...] = (
    # session_id: where it runs as long as that is there; the address is that of whoever scheduled it (F-102) and stays.
    # not_before: no occurrence is earlier; a series may begin later than its pattern would say.
    """CREATE TABLE tasks (
  id TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 12 AND id NOT GLOB '*[^0-9a-z]*'),
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  session_id TEXT REFERENCES sessions (id) ON DELETE SET NULL,
  channel_type TEXT,
  platform_id TEXT,
  thread_id TEXT,
  created_by TEXT NOT NULL,
  prompt TEXT NOT NULL CHECK (prompt <> ''),
  script TEXT,
  cron TEXT,
  zone TEXT NOT NULL,
  not_before TEXT NOT NULL,
  next_run_at TEXT,
  status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'done', 'cancelled')),
  missed TEXT NOT NULL DEFAULT 'latest' CHECK (missed IN ('latest', 'all', 'skip')),
  key TEXT,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  CHECK ((channel_type IS NULL) = (platform_id IS NULL)),
  CHECK ((status IN ('active', 'paused')) = (next_run_at IS NOT NULL))
) STRICT""",
    "CREATE INDEX tasks_due ON tasks (next_run_at) WHERE status = 'active'",
    "CREATE INDEX tasks_of_group ON tasks (agent_group_id, status, next_run_at)",
    "CREATE INDEX tasks_of_session ON tasks (session_id) WHERE session_id IS NOT NULL",
    # What was asked for twice under one key is one task.
    "CREATE UNIQUE INDEX tasks_by_key ON tasks (agent_group_id, key) WHERE key IS NOT NULL",
    # The occurrence is the idempotency key: it runs once. passed_over: how many before it the policy has left out.
    """CREATE TABLE task_runs (
  task_id TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  occurrence TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'dispatched', 'completed', 'failed', 'skipped', 'missed')),
  late INTEGER NOT NULL DEFAULT 0 CHECK (late IN (0, 1)),
  passed_over INTEGER NOT NULL DEFAULT 0 CHECK (passed_over >= 0),
  session_id TEXT,
  reason TEXT,
  created_at TEXT NOT NULL,
  dispatched_at TEXT,
  ended_at TEXT,
  PRIMARY KEY (task_id, occurrence)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX task_runs_open ON task_runs (created_at) WHERE status IN ('pending', 'dispatched')",
)
