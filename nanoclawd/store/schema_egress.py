"""Migrations ``egress``, ``egress-inside`` and ``egress-grants``: where agents may go."""

EGRESS: tuple[str, ...] = (
    # agent_group_id NULL: all groups. port NULL: 80 and 443.
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

# Rules may speak of methods and paths of https, and bound what they allow. A table's checks change by a new one only.
EGRESS_INSIDE: tuple[str, ...] = (
    """CREATE TABLE egress_rules_next (
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
  rate_count INTEGER CHECK (rate_count BETWEEN 1 AND 1000000),
  rate_seconds INTEGER CHECK (rate_seconds IN (1, 60, 3600)),
  max_sent INTEGER CHECK (max_sent BETWEEN 1 AND 1125899906842624),
  max_received INTEGER CHECK (max_received BETWEEN 1 AND 1125899906842624),
  CHECK ((rate_count IS NULL) = (rate_seconds IS NULL)),
  CHECK (action <> 'deny' OR (rate_count IS NULL AND max_sent IS NULL AND max_received IS NULL)),
  CHECK (private = 0 OR (port IS NOT NULL AND host NOT GLOB '[*]*')),
  CHECK ((methods = '' AND path = '') OR host <> '*' OR ifnull(port, 443) <> 443)
) STRICT""",
    """INSERT INTO egress_rules_next (id, agent_group_id, action, host, port, methods, path, private, expires_at,
  created_by, created_at) SELECT id, agent_group_id, action, host, port, methods, path, private, expires_at,
  created_by, created_at FROM egress_rules""",
    # A number is never given twice.
    "DELETE FROM sqlite_sequence WHERE name = 'egress_rules_next'",
    """INSERT INTO sqlite_sequence (name, seq)
  SELECT 'egress_rules_next', seq FROM sqlite_sequence WHERE name = 'egress_rules'""",
    "DROP TABLE egress_rules",
    "ALTER TABLE egress_rules_next RENAME TO egress_rules",
    """CREATE UNIQUE INDEX egress_rules_subject
  ON egress_rules (ifnull(agent_group_id, ''), host, ifnull(port, 0), methods, path)""",
)

EGRESS_GRANTS: tuple[str, ...] = (
    # What somebody has allowed for a while of what a rule asks about. until: seconds since 1970.
    """CREATE TABLE egress_grants (
  agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  rule INTEGER NOT NULL REFERENCES egress_rules (id) ON DELETE CASCADE,
  host TEXT NOT NULL,
  port INTEGER NOT NULL,
  method TEXT NOT NULL,
  approval_id TEXT NOT NULL,
  until REAL NOT NULL,
  PRIMARY KEY (agent_group_id, rule, host, port, method)
) STRICT""",
    "CREATE INDEX egress_grants_of_rule ON egress_grants (rule)",
)
