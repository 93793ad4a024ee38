"""Which built image tag is in use."""

import apsw

from nanoclaw_runner.contract.clock import now_text


def current_tag(connection: apsw.Connection, name: str) -> str | None:
    """Return the tag of the newest built image of this name, or None where none was built."""
    row = connection.execute("SELECT tag FROM images WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_current(connection: apsw.Connection, name: str, tag: str) -> None:
    """Note that an image was built and is to be used from now on."""
    connection.execute(
        "INSERT INTO images (name, tag, built_at) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET tag = excluded.tag, built_at = excluded.built_at",
        (name, tag, now_text()),
    )
