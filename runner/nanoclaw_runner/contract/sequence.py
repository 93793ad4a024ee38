"""Sequence numbers: even rows are the host's, odd rows the container's, and each side's own only grow.

The number is what an agent sees as a message's id, so it is unique over both databases without a shared lock. A row of
the container is numbered above everything that it has seen of the host's; the host does not look at the container's
numbers, which are not to be trusted.
"""


def next_host_seq(highest_in: int) -> int:
    """Return the next even number above the host's own (first is 2)."""
    return _after(highest_in, parity=0)


def next_container_seq(highest_in: int, highest_out: int) -> int:
    """Return the next odd number above everything seen in both databases (first is 1)."""
    return _after(max(highest_in, highest_out), parity=1)


def _after(highest: int, *, parity: int) -> int:
    candidate = max(highest, 0) + 1
    return candidate if candidate % 2 == parity else candidate + 1
