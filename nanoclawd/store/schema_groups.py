"""The tables of what an agent group is given: packages, MCP servers, skills, directories, an image of its own."""

from typing import Final

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")

_EFFORTS = ", ".join(f"'{effort}'" for effort in EFFORTS)
_OF_GROUP = "agent_group_id TEXT NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE"
_WORD = "length(name) BETWEEN 1 AND 31 AND name GLOB '[a-z0-9]*' AND name NOT GLOB '*[^a-z0-9_-]*'"

# As in package_names: what ends in a Containerfile is checked by everybody who could put it there.
_PACKAGE = """length(name) BETWEEN 1 AND 100 AND (
    (manager = 'apt' AND name GLOB '[a-z0-9]*' AND name NOT GLOB '*[^a-z0-9.+-]*' AND name NOT GLOB '*-')
    OR (manager = 'npm' AND name GLOB '[@a-z0-9]*' AND name NOT GLOB '*[^@/a-z0-9._-]*' AND name NOT GLOB '?*@*'
      AND name NOT GLOB '*/*/*')
    OR (manager = 'pip' AND name GLOB '[A-Za-z0-9]*' AND name NOT GLOB '*[^A-Za-z0-9._-]*'
      AND name GLOB '*[A-Za-z0-9]'))"""

GROUP_CONFIGURATION: tuple[str, ...] = (
    # A group without a row has the defaults. skills: NULL means all that there are.
    f"""CREATE TABLE group_settings (
  agent_group_id TEXT PRIMARY KEY NOT NULL REFERENCES agent_groups (id) ON DELETE CASCADE,
  effort TEXT CHECK (effort IS NULL OR effort IN ({_EFFORTS})),
  max_messages INTEGER CHECK (max_messages IS NULL OR max_messages BETWEEN 1 AND 100),
  skills TEXT CHECK (skills IS NULL OR json_valid(skills)),
  image_stage TEXT,
  image_tag TEXT CHECK (image_tag IS NULL OR (length(image_tag) = 12 AND image_tag NOT GLOB '*[^0-9a-f]*')),
  CHECK ((image_stage IS NULL) = (image_tag IS NULL))
) STRICT""",
    f"""CREATE TABLE group_packages (
  {_OF_GROUP},
  manager TEXT NOT NULL CHECK (manager IN ('apt', 'npm', 'pip')),
  name TEXT NOT NULL CHECK ({_PACKAGE}),
  position INTEGER NOT NULL,
  PRIMARY KEY (agent_group_id, manager, name)
) STRICT""",
    f"""CREATE TABLE group_mcp_servers (
  {_OF_GROUP},
  name TEXT NOT NULL CHECK ({_WORD}),
  command TEXT NOT NULL DEFAULT '',
  args TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(args)),
  env TEXT NOT NULL DEFAULT '{{}}' CHECK (json_valid(env)),
  url TEXT NOT NULL DEFAULT '',
  instructions TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (agent_group_id, name),
  CHECK ((command = '') <> (url = ''))
) STRICT""",
    # path: as it was resolved when it was added; what it is now is looked at whenever a unit file is written.
    f"""CREATE TABLE group_mounts (
  {_OF_GROUP},
  name TEXT NOT NULL CHECK ({_WORD}),
  path TEXT NOT NULL CHECK (path GLOB '/*' AND path NOT GLOB '*[^A-Za-z0-9._@+/-]*'),
  writable INTEGER NOT NULL DEFAULT 0 CHECK (writable IN (0, 1)),
  PRIMARY KEY (agent_group_id, name)
) STRICT""",
)
