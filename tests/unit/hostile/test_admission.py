"""Who may be awake, and in which order who waits is let in."""

import asyncio
from pathlib import Path

from nanoclawd.supervision.admission import Admission, Bounds

MIB = 1024 * 1024


def admission(root: Path, **changed: int) -> Admission:
    values = {"max_awake": 2, "memory_budget": 1024 * MIB, "session_memory": 100 * MIB, "min_free_disk": 0} | changed
    return Admission(Bounds(**values), root)


async def enter(gate: Admission, *sessions: tuple[str, str]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(gate.enter(session, group)) for session, group in sessions]
    await asyncio.sleep(0)
    return tasks


async def test_as_many_as_there_are_places(tmp_path: Path) -> None:
    gate = admission(tmp_path)
    first, second, third = await enter(gate, ("a", "g"), ("b", "g"), ("c", "g"))
    assert (first.done(), second.done(), third.done()) == (True, True, False)
    assert [(waiting.session_id, waiting.place) for waiting in gate.waiting()] == [("c", 1)]
    gate.leave("a")
    await third
    assert not gate.anybody_waits


async def test_memory_bounds_too_and_one_place_is_always_there(tmp_path: Path) -> None:
    assert admission(tmp_path, memory_budget=150 * MIB).slots == 1
    assert admission(tmp_path, memory_budget=1 * MIB).slots == 1
    assert admission(tmp_path, max_awake=8, memory_budget=300 * MIB).slots == 3


async def test_a_greedy_group_does_not_keep_another_waiting(tmp_path: Path) -> None:
    gate = admission(tmp_path, max_awake=1)
    await enter(gate, ("running", "greedy"))
    greedy = await enter(gate, *((f"greedy-{number}", "greedy") for number in range(40)))
    (modest,) = await enter(gate, ("modest", "modest"))
    assert gate.waiting()[1].session_id == "modest"
    gate.leave("running")
    await asyncio.sleep(0)
    gate.leave("greedy-0")
    await modest
    assert sum(task.done() for task in greedy) == 1
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)
    assert not gate.anybody_waits


async def test_the_list_is_the_order_of_admission(tmp_path: Path) -> None:
    gate = admission(tmp_path, max_awake=1)
    await enter(gate, ("running", "x"))
    names = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("c1", "c"), ("b2", "b")]
    tasks = dict(zip((name for name, _ in names), await enter(gate, *names), strict=True))
    announced = [waiting.session_id for waiting in gate.waiting()]
    admitted, last = [], "running"
    for _ in names:
        gate.leave(last)
        await asyncio.sleep(0)
        (last,) = [name for name, task in tasks.items() if task.done() and name not in admitted]
        admitted.append(last)
    assert admitted == announced


async def test_whoever_gives_up_waiting_gives_up_its_place(tmp_path: Path) -> None:
    gate = admission(tmp_path, max_awake=1)
    await enter(gate, ("running", "x"))
    gone, stays = await enter(gate, ("gone", "a"), ("stays", "b"))
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert [waiting.session_id for waiting in gate.waiting()] == ["stays"]
    gate.leave("running")
    await stays
    # Admitted and cancelled in the same moment: the place is not lost.
    (admitted,) = await enter(gate, ("late", "a"))
    (next_one,) = await enter(gate, ("next", "b"))
    gate.leave("stays")
    admitted.cancel()
    await asyncio.gather(admitted, return_exceptions=True)
    await asyncio.wait_for(next_one, 1)
    assert gate.awake == 1


async def test_room_is_asked_for_and_a_change_is_told(tmp_path: Path) -> None:
    gate = admission(tmp_path, max_awake=1)
    told: list[str] = []
    gate.make_room = lambda: told.append("room")
    gate.queue_changed = lambda: told.append("changed")
    await enter(gate, ("a", "g"))
    assert told == []
    await enter(gate, ("b", "g"))
    assert sorted(told) == ["changed", "room"]


async def test_who_was_awake_before_counts_and_enters_without_waiting(tmp_path: Path) -> None:
    gate = admission(tmp_path, max_awake=1)
    gate.adopt("a")
    await gate.enter("a", "g")
    assert gate.awake == 1


def test_a_low_disk_is_noticed(tmp_path: Path) -> None:
    assert not admission(tmp_path).disk_is_low()
    assert admission(tmp_path, min_free_disk=2**62).disk_is_low()
