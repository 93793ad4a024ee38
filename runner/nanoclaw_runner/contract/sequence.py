"""Sequence numbers: even rows are the host's, odd rows the container's, and later is always greater.

The number is what an agent sees as a message's id, so it is unique over both databases without a shared lock.
"""


def next_host_seq(highest_in: int, highest_out: int = 0) -> int:
    """Return the next even number above everything seen (first is 2)."""
    return _after(max(highest_in, highest_out), parity=0)


def next_container_seq(highest_in: int, highest_out: int) -> int:
    """Return the next odd number above everything seen in both databases (first is 1)."""
    return _after(max(highest_in, highest_out), parity=1)


def _after(highest: int, *, parity: int) -> int:
    candidate = max(highest, 0) + 1
    return candidate if candidate % 2 == parity else candidate + 1
