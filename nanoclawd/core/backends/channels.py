"""Behind io.nanoclaw.Channels."""

from collections.abc import Sequence

import apsw

from nanoclawd.channels.manager import ChannelManager
from nanoclawd.control.values import Channel, ChannelState, Conversation
from nanoclawd.store import chats
from nanoclawd.store.database import Database


class ChannelsBackend:
    """Channels as operators see them."""

    def __init__(self, database: Database, channels: ChannelManager) -> None:
        self._database = database
        self._channels = channels

    async def list(self) -> Sequence[Channel]:
        """Return the channels by name."""
        return [
            Channel(
                name=state.name,
                platform=state.platform,
                state=ChannelState(state.health.state.value),
                detail=state.health.detail,
                hint=state.health.hint,
                threads=state.capabilities.threads,
                buttons=state.capabilities.buttons,
                edits=state.capabilities.edits,
                reactions=state.capabilities.reactions,
            )
            for state in sorted(self._channels.states(), key=lambda state: state.name)
        ]

    async def conversations(self, channel: str) -> Sequence[Conversation]:
        """Return the chats that a channel's account is in."""
        found = await self._channels.conversations(channel)
        hearing = await self._database.run(_hearing, channel)
        return [
            Conversation(one.platform_id, one.name, one.is_group, hearing.get(one.platform_id, [])) for one in found
        ]


def _hearing(connection: apsw.Connection, channel: str) -> dict[str, list[str]]:
    """Return the folders of the groups that hear each chat of a channel."""
    hearing: dict[str, list[str]] = {}
    for wiring in chats.every_wiring(connection):
        if wiring.channel_type == channel:
            hearing.setdefault(wiring.platform_id, []).append(wiring.group)
    return hearing
