"""The one timer: real timerfds, short moments, and a clock that the kernel says was set."""

import asyncio
import ctypes
import errno
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from nanoclawd.scheduling.timer import WallTimer


@dataclass
class Rings:
    due: asyncio.Event = field(default_factory=asyncio.Event)
    jumped: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0

    def on_due(self) -> None:
        self.count += 1
        self.due.set()


@pytest.fixture
async def rings() -> Rings:
    return Rings()


@pytest.fixture
async def timer(rings: Rings) -> AsyncIterator[WallTimer]:
    made = WallTimer(rings.on_due, rings.jumped.set)
    yield made
    made.close()


async def test_it_rings_at_its_moment_and_once(timer: WallTimer, rings: Rings):
    moment = time.time() + 0.05
    timer.arm(moment)
    async with asyncio.timeout(10):
        await rings.due.wait()
    assert time.time() >= moment
    assert rings.count == 1
    assert left(timer) > 10**6


async def test_a_moment_that_has_passed(timer: WallTimer, rings: Rings):
    for moment in (time.time() - 3600, 0.0, -5.0):
        rings.due.clear()
        timer.arm(moment)
        async with asyncio.timeout(10):
            await rings.due.wait()
    assert rings.count == 3


async def test_the_last_arming_counts(timer: WallTimer, rings: Rings):
    timer.arm(time.time() + 0.01)
    timer.arm(time.time() + 3600)
    assert 3590 < left(timer) <= 3600
    timer.arm(None)
    assert left(timer) > 10**6
    timer.arm(time.time() + 0.01)
    async with asyncio.timeout(10):
        await rings.due.wait()
    assert rings.count == 1


def left(timer: WallTimer) -> float:
    return os.timerfd_gettime(timer._descriptor)[0]


class Timex(ctypes.Structure):
    """<sys/timex.h>, on 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("unused", ctypes.c_long * 8),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
        ("rest", ctypes.c_long * 20),
    )


def step_clock(nanoseconds: int) -> bool:
    """Set the system's clock forward or back by so little that nobody but a timer notices."""
    adj_setoffset, adj_nano = 0x0100, 0x2000
    seconds, rest = divmod(nanoseconds, 10**9)
    step = Timex(modes=adj_setoffset | adj_nano, seconds=seconds, nanoseconds=rest)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.clock_adjtime(time.CLOCK_REALTIME, ctypes.byref(step)) >= 0:
        return True
    assert ctypes.get_errno() == errno.EPERM
    return False


async def test_a_clock_that_was_set_is_noticed(timer: WallTimer, rings: Rings):
    """And the moment stays armed; also while nothing is due."""
    for step, moment in ((1, None), (-1, time.time() + 3600)):
        timer.arm(moment)
        if not step_clock(step):
            pytest.skip("not checked here: this machine lets nobody set its clock")
        async with asyncio.timeout(10):
            await rings.jumped.wait()
        rings.jumped.clear()
        assert left(timer) > 3000
    assert rings.count == 0


async def test_a_clock_that_was_set_just_before_arming_is_noticed(timer: WallTimer, rings: Rings):
    """timerfd_settime(2) itself reports it; the new moment holds all the same."""
    if not (step_clock(1) and step_clock(-2) and step_clock(1)):
        pytest.skip("not checked here: this machine lets nobody set its clock")
    timer.arm(time.time() + 0.05)
    async with asyncio.timeout(10):
        await rings.jumped.wait()
        await rings.due.wait()
    assert rings.count == 1


async def test_a_clock_that_is_set_after_it_rang_is_noticed(timer: WallTimer, rings: Rings):
    """Whoever was rung may take a while until the next arming."""
    timer.arm(1.0)
    async with asyncio.timeout(10):
        await rings.due.wait()
    if not step_clock(1):
        pytest.skip("not checked here: this machine lets nobody set its clock")
    async with asyncio.timeout(10):
        await rings.jumped.wait()
    assert step_clock(-1)
