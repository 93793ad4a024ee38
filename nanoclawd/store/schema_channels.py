"""Migration ``moved-chats``: chats that their platform has replaced by others."""

MOVED_CHATS: tuple[str, ...] = (
    # What is still addressed to the old id goes to the new one.
    """CREATE TABLE moved_chats (
  channel_type TEXT NOT NULL,
  platform_id TEXT NOT NULL,
  new_platform_id TEXT NOT NULL,
  moved_at TEXT NOT NULL,
  PRIMARY KEY (channel_type, platform_id),
  CHECK (platform_id <> new_platform_id)
) STRICT, WITHOUT ROWID""",
    # A platform counts its messages from one again after a move: ids of rows are told apart by this number.
    "ALTER TABLE messaging_groups ADD COLUMN moves INTEGER NOT NULL DEFAULT 0 CHECK (moves >= 0)",
)
