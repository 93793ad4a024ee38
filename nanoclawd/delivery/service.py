"""Finds the channel of an address, bounds the time it may take, and turns what goes wrong into an outcome."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelAdapter
from nanoclawd.delivery.fitting import fit
from nanoclawd.journal import about
from nanoclawd.sessions.ports import Delivered, Outgoing, Progress, SessionRef, Undelivered

log = logging.getLogger(__name__)

DELIVERY_TIMEOUT_SECONDS: Final = 60.0


class DeliveryService:
    """Implements :class:`~nanoclawd.sessions.ports.DeliveryPort` over the channels."""

    def __init__(self, channels: Iterable[ChannelAdapter]) -> None:
        self._channels = {channel.name: channel for channel in channels}

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now; an unknown channel fails at once, and visibly (W-21)."""
        channel = self._channels.get(address.channel_type)
        return channel is None or channel.reachable(address)

    async def deliver(self, session: SessionRef | None, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once; never raises. Without a session it is the host's own message."""
        channel = self._channels.get(outgoing.address.channel_type)
        if channel is None:
            return Undelivered(f"there is no channel {outgoing.address.channel_type[:40]!r}", permanent=True)
        body = fit(outgoing.body, channel.capabilities, from_host=session is None or outgoing.is_notice)
        if isinstance(body, Undelivered):
            return body
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_SECONDS):
                return await channel.deliver(replace(outgoing, body=body))
        except TimeoutError:
            return Undelivered(f"{channel.name} did not answer in {DELIVERY_TIMEOUT_SECONDS:g} s")
        except Exception as error:
            log.exception(
                "delivering to %s failed",
                channel.name,
                extra=about(
                    session=session.id if session else None,
                    group=session.group if session else None,
                    channel=channel.name,
                    message=outgoing.id,
                ),
            )
            return Undelivered(str(error) or type(error).__name__)

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show what may be dropped."""
        channel = self._channels.get(address.channel_type)
        if channel is not None:
            channel.show_progress(address, progress)

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message is done with."""
        channel = self._channels.get(address.channel_type)
        if channel is None:
            return
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_SECONDS):
                await channel.end_turn(address, message_id, completed=completed)
        except Exception:
            log.exception("%s could not say that a turn has ended", channel.name)

    def working(self, session: SessionRef, address: Address) -> None:
        """A session has begun to work for a chat."""

    def rested(self, session: SessionRef) -> None:
        """A session has stopped to work."""
