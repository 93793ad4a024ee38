"""A program: reads thousands of spoilt copies of a valid database. Ends by a signal where a read would have.

usage: mutations.py DATABASE SECONDS
"""

import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nanoclawd.sessions.hostile_vfs import DamagedError, NotNowError
from nanoclawd.sessions.outbound import OutboundReader

LONGEST_READ_SECONDS = 2.0
"""The reader's own bound is half a second of processor time; a shared machine takes longer for it."""

source, seconds = Path(sys.argv[1]), float(sys.argv[2])
valid = source.read_bytes()
spoilt = source.with_name("spoilt.db")
reader = OutboundReader()
ends = time.monotonic() + seconds
outcomes: dict[str, int] = {}

offsets = st.one_of(
    st.integers(0, len(valid) - 1),
    st.integers(0, 120),
    # the beginnings of pages, where the b-tree's own numbers are
    st.builds(lambda page, byte: page * 4096 + byte, st.integers(0, len(valid) // 4096 - 1), st.integers(0, 40)),
)
edits = st.lists(st.tuples(offsets, st.binary(min_size=1, max_size=8)), min_size=1, max_size=3)
page_numbers = st.integers(0, len(valid) // 4096 - 1)
swaps = st.lists(st.tuples(page_numbers, page_numbers), max_size=1)
cuts = st.one_of(st.none(), st.none(), st.none(), st.integers(0, len(valid)))


@settings(
    max_examples=5_000,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(edits, swaps, cuts)
def attack(edits: list[tuple[int, bytes]], swaps: list[tuple[int, int]], cut: int | None) -> None:
    if time.monotonic() > ends:
        return
    data = bytearray(valid)
    for source_page, target_page in swaps:
        data[target_page * 4096 : (target_page + 1) * 4096] = data[source_page * 4096 : (source_page + 1) * 4096]
    for offset, replacement in edits:
        data[offset : offset + len(replacement)] = replacement
    spoilt.write_bytes(data[:cut])
    began = time.monotonic()
    try:
        reader.read(spoilt, after_seq=0, pending_ids=("in-1",))
        outcome = "rows"
    except (DamagedError, NotNowError) as error:
        outcome = type(error).__name__
    assert time.monotonic() - began < LONGEST_READ_SECONDS
    outcomes[outcome] = outcomes.get(outcome, 0) + 1


attack()
print(outcomes)
