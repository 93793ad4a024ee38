"""A machine whose clock stops with it (a Pi without a battery) wakes up in the past: tasks wait until it knows better.

systemd.special(7): ``time-sync.target`` is reached once the clock was set from outside. Only the tasks wait for it, and
until a minute after the machine's start at most: one without a network has to work as well.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from nanoclawd.errors import NanoclawError
from nanoclawd.supervision.user_manager import UnitState

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS: Final = 60.0
"""Since the machine has started: a daemon that is started later has nothing to wait for."""

TARGET: Final = "time-sync.target"
SYSTEM_BUS: Final = "unix:path=/run/dbus/system_bus_socket"
_CLOCKS: Final = Path("/sys/class/rtc")


class Manager(Protocol):
    """What is needed of :class:`~nanoclawd.supervision.user_manager.UserManager`, on the system's bus."""

    async def start(self) -> None:
        """Begin to keep a connection."""

    async def stop(self) -> None:
        """Let it go."""

    def watch(self, unit: str, listener: Callable[[str, UnitState], None]) -> None:
        """Tell of every later change of a unit."""

    async def state(self, unit: str) -> UnitState:
        """Read a unit's state now."""


async def clock_is_right(
    manager: Callable[[], Manager],
    clocks: Path = _CLOCKS,
    running: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    longest: float = LONGEST_WAIT_SECONDS,
) -> None:
    """Return when the clock can be trusted, or was waited for long enough.

    Args:
        manager: makes a client of the system's manager, on a machine that has no clock of its own only.
        clocks: where the kernel shows the machine's own clocks.
        running: for how many seconds the machine has been running.
        longest: how long after its start to wait, in seconds.
    """
    left = longest - running()
    if left <= 0 or await asyncio.to_thread(_has_clock, clocks):
        return
    system = manager()
    await system.start()
    try:
        async with asyncio.timeout(left):
            await _reached(system)
    except TimeoutError:
        log.warning("the clock was not set from outside within %.0f s of the start; tasks run by what it says", longest)
    except NanoclawError as error:
        log.warning("whether the clock was set can't be learned (%s); tasks run by what it says", error)
    finally:
        await system.stop()


def _has_clock(clocks: Path) -> bool:
    return clocks.is_dir() and any(clocks.iterdir())


async def _reached(system: Manager) -> None:
    reached = asyncio.Event()

    def changed(_unit: str, state: UnitState) -> None:
        if state.active == "active":
            reached.set()

    system.watch(TARGET, changed)
    changed(TARGET, await system.state(TARGET))
    await reached.wait()
