"""Jobs on session databases: one per session at a time, with a deadline, never on the loop."""

import asyncio
import threading
import time

import pytest

from nanoclawd.errors import Unavailable
from nanoclawd.sessions.jobs import SessionJobs


async def test_one_job_per_session_at_a_time_and_others_beside_it() -> None:
    jobs = SessionJobs(threads=4)
    held = threading.Event()
    order: list[str] = []

    def first() -> None:
        held.wait(10)
        order.append("first")

    began = asyncio.create_task(jobs.run("a", first))
    second = asyncio.create_task(jobs.run("a", order.append, "second"))
    await jobs.run("b", order.append, "other session")
    assert order == ["other session"]
    held.set()
    await asyncio.gather(began, second)
    assert order == ["other session", "first", "second"]
    jobs.close()


async def test_a_job_past_its_deadline_fails_and_its_session_waits_for_the_thread() -> None:
    jobs = SessionJobs(threads=2)
    held = threading.Event()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="did not answer in"):
        await jobs.run("a", held.wait, 10, deadline=0.1)
    assert time.monotonic() - began < 2
    later = asyncio.create_task(jobs.run("a", time.monotonic))
    await jobs.run("b", time.monotonic)
    assert not later.done()
    held.set()
    await later
    jobs.close()


async def test_a_timeout_of_the_job_itself_is_its_own() -> None:
    jobs = SessionJobs(threads=1)

    def fails() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await jobs.run("a", fails)
    jobs.close()


async def test_a_waiting_job_that_is_cancelled_leaves_the_turn_free() -> None:
    jobs = SessionJobs(threads=2)
    held = threading.Event()
    first = asyncio.create_task(jobs.run("a", held.wait, 10))
    await asyncio.sleep(0)
    second = asyncio.create_task(jobs.run("a", time.monotonic))
    await asyncio.sleep(0)
    second.cancel()
    held.set()
    await first
    await asyncio.wait_for(jobs.run("a", time.monotonic), 5)
    jobs.close()
