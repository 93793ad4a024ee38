"""Migration ``egress``: where agents may go."""

EGRESS: tuple[str, ...] = (
    # agent_group_id NULL: all groups. port NULL: 80 and 443. 'ask' is for rules of a later version.
    """CREATE TABLE egress_rules (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent_group_id TEXT REFERENCES agent_groups (id) ON DELETE CASCADE,
  action TEXT NOT NULL CHECK (action IN ('allow', 'deny', 'ask')),
  host TEXT NOT NULL CHECK (length(host) BETWEEN 1 AND 255 AND host NOT GLOB '*[^a-z0-9._*:-]*'
    AND host NOT GLOB '?*[*]*' AND (host NOT GLOB '[*]?*' OR host GLOB '[*].?*')),
  port INTEGER CHECK (port BETWEEN 1 AND 65535),
  methods TEXT NOT NULL DEFAULT '' CHECK (length(methods) <= 400 AND methods NOT GLOB '*[^A-Z,-]*'),
  path TEXT NOT NULL DEFAULT '' CHECK (path = '' OR (length(path) <= 1000 AND path GLOB '/*')),
  private INTEGER NOT NULL DEFAULT 0 CHECK (private IN (0, 1)),
  expires_at TEXT,
  created_by TEXT NOT NULL,
  created_at TEXT NOT NULL,
  CHECK (private = 0 OR (port IS NOT NULL AND host NOT GLOB '[*]*')),
  CHECK ((methods = '' AND path = '') OR ifnull(port, 443) <> 443)
) STRICT""",
    # Of two rules that say the same of the same thing the later one holds.
    """CREATE UNIQUE INDEX egress_rules_subject
  ON egress_rules (ifnull(agent_group_id, ''), host, ifnull(port, 0), methods, path)""",
)
