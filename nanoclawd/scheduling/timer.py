"""One timer on the wall clock that notices when somebody moves it.

``timerfd`` with TFD_TIMER_CANCEL_ON_SET (timerfd_create(2)): it fires at an absolute time, also after a suspend, and
tells when the clock was set. Nothing wakes up while nothing is due.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from typing import Final

# <sys/timerfd.h>; Python 3.13 has timerfd but not this flag's read error by name.
_FLAGS: Final = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET
_FAR: Final = 2**33
"""Seconds since 1970, in the year 2242: armed even when nothing is due, because only an armed timer sees jumps."""


class WallTimer:
    """Calls ``due`` at the moment it was armed for, and ``jumped`` when the clock was set."""

    def __init__(self, due: Callable[[], None], jumped: Callable[[], None]) -> None:
        self._due = due
        self._jumped = jumped
        self._armed_for: float | None = None
        self._descriptor = os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._on_readable)
        self.arm(None)

    def arm(self, moment: float | None) -> None:
        """Set the moment (seconds since 1970), or None for none; a moment that has passed fires at once."""
        self._armed_for = moment
        at = _FAR if moment is None else max(moment, 1.0)
        try:
            os.timerfd_settime(self._descriptor, flags=_FLAGS, initial=at)
        except OSError as error:
            # settime reports a jump too; the new setting holds (timerfd_create(2), ECANCELED).
            if error.errno != errno.ECANCELED:
                raise
            self._loop.call_soon(self._jumped)

    def close(self) -> None:
        """Stop."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _on_readable(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            self.arm(self._armed_for)
            self._jumped()
            return
        # Armed again at once: whoever is told now may take a while, or fail, and jumps are to be seen all the same.
        self.arm(None)
        self._due()
