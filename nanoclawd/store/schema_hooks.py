"""Migration ``hooks``: where other programs may reach an agent."""

HOOKS: tuple[str, ...] = (
    # secret_hash: all that is needed to know a bearer's token again. A signature is checked with the secret itself, and
    # that is a file beside this database, never in it. counts and last_at: for people to look at.
    """CREATE TABLE hooks (
  id TEXT PRIMARY KEY NOT NULL,
  name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 63 AND name NOT GLOB '*[^a-z0-9-]*'),
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  messaging_group_id TEXT NOT NULL REFERENCES messaging_groups (id) ON DELETE CASCADE,
  auth TEXT NOT NULL CHECK (auth IN ('bearer', 'hmac-sha256')),
  header TEXT NOT NULL CHECK (header <> ''),
  secret_hash TEXT CHECK (length(secret_hash) = 64),
  per_minute INTEGER NOT NULL CHECK (per_minute BETWEEN 1 AND 6000),
  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
  accepted INTEGER NOT NULL DEFAULT 0,
  last_at TEXT,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  CHECK ((auth = 'bearer') = (secret_hash IS NOT NULL))
) STRICT""",
    "CREATE INDEX hooks_of_agent ON hooks (agent_group_id)",
    "CREATE INDEX hooks_of_chat ON hooks (messaging_group_id)",
)
