"""The choice of a prompt's rows (W-7a, W-3b, W-70)."""

from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.selection import Candidate, select

LIMITS = st.integers(min_value=1, max_value=12)
PLACES = (None, Address("loop", "a"), Address("loop", "a", "t1"), Address("other", "a"))


@st.composite
def candidates(draw: st.DrawFn, *, places: int = 1, commands: bool = False, waking: bool = True) -> list[Candidate]:
    numbers = draw(st.lists(st.integers(1, 500), unique=True, max_size=40))
    rows = []
    for number in numbers:
        name = draw(st.sampled_from(("", "", "", "", "", "clear", "context"))) if commands else ""
        rows.append(
            Candidate(
                f"in-{2 * number}",
                2 * number,
                trigger=bool(name) or draw(st.booleans()),
                on_wake=waking and not name and draw(st.integers(0, 9)) == 0,
                place=PLACES[draw(st.integers(0, places - 1))],
                command=name,
            )
        )
    return rows


ANY = candidates(places=4, commands=True)


def oldest(rows: list[Candidate]) -> Candidate | None:
    return min((row for row in rows if row.trigger), key=lambda row: row.seq, default=None)


@given(ANY, LIMITS)
def test_rows_are_chosen_once_and_in_order(rows: list[Candidate], limit: int):
    chosen = select(rows, limit)
    assert list(chosen) == sorted(set(chosen), key=lambda row: row.seq)
    assert set(chosen) <= set(rows)


@given(ANY, LIMITS)
def test_context_alone_chooses_nothing_and_a_trigger_is_never_starved(rows: list[Candidate], limit: int):
    """F-160"""
    asked = any(row.trigger for row in rows)
    assert any(row.trigger for row in select(rows, limit)) == asked
    assert bool(select(rows, limit)) == asked


@given(candidates(), LIMITS)
def test_every_waking_row_is_in_the_first_prompt(rows: list[Candidate], limit: int):
    chosen = select(rows, limit)
    if chosen:
        assert {row for row in rows if row.on_wake} <= set(chosen)


@given(candidates(places=4), LIMITS)
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


@given(candidates(places=4, commands=True, waking=False), LIMITS)
def test_turn_after_turn_every_place_is_answered_in_the_order_of_writing(rows: list[Candidate], limit: int):
    """Nobody starves: each turn begins with the oldest question of all, and a place's questions keep their order."""
    waiting = rows
    answered: list[Candidate] = []
    while chosen := select(waiting, limit):
        assert oldest(waiting) in chosen
        answered += [row for row in chosen if row.trigger]
        waiting = [row for row in waiting if row not in chosen]
    assert {row.seq for row in answered} == {row.seq for row in rows if row.trigger}
    for place in PLACES:
        of_place = [row.seq for row in answered if row.place == place]
        assert of_place == sorted(of_place)


@given(candidates(places=4, waking=False), LIMITS)
def test_one_prompt_has_one_place(rows: list[Candidate], limit: int):
    """F-159: context rides along with a question of its own place only."""
    first = oldest(rows)
    chosen = select(rows, limit)
    assert {row.place for row in chosen} == ({first.place} if first else set())


@given(ANY, LIMITS)
def test_a_command_acts_between_what_was_written_before_and_after_it(rows: list[Candidate], limit: int):
    chosen = select(rows, limit)
    if commands := [row for row in chosen if row.command]:
        assert [row for row in chosen if row.trigger] == commands
        assert len(commands) == 1
        assert not any(row.trigger for row in rows if row.seq < commands[0].seq)
        return
    first = min((row.seq for row in rows if row.command), default=None)
    assert first is None or all(row.seq < first for row in chosen)


def test_clearing_takes_along_what_was_said_before_it_anywhere():
    here, there = PLACES[1], PLACES[3]
    rows = [
        *(Candidate("c1", 2, False, place=here), Candidate("c2", 4, False, place=there)),
        Candidate("clear", 6, True, place=here, command="clear"),
        *(Candidate("c3", 8, False, place=here), Candidate("q", 10, True, place=here)),
    ]
    assert [row.id for row in select(rows, 10)] == ["c1", "c2", "clear"]
    assert [row.id for row in select(rows[3:], 10)] == ["c3", "q"]
    other = [Candidate("c1", 2, False), Candidate("cost", 4, True, command="cost")]
    assert [row.id for row in select(other, 10)] == ["cost"]


def test_a_reply_to_a_call_is_never_chosen():
    rows = [Candidate("reply", 2, False, request="7"), Candidate("q", 4, True)]
    assert [row.id for row in select(rows, 10)] == ["q"]


def test_newer_context_does_not_hide_an_older_question():
    """W-7a: ten context rows that came after the question leave it one of the ten places."""
    rows = [Candidate("question", 2, True), *(Candidate(f"c{n}", 2 * n, False) for n in range(2, 14))]
    assert [row.seq for row in select(rows, 10)] == [2, *range(10, 28, 2)]


def test_context_said_after_the_last_chosen_question_waits_for_the_next_prompt():
    rows = [Candidate("q1", 2, True), Candidate("c1", 4, False), Candidate("q2", 6, True), Candidate("c2", 8, False)]
    assert [row.id for row in select(rows, 1)] == ["q1"]
    assert [row.id for row in select(rows, 3)] == ["q1", "q2", "c2"]
