"""What runs while the model waits: shown in the status and in ``container_state``, and judged by its own bound."""

import asyncio
import logging
import math
from dataclasses import dataclass, field
from typing import Final

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.store.outbox import Outbox
from nanoclaw_runner.supervision import Supervision
from nanoclaw_runner.tools.base import Watcher

_log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 5.0
"""A tool that has reached its bound is ended by whoever called it; only what hangs even then has stalled."""

NOTED_AFTER_SECONDS: Final = 1.0
"""A tool that is done sooner is not worth two commits."""


@dataclass(frozen=True, slots=True)
class _Running:
    name: str
    timeout: float
    started_at: str = field(default_factory=now_text)


class ToolWatch(Watcher):
    """Hears of each call of a tool, the runner's and the provider's own."""

    def __init__(self, supervision: Supervision, outbox: Outbox, silence_seconds: float) -> None:
        """Prepare.

        Args:
            supervision: judges silence, by the bound that it is given from here.
            outbox: where the longest running tool is noted.
            silence_seconds: the bound while no tool runs.
        """
        self._supervision = supervision
        self._outbox = outbox
        self._silence_seconds = silence_seconds
        self._running: list[_Running] = []
        self._noted: _Running | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def current(self) -> str:
        """The tool that has been running for the longest time, empty while none does."""
        return self._running[0].name if self._running else ""

    def began(self, name: str, timeout: float | None) -> None:
        """Note that one of the runner's tools has begun; without a timeout it bounds itself, and may be silent."""
        self._add(name, math.inf if timeout is None else timeout)

    def ended(self, name: str) -> None:
        """Note that it is over."""
        for one in self._running:
            if one.name == name:
                self._running.remove(one)
                break
        self._apply()

    def provider_began(self, name: str, timeout: float | None) -> None:
        """Note that one of the provider's tools has begun; without a timeout it may be silent as long as the model."""
        self._add(name, self._silence_seconds if timeout is None else timeout)

    def nothing_runs(self) -> None:
        """Note that the turn is over: whatever has not said that it ended has ended."""
        self._running.clear()
        self._apply()

    def _add(self, name: str, timeout: float) -> None:
        self._running.append(_Running(name, timeout))
        self._apply()

    def _apply(self) -> None:
        bounds = [one.timeout + GRACE_SECONDS for one in self._running]
        self._supervision.allow(max([self._silence_seconds, *bounds]))
        if self._timer is None and self._noted is not (self._running[0] if self._running else None):
            wait = NOTED_AFTER_SECONDS if self._running else 0.0
            self._timer = asyncio.get_running_loop().call_later(wait, self._note)

    def _note(self) -> None:
        self._timer = None
        now = self._running[0] if self._running else None
        if now is self._noted:
            return
        self._noted = now
        try:
            if now is None:
                self._outbox.set_tool(None)
            else:
                bound = now.timeout if math.isfinite(now.timeout) else None
                self._outbox.set_tool(now.name, bound, now.started_at)
        except apsw.Error as error:
            _log.warning("which tool runs cannot be noted: %s", error)
