"""The choice of a prompt's rows (W-7a, W-3b, W-70)."""

from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.selection import Candidate, select

LIMITS = st.integers(min_value=1, max_value=12)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    numbers = draw(st.lists(st.integers(1, 500), unique=True, max_size=40))
    return [Candidate(f"in-{2 * n}", 2 * n, draw(st.booleans()), draw(st.integers(0, 9)) == 0) for n in numbers]


@given(candidates(), LIMITS)
def test_rows_are_chosen_once_and_in_order(rows: list[Candidate], limit: int):
    chosen = select(rows, limit)
    assert list(chosen) == sorted(set(chosen), key=lambda row: row.seq)
    assert set(chosen) <= set(rows)


@given(candidates(), LIMITS)
def test_context_alone_chooses_nothing_and_a_trigger_is_never_starved(rows: list[Candidate], limit: int):
    asked = any(row.trigger for row in rows)
    assert any(row.trigger for row in select(rows, limit)) == asked
    assert bool(select(rows, limit)) == asked


@given(candidates(), LIMITS)
def test_every_waking_row_is_in_the_first_prompt(rows: list[Candidate], limit: int):
    chosen = select(rows, limit)
    if chosen:
        assert {row for row in rows if row.on_wake} <= set(chosen)


@given(candidates(), LIMITS)
def test_the_limit_is_kept_but_for_waking_rows_and_one_trigger(rows: list[Candidate], limit: int):
    chosen = select(rows, limit)
    waking = sum(row.on_wake for row in chosen)
    assert len(chosen) <= max(limit, waking + 1)
    if waking == 0:
        assert len(chosen) <= limit


@given(candidates(), LIMITS)
def test_nothing_is_left_out_while_there_is_room(rows: list[Candidate], limit: int):
    if len(rows) <= limit and any(row.trigger for row in rows):
        assert len(select(rows, limit)) == len(rows)


@given(candidates(), LIMITS)
def test_turn_after_turn_every_trigger_is_answered_in_the_order_of_writing(rows: list[Candidate], limit: int):
    waiting = [Candidate(row.id, row.seq, row.trigger) for row in rows]
    answered: list[int] = []
    while chosen := select(waiting, limit):
        answered += [row.seq for row in chosen if row.trigger]
        waiting = [row for row in waiting if row not in chosen]
    assert answered == sorted(row.seq for row in rows if row.trigger)


def test_newer_context_does_not_hide_an_older_question():
    """W-7a: ten context rows that came after the question leave it one of the ten places."""
    rows = [Candidate("question", 2, True), *(Candidate(f"c{n}", 2 * n, False) for n in range(2, 14))]
    assert [row.seq for row in select(rows, 10)] == [2, *range(10, 28, 2)]


def test_context_said_after_the_last_chosen_question_waits_for_the_next_prompt():
    rows = [Candidate("q1", 2, True), Candidate("c1", 4, False), Candidate("q2", 6, True), Candidate("c2", 8, False)]
    assert [row.id for row in select(rows, 1)] == ["q1"]
    assert [row.id for row in select(rows, 3)] == ["q1", "q2", "c2"]
