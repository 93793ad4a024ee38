"""The sign that an agent is at work: shown while a session works for a chat, and no longer."""

import asyncio
import logging
from typing import Final, Protocol

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities, ChannelAdapter
from nanoclawd.channels.bounded import bounded
from nanoclawd.journal import about

log = logging.getLogger(__name__)

REFRESHED_AT: Final = 0.8
"""Part of the time that a sign lasts after which it is given again."""

_SHORTEST_SECONDS: Final = 0.25
_CALL_SECONDS: Final = 10.0


class Channels(Protocol):
    """What typing needs of the channels."""

    def adapter(self, name: str) -> ChannelAdapter | None:
        """Return a channel's adapter while it is up."""

    def capabilities(self, name: str) -> Capabilities:
        """Return what a channel can."""


class TypingService:
    """One refresher per chat in which somebody works, however many do."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._works_for: dict[str, Address] = {}
        self._workers: dict[Address, set[str]] = {}
        self._refreshers: dict[Address, asyncio.Task[None]] = {}

    def working(self, session_id: str, address: Address) -> None:
        """Show that a session works for a chat; with another chat than before, the sign moves."""
        before = self._works_for.get(session_id)
        if before == address:
            return
        if before is not None:
            self.rested(session_id)
        self._works_for[session_id] = address
        self._workers.setdefault(address, set()).add(session_id)
        self._begin(address)

    def came_up(self, name: str) -> None:
        """Show, now that a channel is up, the signs of those who are at work for its chats already."""
        for address in self._workers:
            if address.channel_type == name:
                self._begin(address)

    def rested(self, session_id: str) -> None:
        """End the sign of a session; that of a chat ends with its last worker."""
        address = self._works_for.pop(session_id, None)
        if address is None:
            return
        workers = self._workers[address]
        workers.discard(session_id)
        if workers:
            return
        del self._workers[address]
        refresher = self._refreshers.pop(address, None)
        if refresher is not None:
            refresher.cancel()

    def close(self) -> None:
        """Show nothing any more."""
        for session_id in list(self._works_for):
            self.rested(session_id)

    def _begin(self, address: Address) -> None:
        if address not in self._refreshers and self._channels.capabilities(address.channel_type).typing_seconds:
            self._refreshers[address] = asyncio.create_task(self._refresh(address), name="typing")

    async def _refresh(self, address: Address) -> None:
        """Give the sign again and again, for as long as the channel is up."""
        loop = asyncio.get_running_loop()
        failing = False
        while True:
            began = loop.time()
            adapter = self._channels.adapter(address.channel_type)
            lasts = adapter.capabilities.typing_seconds if adapter is not None else None
            if adapter is None or not lasts:
                del self._refreshers[address]  # another one begins when the channel comes up
                return
            try:
                await bounded(adapter.set_typing(address), _CALL_SECONDS, f"typing on {adapter.name}")
                failing = False
            except Exception as error:
                # Once per row of failures: a sign is not worth more of the journal.
                log.log(
                    logging.DEBUG if failing else logging.WARNING,
                    "%s cannot show that an agent is at work: %s",
                    adapter.name,
                    error,
                    extra=about(channel=adapter.name),
                )
                failing = True
            # The next one is due before this one fades; rest and a stop cancel this.
            await asyncio.sleep(max(_SHORTEST_SECONDS, lasts * REFRESHED_AT - (loop.time() - began)))
