"""Whether tasks wait for the machine's clock, and for how long."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from nanoclawd.errors import Unavailable
from nanoclawd.supervision.user_manager import UnitState
from nanoclawd.tasks.clock_sync import TARGET, clock_is_right


class System:
    """The system's manager."""

    def __init__(self, active: str = "inactive", *, away: bool = False) -> None:
        self.active = active
        self.away = away
        self.listening = asyncio.Event()
        self.stopped = False

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        self.stopped = True

    def watch(self, unit: str, listener: Callable[[str, UnitState], None]) -> None:
        assert unit == TARGET
        self.listener = listener

    async def state(self, unit: str) -> UnitState:
        if self.away:
            raise Unavailable("there is no bus")
        self.listening.set()
        return UnitState(active=self.active)


def none() -> System:
    raise AssertionError("nobody is to be asked")


async def test_a_machine_with_a_clock_of_its_own_does_not_wait(tmp_path: Path):
    (tmp_path / "rtc0").mkdir()
    await clock_is_right(none, tmp_path, running=lambda: 1.0)


async def test_a_daemon_that_starts_later_does_not_wait(tmp_path: Path):
    await clock_is_right(none, tmp_path / "no-clock", running=lambda: 61.0)


async def test_right_after_the_start_it_waits_until_the_clock_was_set(tmp_path: Path):
    system = System()
    waiting = asyncio.create_task(clock_is_right(lambda: system, tmp_path, running=lambda: 5.0))
    await system.listening.wait()
    await asyncio.sleep(0)
    system.listener(TARGET, UnitState(active="activating"))
    assert not waiting.done()
    system.listener(TARGET, UnitState(active="active"))
    await waiting
    assert system.stopped


@pytest.mark.parametrize("system", [lambda: System("active"), lambda: System(away=True), System])
async def test_it_goes_on_when_it_was_set_or_nobody_knows_or_it_takes_too_long(
    tmp_path: Path, system: Callable[[], System]
):
    made = system()
    await asyncio.wait_for(clock_is_right(lambda: made, tmp_path, running=lambda: 59.9), 5)
    assert made.stopped
