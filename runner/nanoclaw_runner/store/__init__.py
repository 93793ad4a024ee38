"""The session's two databases as the container uses them: the inbox is read, the outbox is written."""

from nanoclaw_runner.contract.rows import Address


def whole_number(value: object) -> int:
    """Return a column's integer; SQL's NULL (no row yet) is 0."""
    return value if isinstance(value, int) else 0


def address_of(channel_type: object, platform_id: object, thread_id: object) -> Address | None:
    """Return the address of three columns, None where they hold none."""
    if not isinstance(channel_type, str) or not isinstance(platform_id, str):
        return None
    return Address(channel_type, platform_id, thread_id if isinstance(thread_id, str) else None)
