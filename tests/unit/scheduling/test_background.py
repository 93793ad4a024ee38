"""Work that nobody awaits is kept, its faults are told and followed up, and closing leaves none behind."""

import asyncio
import logging

import pytest

from nanoclawd.scheduling.background import Background

log = logging.getLogger(__name__)


async def test_rest_waits_for_what_work_has_begun_in_turn():
    done: list[str] = []
    background = Background(log, "this")

    async def first() -> None:
        background.spawn(second())

    async def second() -> None:
        await asyncio.sleep(0)
        done.append("second")

    background.spawn(first())
    await background.rest()
    assert done == ["second"]


async def test_a_fault_is_told_and_looked_after_again(caplog: pytest.LogCaptureFixture):
    again = asyncio.Event()
    background = Background(log, "looking after this", again.set, 0)

    async def fail() -> None:
        raise OSError("the disk is full")

    background.spawn(fail())
    async with asyncio.timeout(5):
        await again.wait()
    assert "looking after this failed" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize(("patience", "ended"), [(5, True), (0, False)])
async def test_closing_gives_a_moment(patience: float, *, ended: bool, caplog: pytest.LogCaptureFixture):
    background, go_on, seen = Background(log, "this"), asyncio.Event(), []

    async def work() -> None:
        await go_on.wait()
        seen.append(True)

    background.spawn(work())
    await asyncio.sleep(0)
    if patience:
        asyncio.get_running_loop().call_soon(go_on.set)
    await background.close(patience)
    assert bool(seen) is ended
    await background.rest()
    assert not caplog.records
