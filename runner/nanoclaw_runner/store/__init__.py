"""The session's two databases as the container uses them: the inbox is read, the outbox is written."""


def whole_number(value: object) -> int:
    """Return a column's integer; SQL's NULL (no row yet) is 0."""
    return value if isinstance(value, int) else 0
