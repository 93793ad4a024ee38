"""Migration ``peers``: what agents say to each other, counted by the host, and which agents were made by others."""

PEERS: tuple[str, ...] = (
    # id is that of the row in the other session: made of the sender's row, so what is told twice is one message.
    # hops: how many messages of agents since the last one of a person or task, this one included; chain: the first of
    # them. The address is where that person or task spoke.
    """CREATE TABLE peer_messages (
  id TEXT PRIMARY KEY NOT NULL,
  source_session_id TEXT NOT NULL,
  target_session_id TEXT NOT NULL,
  target_group_id TEXT NOT NULL,
  chain TEXT NOT NULL,
  hops INTEGER NOT NULL CHECK (hops > 0),
  channel_type TEXT,
  platform_id TEXT,
  thread_id TEXT,
  created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX peer_messages_of_pair ON peer_messages (source_session_id, target_session_id, created_at)",
    "CREATE INDEX peer_messages_by_age ON peer_messages (created_at)",
    # Who asked for an agent under which key: asked once more, it is the same agent.
    """CREATE TABLE made_agents (
  creator_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  made_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  PRIMARY KEY (creator_id, key)
) STRICT, WITHOUT ROWID""",
)
