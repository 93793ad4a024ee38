"""Migration ``added-channels``: channels that were added by command, beside those of the configuration file."""

ADDED_CHANNELS: tuple[str, ...] = (
    # options is an object. No secret stands here: those are systemd's.
    """CREATE TABLE added_channels (
  name TEXT PRIMARY KEY NOT NULL,
  type TEXT NOT NULL,
  options TEXT NOT NULL CHECK (json_type(options) = 'object'),
  enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
)
