"""What nobody heard, counted in memory and written down a moment later: chatter must not cost a commit a message."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import apsw

from nanoclaw_runner.contract.transaction import writing
from nanoclawd.routing.event import InboundEvent
from nanoclawd.scheduling.background import Background
from nanoclawd.store import dropped
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
"""A daemon that dies loses the counts of so long at most: they tell an operator why, and no message hangs on them."""

MAX_WAITING: Final = 1000
"""Chats and senders that wait to be written down; one more is written at once."""


@dataclass(slots=True)
class _Count:
    name: str | None
    reason: str
    agent_group_id: str | None
    count: int = 1


class Drops:
    """Counts dropped messages per chat and sender; the most specific reason stays (W-19)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: dict[tuple[str, str, str | None], _Count] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._background = Background(log, "counting dropped messages")

    def count(self, event: InboundEvent, reason: str, agent_group_id: str | None = None) -> None:
        """Count an event that no agent heard."""
        key = (event.address.channel_type, event.address.platform_id, event.sender.user_id)
        known = self._counts.get(key)
        if known is None:
            self._counts[key] = _Count(event.sender.name or None, reason, agent_group_id)
        else:
            known.count += 1
            known.name = event.sender.name or known.name
            if dropped.SPECIFICITY[reason] >= dropped.SPECIFICITY[known.reason]:
                known.reason, known.agent_group_id = reason, agent_group_id
        if len(self._counts) >= MAX_WAITING:
            self._flush_soon()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_soon)

    async def flush(self) -> None:
        """Write everything down, in one transaction."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        await self._database.run(_write, counts)

    def _flush_soon(self) -> None:
        self._background.spawn(self.flush())


def _write(connection: apsw.Connection, counts: dict[tuple[str, str, str | None], _Count]) -> None:
    with writing(connection):
        for (channel, chat, user_id), one in counts.items():
            dropped.record(connection, channel, chat, user_id, one.name, one.reason, one.agent_group_id, one.count)
