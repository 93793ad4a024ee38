"""One timestamp format for every table: ISO-8601, UTC, milliseconds, ``Z``.

Rows may also come from people's tools (``YYYY-MM-DD HH:MM:SS``, offsets, no fraction), therefore a comparison never
compares raw strings: SQL uses :data:`NORMALISED` and Python uses :func:`parse`.
"""

from datetime import UTC, datetime, timedelta

_FORMAT_MESSAGE = "not an ISO-8601 time"


def normalised(column: str) -> str:
    """Return the SQL expression that rewrites a column's time to the one format (NULL stays NULL)."""
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column})"


def to_text(moment: datetime) -> str:
    """Format an aware moment as ``2026-04-16T14:37:00.000Z``.

    Raises:
        ValueError: the moment has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(_FORMAT_MESSAGE + ": it has no zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def now_text(*, plus_seconds: float = 0.0) -> str:
    """Return the present moment, moved by some seconds, in the one format."""
    return to_text(now() + timedelta(seconds=plus_seconds))


def parse(text: str) -> datetime:
    """Parse an ISO-8601 or SQLite time; without a zone it counts as UTC.

    Raises:
        ValueError: the text is not a time.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
