"""What a channel does for the appliance."""

from typing import Protocol

from nanoclaw_runner.contract.rows import Address
from nanoclawd.sessions.ports import Delivered, Outgoing, Progress, Undelivered


class ChannelAdapter(Protocol):
    """One channel. Its ``channel_type`` is the first part of every address on it."""

    @property
    def channel_type(self) -> str:
        """The channel's name in addresses, e.g. ``terminal``."""

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now; the channel says when that has changed."""

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once. May raise: that is an undelivered message with the exception's words."""

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show what may be dropped; a channel that can't does nothing."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message is done with; a channel that can't does nothing."""
