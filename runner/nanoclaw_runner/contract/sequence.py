"""Sequence numbers: even rows are the host's, odd rows the container's, and each side's own only grow.

The number is what an agent sees as a message's id, so it is unique over both databases without a shared lock. A row of
the container is numbered above everything that it has seen of the host's; the host does not look at the container's
numbers, which are not to be trusted.
"""

from typing import Final

NEXT_HOST_SEQ: Final = "(SELECT coalesce(max(seq), 0) / 2 * 2 + 2 FROM messages_in)"
"""SQL of the next even number above the host's own (first is 2): for the statement that uses it, under its lock."""


def next_container_seq(highest_in: int, highest_out: int) -> int:
    """Return the next odd number above everything seen in both databases (first is 1)."""
    highest = max(highest_in, highest_out, 0)
    return highest + 1 + highest % 2
