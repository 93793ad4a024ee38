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

# The grammar of a user's id: the platform, a colon, the platform's own id of the person (never a name: W-59).
_USER_ID_RULE = "instr(id, ':') > 1 AND length(id) > instr(id, ':') AND length(id) <= 512"

PEOPLE: tuple[str, ...] = (
    """ALTER TABLE agent_groups ADD COLUMN cli_scope TEXT NOT NULL DEFAULT 'group'
  CHECK (cli_scope IN ('disabled', 'group', 'global'))""",
    # Set when somebody with the right to it has refused to connect this chat: nobody is asked again.
    "ALTER TABLE messaging_groups ADD COLUMN denied_at TEXT",
    "ALTER TABLE messaging_groups ADD COLUMN denied_by TEXT",
    # An agent-shared session belongs to no chat: that is how it is told from the others (W-22).
    """ALTER TABLE sessions ADD COLUMN mode TEXT NOT NULL DEFAULT 'shared'
  CHECK (mode IN ('shared', 'per-thread', 'agent-shared'))
  CHECK (mode <> 'agent-shared' OR messaging_group_id IS NULL)""",
    """CREATE UNIQUE INDEX sessions_agent_shared ON sessions (agent_group_id)
  WHERE status = 'active' AND mode = 'agent-shared'""",
    f"""CREATE TABLE users (
  id TEXT PRIMARY KEY NOT NULL CHECK ({_USER_ID_RULE}),
  display_name TEXT,
  created_at TEXT NOT NULL
) STRICT""",
    """CREATE TABLE user_roles (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role TEXT NOT NULL CHECK (role IN ('owner', 'admin')),
  agent_group_id TEXT REFERENCES agent_groups (id) ON DELETE CASCADE,
  granted_by TEXT,
  granted_at TEXT NOT NULL,
  CHECK (role = 'admin' OR agent_group_id IS NULL)
) STRICT""",
    # Not a primary key: NULLs are distinct there, and a global grant could be made twice (W-33).
    "CREATE UNIQUE INDEX user_roles_once ON user_roles (user_id, role, ifnull(agent_group_id, ''))",
    "CREATE INDEX user_roles_of_group ON user_roles (agent_group_id, role)",
    """CREATE TABLE agent_group_members (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  added_by TEXT,
  added_at TEXT NOT NULL,
  PRIMARY KEY (user_id, agent_group_id)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX members_of_group ON agent_group_members (agent_group_id)",
    # Nobody is asked about these people again.
    """CREATE TABLE denied_senders (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  denied_by TEXT,
  denied_at TEXT NOT NULL,
  PRIMARY KEY (user_id, agent_group_id)
) STRICT, WITHOUT ROWID""",
    # Which chat reaches a person directly, on each channel (a channel's name, not its platform).
    """CREATE TABLE user_dms (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  channel TEXT NOT NULL,
  messaging_group_id TEXT NOT NULL REFERENCES messaging_groups (id) ON DELETE CASCADE,
  resolved_at TEXT NOT NULL,
  PRIMARY KEY (user_id, channel)
) STRICT, WITHOUT ROWID""",
    # Address book and permission at once: what is not here an agent may not write to, but its session's own chat.
    # wiring_id: the wiring that made the entry takes it along when it goes.
    """CREATE TABLE agent_destinations (
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  local_name TEXT NOT NULL CHECK (length(local_name) BETWEEN 1 AND 64 AND local_name NOT GLOB '*[^a-z0-9-]*'),
  messaging_group_id TEXT REFERENCES messaging_groups (id) ON DELETE CASCADE,
  target_group_id TEXT REFERENCES agent_groups (id) ON DELETE CASCADE,
  wiring_id TEXT REFERENCES messaging_group_agents (id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  PRIMARY KEY (agent_group_id, local_name),
  CHECK ((messaging_group_id IS NULL) <> (target_group_id IS NULL)),
  CHECK (wiring_id IS NULL OR messaging_group_id IS NOT NULL),
  UNIQUE (agent_group_id, messaging_group_id),
  UNIQUE (agent_group_id, target_group_id)
) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX destinations_of_wiring ON agent_destinations (wiring_id) WHERE wiring_id IS NOT NULL",
    "CREATE INDEX destinations_to_chat ON agent_destinations (messaging_group_id)",
    "CREATE INDEX destinations_to_group ON agent_destinations (target_group_id)",
    # What was wired before has its entries as well; a name that people prefer is theirs to give.
    """INSERT INTO agent_destinations (agent_group_id, local_name, messaging_group_id, wiring_id, created_at)
  SELECT agent_group_id, replace(messaging_group_id, 'mg-', 'chat-'), messaging_group_id, id, created_at
  FROM messaging_group_agents""",
    # A thread in which an agent was mentioned: it hears the rest of it (W-3: not inferred from a session).
    """CREATE TABLE sticky_threads (
  wiring_id TEXT NOT NULL REFERENCES messaging_group_agents (id) ON DELETE CASCADE,
  thread_id TEXT NOT NULL,
  since TEXT NOT NULL,
  PRIMARY KEY (wiring_id, thread_id)
) STRICT, WITHOUT ROWID""",
    # action names the handler; it is open, since a package may bring one. subject is what is asked about, so that
    # nobody is asked twice at once. Stage "name": a person has to send a name before it goes on (kept over a restart).
    """CREATE TABLE approvals (
  id TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 12 AND id NOT GLOB '*[^0-9a-z]*'),
  action TEXT NOT NULL CHECK (action <> '' AND action NOT GLOB '*[^a-z-]*'),
  subject TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'rejected', 'expired')),
  stage TEXT NOT NULL DEFAULT 'decision' CHECK (stage IN ('decision', 'name')),
  name_from TEXT,
  agent_group_id TEXT REFERENCES agent_groups (id) ON DELETE CASCADE,
  session_id TEXT REFERENCES sessions (id) ON DELETE SET NULL,
  messaging_group_id TEXT REFERENCES messaging_groups (id) ON DELETE CASCADE,
  user_id TEXT,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  options TEXT NOT NULL,
  payload TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  decided_at TEXT,
  decided_by TEXT,
  decision TEXT,
  CHECK ((stage = 'name') = (name_from IS NOT NULL) OR status <> 'pending'),
  CHECK ((status = 'pending') = (decided_at IS NULL))
) STRICT""",
    "CREATE UNIQUE INDEX approvals_in_flight ON approvals (action, subject) WHERE status = 'pending'",
    "CREATE INDEX approvals_by_expiry ON approvals (expires_at) WHERE status = 'pending'",
    "CREATE INDEX approvals_waiting_for_name ON approvals (name_from) WHERE status = 'pending' AND stage = 'name'",
    # An agent's question to the people of a chat (F-26).
    """CREATE TABLE pending_questions (
  question_id TEXT PRIMARY KEY NOT NULL CHECK (length(question_id) = 12 AND question_id NOT GLOB '*[^0-9a-z]*'),
  session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  message_out_id TEXT NOT NULL,
  channel_type TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  thread_id TEXT,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  options TEXT NOT NULL,
  agent_reference TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  UNIQUE (session_id, message_out_id)
) STRICT""",
    "CREATE INDEX questions_of_chat ON pending_questions (channel_type, platform_id)",
    "CREATE INDEX questions_by_expiry ON pending_questions (expires_at)",
    # The appliance's own messages outside a session: cards, denials, answers to commands, notices of expiry. The same
    # states as replies (sending is recorded before the I/O). person: whom a card was made for.
    """CREATE TABLE host_messages (
  id TEXT PRIMARY KEY NOT NULL,
  channel_type TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  thread_id TEXT,
  content TEXT NOT NULL,
  in_reply_to TEXT,
  approval_id TEXT REFERENCES approvals (id) ON DELETE CASCADE,
  person TEXT,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sending', 'delivered', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  next_attempt_at TEXT,
  platform_message_id TEXT,
  reason TEXT,
  created_at TEXT NOT NULL,
  changed_at TEXT NOT NULL
) STRICT""",
    "CREATE INDEX host_messages_open ON host_messages (next_attempt_at) WHERE status IN ('pending', 'sending')",
    "CREATE INDEX host_messages_of_approval ON host_messages (approval_id) WHERE approval_id IS NOT NULL",
    "CREATE INDEX host_messages_answers ON host_messages (in_reply_to) WHERE in_reply_to IS NOT NULL",
    "CREATE INDEX host_messages_for_person ON host_messages (person) WHERE person IS NOT NULL",
    # Per chat and sender; the most specific reason stays (W-19). Bounded by whoever writes it.
    """CREATE TABLE dropped_messages (
  channel_type TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  sender_name TEXT,
  reason TEXT NOT NULL CHECK (reason IN ('no_agent_wired', 'no_agent_engaged', 'pattern_timeout', 'no_identity',
    'unknown_sender_strict', 'unknown_sender_pending', 'sender_denied', 'sender_scope', 'chat_denied', 'chat_pending',
    'chat_strict')),
  agent_group_id TEXT REFERENCES agent_groups (id) ON DELETE SET NULL,
  message_count INTEGER NOT NULL DEFAULT 1 CHECK (message_count > 0),
  first_seen TEXT NOT NULL,
  last_seen TEXT NOT NULL,
  PRIMARY KEY (channel_type, platform_id, user_id)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX dropped_by_age ON dropped_messages (last_seen)",
)
"""Second migration: who may talk to whom. Empty ``user_id`` of a dropped message: the channel named nobody."""
