"""Migration ``secrets``: which secret goes to which hosts in whose requests. The values are nowhere near."""

SECRETS: tuple[str, ...] = (
    # all_groups 0 with no row in secret_groups: nobody's, because its groups were deleted.
    """CREATE TABLE secrets (
  name TEXT NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 40 AND name NOT GLOB '*[^a-z0-9-]*'
    AND name NOT GLOB '-*' AND name NOT GLOB '*-'),
  all_groups INTEGER NOT NULL CHECK (all_groups IN (0, 1)),
  style TEXT NOT NULL CHECK (style IN ('bearer', 'basic', 'header', 'query', 'cookie', 'placeholder')),
  parameter TEXT NOT NULL DEFAULT '' CHECK (length(parameter) <= 200),
  token_url TEXT CHECK (token_url GLOB 'https://?*' AND length(token_url) <= 1000),
  client_id TEXT NOT NULL DEFAULT '' CHECK (length(client_id) <= 500),
  scope TEXT NOT NULL DEFAULT '' CHECK (length(scope) <= 1000),
  client_secret INTEGER NOT NULL DEFAULT 0 CHECK (client_secret IN (0, 1)),
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  changed_by TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  CHECK (token_url IS NOT NULL OR (client_id = '' AND scope = '' AND client_secret = 0))
) STRICT""",
    """CREATE TABLE secret_places (
  secret TEXT NOT NULL REFERENCES secrets (name) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  scheme TEXT NOT NULL CHECK (scheme IN ('https', 'http')),
  host TEXT NOT NULL CHECK (length(host) BETWEEN 1 AND 255 AND host NOT GLOB '*[^a-z0-9._*:-]*'
    AND host NOT GLOB '?*[*]*' AND (host NOT GLOB '[*]*' OR host GLOB '[*].?*')),
  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
  path TEXT NOT NULL DEFAULT '' CHECK (path = '' OR (length(path) <= 200 AND path GLOB '/*')),
  PRIMARY KEY (secret, position)
) STRICT""",
    """CREATE TABLE secret_groups (
  secret TEXT NOT NULL REFERENCES secrets (name) ON DELETE CASCADE,
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  PRIMARY KEY (secret, agent_group_id)
) STRICT""",
    "CREATE INDEX secret_groups_group ON secret_groups (agent_group_id)",
    # Of the reference's: a person's answers to an agent that asked for a password. Nothing here asks for one in a chat.
    "DROP TABLE IF EXISTS pending_credentials",
)
