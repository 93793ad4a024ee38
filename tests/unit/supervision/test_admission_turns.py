"""Who may be awake: never more than there are places, in turn by group, and nobody is forgotten."""

import asyncio
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclawd.supervision.admission import Admission, Bounds


def admission(slots: int) -> Admission:
    return Admission(Bounds(max_awake=slots, memory_budget=1000, session_memory=1, min_free_disk=0), Path("/"))


async def settle() -> None:
    """Let every task run as far as it gets."""
    for _ in range(5):
        await asyncio.sleep(0)


async def admitted_in_order(slots: int, wishes: list[tuple[str, str]]) -> list[str]:
    """Let sessions (group, id) ask in this order; each that is admitted leaves at once. Returns who came when."""
    gate = admission(slots)
    order: list[str] = []

    async def one(group: str, session: str) -> None:
        await gate.enter(session, group)
        order.append(session)
        assert gate.awake <= slots
        await asyncio.sleep(0)
        gate.leave(session)

    gate.adopt("holds the only place")
    tasks = [asyncio.create_task(one(group, session)) for group, session in wishes]
    await settle()
    if slots == 1:
        assert [waiting.session_id for waiting in gate.waiting()] == model_of_turns(wishes)
        assert [waiting.place for waiting in gate.waiting()] == list(range(1, len(wishes) + 1))
    gate.leave("holds the only place")
    await asyncio.gather(*tasks)
    assert (gate.awake, gate.anybody_waits) == (0, False)
    return order


def model_of_turns(wishes: list[tuple[str, str]]) -> list[str]:
    """One of each group in turn, groups by their first wish, sessions of a group as they came."""
    queues: dict[str, list[str]] = {}
    for group, session in wishes:
        queues.setdefault(group, []).append(session)
    order = []
    while queues:
        for group in list(queues):
            order.append(queues[group].pop(0))
            if not queues[group]:
                del queues[group]
    return order


@given(groups=st.lists(st.sampled_from("abcd"), max_size=25))
@example(groups=list("aaaaaaaaab"))
def test_in_turn_by_group(groups: list[str]):
    wishes = [(group, f"{group}{number}") for number, group in enumerate(groups)]
    assert asyncio.run(admitted_in_order(1, wishes)) == model_of_turns(wishes)


actions = st.lists(
    st.tuples(st.sampled_from(["enter", "enter", "leave", "cancel", "cancel at admission"]), st.integers(0, 30)),
    max_size=60,
)


@settings(deadline=None)
@given(slots=st.integers(1, 4), script=actions)
@example(slots=1, script=[("enter", 0), ("enter", 1), ("cancel at admission", 0), ("enter", 2)])
def test_places_are_neither_exceeded_nor_lost(slots: int, script: list[tuple[str, int]]):
    """Whatever enters, leaves and gives up, also in the moment of being admitted."""
    asyncio.run(play(slots, script))


async def play(slots: int, script: list[tuple[str, int]]) -> None:
    gate = admission(slots)
    inside: set[str] = set()
    tasks: dict[str, asyncio.Task[None]] = {}
    given_up: set[str] = set()

    async def one(session: str) -> None:
        await gate.enter(session, session[0])
        inside.add(session)
        assert len(inside) <= slots

    for number, (action, choice) in enumerate(script):
        if action == "enter":
            session = f"{'abc'[choice % 3]}{number}"
            tasks[session] = asyncio.create_task(one(session))
            await settle()
        elif action == "leave" and inside:
            session = sorted(inside)[choice % len(inside)]
            inside.discard(session)
            gate.leave(session)
            await settle()
        elif action.startswith("cancel"):
            waiting = [session for session, task in tasks.items() if not task.done()]
            if not waiting:
                continue
            session = waiting[choice % len(waiting)]
            if action == "cancel at admission" and inside:
                # A place becomes free and the wait is given up before the task has run again.
                leaving = min(inside)
                inside.discard(leaving)
                gate.leave(leaving)
            tasks[session].cancel()
            given_up.add(session)
            await settle()
        assert gate.awake == len(inside) <= slots
        queued = {waiting.session_id for waiting in gate.waiting()}
        assert queued == {session for session, task in tasks.items() if not task.done()}
        assert len(inside) == slots or not queued, "a place is free and somebody waits"
    while inside:
        leaving = inside.pop()
        gate.leave(leaving)
        await settle()
    assert all(task.done() for task in tasks.values())
    assert {session for session, task in tasks.items() if task.cancelled()} == given_up
