"""The tables of outcomes, every cell, through a real database and the whole pipeline.

F-123, F-124: a thread is a session of its own in a group, but not for an agent-shared wiring. F-147…151, F-153, F-154,
F-156…158, F-161: as the columns say.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclaw_runner.contract.transaction import writing
from nanoclawd.routing.decision import Action, Outcome, WiringDecision
from nanoclawd.store import members, roles, sticky
from unit.routing import outcome_table
from unit.routing.outcome_table import is_rule, outcomes, strangers
from unit.routing.world import World, event, open_world, person

OUTCOMES = outcomes()
STRANGERS = strangers()
THREAD = "t1"


@pytest.fixture(scope="module")
def big_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    opened = open_world(tmp_path_factory.mktemp("world"))
    yield opened
    opened.connection.close()


def outcome_of(decided: WiringDecision) -> str:
    """A decision in the table's words."""
    if decided.action not in {Action.ENGAGE, Action.ACCUMULATE}:
        return "-"
    where = "chat" if decided.thread_id is None else "thread"
    if decided.session_mode == "agent-shared":
        where = "agent"
    return where if decided.action is Action.ENGAGE else f"({where})"


def test_every_cell(big_world: World):
    """The outcome, the session that it is for, and the rule that decided."""
    wrong = []
    groups = defaultdict(list)
    for row in OUTCOMES:
        groups[row.engage_mode, row.engage_pattern, row.scope, row.policy, row.session_mode].append(row)
    for number, (columns, rows) in enumerate(groups.items()):
        mode, pattern, scope, policy, session_mode = columns
        with writing(big_world.connection):
            group = big_world.group(f"agent-{number}")
            places = {is_group: big_world.chat(is_group=is_group) for is_group in (False, True)}
            wirings = {
                is_group: big_world.wired(
                    chat,
                    group,
                    engage_mode=mode,
                    engage_pattern=pattern,
                    sender_scope=scope,
                    ignored_message_policy=policy,
                    session_mode=session_mode,
                )
                for is_group, chat in places.items()
            }
            sticky.make_sticky(big_world.connection, wirings[True].id, "stuck")
        for row in rows:
            thread = ("stuck" if row.is_sticky else THREAD) if row.in_thread else None
            said = event(places[row.is_group], row.text, row.sender, mention=row.mention, thread=thread)
            (decided,) = big_world.decide(said).wirings
            found = (outcome_of(decided), is_rule(row.rule, decided.deciding.rule))
            if found != (row.expected, True):
                wrong.append((row, found[0], decided.deciding))
            if row.session == "thread":
                assert decided.thread_id == thread
            assert all(step.reason for step in decided.steps)
            assert bool(decided.reason) is not row.stores
    assert not wrong, f"{len(wrong)} of {len(OUTCOMES)}: {wrong[:5]}"


def test_every_stranger(world: World):
    """Three policies of a chat, nine kinds of people; F-161: a refused sender leaves nothing, also as context."""
    elsewhere = world.group("elsewhere")
    roles.grant(world.connection, person("elsewhere-admin"), "admin", elsewhere.id)
    members.add(world.connection, person("elsewhere-member"), elsewhere.id)
    here = world.group("here")
    members.deny(world.connection, person("denied"), here.id)
    rooms = {}
    for policy, scope in itertools.product(("strict", "request_approval", "public"), ("all", "known")):
        rooms[policy, scope] = world.chat(policy=policy)
        world.wired(
            rooms[policy, scope], here, engage_mode="mention", sender_scope=scope, ignored_message_policy="accumulate"
        )
    for row in STRANGERS:
        sender = None if row.sender == "nobody" else row.sender
        (spoken_to,) = world.decide(event(rooms[row.policy, row.scope], sender=sender, mention=True)).wirings
        assert spoken_to.action == row.mentioned, row
        assert spoken_to.reason == row.reason, row
        assert is_rule(row.rule, spoken_to.deciding.rule), (row, spoken_to.deciding)
        (overheard,) = world.decide(event(rooms[row.policy, row.scope], sender=sender)).wirings
        assert overheard.action is {"keep": Action.ACCUMULATE, "drop": Action.DROP}[row.unmentioned], row
        assert is_rule(row.unmentioned_rule, overheard.deciding.rule), (row, overheard.deciding)
        assert overheard.reason == ("" if row.unmentioned == "keep" else "no_agent_engaged")


def test_the_large_table_is_complete():
    """Every combination, once."""
    engage = ("pattern", "other-text", "mention", "mention-sticky")
    people = ("owner", "global-admin", "group-admin", "member", "stranger")
    expected = Counter(
        itertools.product(
            engage,
            ("dm", "group", "thread"),
            (True, False),
            people,
            ("all", "known"),
            outcome_table.POLICIES,
            outcome_table.SESSION_MODES,
        )
    )
    found = Counter(
        (row.engage, row.place, row.mention, row.sender, row.scope, row.policy, row.session_mode)
        for row in OUTCOMES
        if not row.is_sticky
    )
    assert found == expected
    stuck = [row for row in OUTCOMES if row.is_sticky]
    assert len(stuck) == 2 * len(people) * 2 * 2 * 3
    assert {row.place for row in stuck} == {"thread"}


def test_the_smaller_table_is_complete():
    people = {row.sender for row in STRANGERS}
    assert len(people) == 9
    combinations = [(row.policy, row.sender, row.scope) for row in STRANGERS]
    assert sorted(combinations) == sorted(
        itertools.product(("strict", "request_approval", "public"), people, ("all", "known"))
    )


def test_outcomes_of_steps_are_words():
    """They are told over the control socket."""
    assert {str(outcome) for outcome in Outcome} == {"pass", "stop", "note"}


def test_the_tables_can_be_read_from_elsewhere():
    """The system test samples them."""
    assert (Path(outcome_table.__file__).parent / "outcomes.txt").exists()
    row = OUTCOMES[0]
    assert (row.engage, row.place, row.session, row.wakes) == ("pattern", "dm", "chat", True)
