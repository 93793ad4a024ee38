"""The tables of ``central.db``. Required means NOT NULL; every closed set has its CHECK; ids never come back."""

GROUP_NAME_GLOB_RULE = "length(folder) BETWEEN 1 AND 31 AND folder NOT GLOB '*[^a-z0-9-]*'"

INITIAL: tuple[str, ...] = (
    # AUTOINCREMENT: the number makes the group's uid in its containers, and a uid is never used twice.
    f"""CREATE TABLE agent_groups (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  folder TEXT NOT NULL UNIQUE CHECK ({GROUP_NAME_GLOB_RULE}),
  name TEXT NOT NULL,
  provider TEXT,
  model TEXT,
  instructions TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL
) STRICT""",
    """CREATE TABLE messaging_groups (
  id TEXT PRIMARY KEY NOT NULL,
  channel_type TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  name TEXT,
  is_group INTEGER NOT NULL DEFAULT 0 CHECK (is_group IN (0, 1)),
  unknown_sender_policy TEXT NOT NULL DEFAULT 'strict'
    CHECK (unknown_sender_policy IN ('strict', 'request_approval', 'public')),
  created_at TEXT NOT NULL,
  UNIQUE (channel_type, platform_id)
) STRICT""",
    """CREATE TABLE messaging_group_agents (
  id TEXT PRIMARY KEY NOT NULL,
  messaging_group_id TEXT NOT NULL REFERENCES messaging_groups (id) ON DELETE CASCADE,
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  session_mode TEXT NOT NULL DEFAULT 'shared' CHECK (session_mode IN ('shared', 'per-thread', 'agent-shared')),
  priority INTEGER NOT NULL DEFAULT 0,
  engage_mode TEXT NOT NULL DEFAULT 'mention' CHECK (engage_mode IN ('pattern', 'mention', 'mention-sticky')),
  engage_pattern TEXT,
  sender_scope TEXT NOT NULL DEFAULT 'all' CHECK (sender_scope IN ('all', 'known')),
  ignored_message_policy TEXT NOT NULL DEFAULT 'drop' CHECK (ignored_message_policy IN ('drop', 'accumulate')),
  created_at TEXT NOT NULL,
  UNIQUE (messaging_group_id, agent_group_id),
  CHECK (engage_mode <> 'pattern' OR engage_pattern IS NOT NULL)
) STRICT""",
    "CREATE INDEX wirings_of_agent ON messaging_group_agents (agent_group_id)",
    # next_due_at: the one timer reads the earliest; outbound_identity: what a restart compares instead of opening.
    """CREATE TABLE sessions (
  id TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 12 AND id NOT GLOB '*[^0-9a-z]*'),
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  messaging_group_id TEXT REFERENCES messaging_groups (id) ON DELETE SET NULL,
  thread_id TEXT,
  status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
  container_status TEXT NOT NULL DEFAULT 'stopped' CHECK (container_status IN ('running', 'idle', 'stopped')),
  quarantine_reason TEXT,
  next_due_at TEXT,
  outbound_identity TEXT,
  last_active TEXT,
  created_at TEXT NOT NULL
) STRICT""",
    "CREATE INDEX sessions_of_agent ON sessions (agent_group_id, status)",
    "CREATE INDEX sessions_of_chat ON sessions (messaging_group_id, thread_id)",
    "CREATE INDEX sessions_awake ON sessions (id) WHERE container_status <> 'stopped'",
    "CREATE INDEX sessions_due ON sessions (next_due_at) WHERE next_due_at IS NOT NULL",
    # One place, one active session: two events that arrive together can't make two.
    """CREATE UNIQUE INDEX sessions_place ON sessions (agent_group_id, messaging_group_id, ifnull(thread_id, ''))
  WHERE status = 'active' AND messaging_group_id IS NOT NULL""",
    """CREATE TABLE images (
  name TEXT PRIMARY KEY NOT NULL,
  tag TEXT NOT NULL,
  built_at TEXT NOT NULL
) STRICT""",
)
