"""Behind io.nanoclaw.Channels."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence

import apsw

from nanoclawd.channels import keeper
from nanoclawd.channels.added import AddedChannels
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.channels.words import one_line
from nanoclawd.control.values import (
    Channel,
    ChannelOrigin,
    ChannelQuestion,
    ChannelSetup,
    ChannelState,
    Conversation,
    Pairing,
    PairingState,
    Peer,
    SetAsideEvent,
)
from nanoclawd.errors import Unavailable
from nanoclawd.journal import about
from nanoclawd.permissions import pairing
from nanoclawd.store import chats, host_messages
from nanoclawd.store.added_channels import AddedChannel
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

_PAIRING_SECONDS = 25.0


class ChannelsBackend:
    """Channels as operators see them."""

    def __init__(
        self,
        database: Database,
        channels: ChannelManager,
        added: AddedChannels,
        waiting: Callable[[], Mapping[str, int]],
        pairings: pairing.Pairings,
    ) -> None:
        """Prepare; ``waiting`` tells in how many conversations an answer waits, by channel."""
        self._pairings = pairings
        self._database = database
        self._channels = channels
        self._added = added
        self._waiting = waiting

    async def list(self) -> Sequence[Channel]:
        """Return the channels by name."""
        return await self._shown(sorted(self._channels.states(), key=lambda state: state.name))

    async def show(self, channel: str) -> tuple[Channel, Sequence[str], Sequence[SetAsideEvent]]:
        """Return a channel, its options, and the events that were given up."""
        shown = await self._one(channel)
        configured, row = self._channels.configured(channel), (await self._added.every()).get(channel)
        options = configured.options if configured else row.options if row else {}
        events = [
            SetAsideEvent(one.event_id, one.at, one.reason, one.raw) for one in await self._channels.set_aside(channel)
        ]
        return shown, [f"{key}={_spelled(value)}" for key, value in sorted(options.items())], events

    async def types(self) -> Sequence[str]:
        """Return the types that can be added."""
        return await self._added.types()

    async def setup(self, kind: str) -> ChannelSetup:
        """Return what a type asks."""
        found = await self._added.setup_of(kind)
        questions = [
            ChannelQuestion(one.option, one.text, one.hint or None, one.default or None, one.required)
            for one in found.questions
        ]
        return ChannelSetup(kind, found.secret or None, found.hint or None, questions)

    async def add(self, peer: Peer, name: str, kind: str, options: Sequence[str], *, enabled: bool) -> Channel:
        """Add a channel."""
        await self._added.add(name, kind, options, enabled=enabled)
        self._note(peer, "added", name)
        return await self._one(name)

    async def update(self, peer: Peer, channel: str, options: Sequence[str]) -> Channel:
        """Change options of a channel that was added."""
        await self._added.update(channel, options)
        self._note(peer, "changed", channel)
        return await self._one(channel)

    async def switch(self, peer: Peer, channel: str, *, enabled: bool) -> Channel:
        """Enable or disable a channel that was added."""
        await self._added.switch(channel, enabled=enabled)
        self._note(peer, "enabled" if enabled else "disabled", channel)
        return await self._one(channel)

    async def remove(self, peer: Peer, channel: str) -> None:
        """Remove a channel that was added."""
        await self._added.remove(channel)
        self._note(peer, "removed", channel)

    async def test(self, channel: str) -> tuple[Channel, str | None, str | None]:
        """Return a channel after an attempt, as whom it is connected, and what to do next."""
        account = await self._channels.test(channel)
        shown = await self._one(channel)
        if account is None:
            return shown, None, None
        return shown, one_line(account.name), one_line(account.next_step) or None

    async def pair(self, peer: Peer, channel: str, group: str | None, role: str | None) -> Pairing:
        """Begin a pairing."""
        state = self._channels.state(channel)
        if self._channels.adapter(channel) is None:
            raise Unavailable(
                f"channel {channel} is not up: {state.health.detail}", hint=f"ncl channels test {channel}"
            )
        account = await self._channels.test(channel)
        begun = await self._pairings.start(channel, group, role)
        self._note(peer, "began a pairing on", channel)
        return self._pairing(begun, None if account is None else one_line(account.name))

    async def await_pairing(self, pairing_id: str) -> Pairing:
        """Return a pairing, as soon as it is over, or after a while as it is."""
        return self._pairing(await self._pairings.outcome(pairing_id, _PAIRING_SECONDS), None)

    def _pairing(self, shown: pairing.Pairing, account: str | None) -> Pairing:
        adapter = self._channels.adapter(shown.channel)
        return Pairing(
            id=shown.id,
            channel=shown.channel,
            code=shown.code,
            link=None if adapter is None else adapter.pairing_link(shown.code),
            account=account,
            expires_at=shown.expires_at,
            state=PairingState(shown.state.value),
            reason=shown.reason or None,
            user=shown.user,
            name=shown.name,
            role=shown.role,
            group=shown.group,
        )

    async def clear(self, peer: Peer, channel: str) -> int:
        """Forget the events that were given up; return how many."""
        cleared = await self._channels.clear_set_aside(channel)
        self._note(peer, "cleared the events that were set aside of", channel)
        return cleared

    async def export_keys(self, peer: Peer, channel: str, passphrase: str) -> str:
        """Return the keys that decrypt what was said so far, as a file."""
        found = await self._channels.export_keys(channel, passphrase)
        self._note(peer, "exported the keys of", channel)
        return found.decode()

    async def import_keys(self, peer: Peer, channel: str, upload: str, passphrase: str) -> int:
        """Learn keys from a file that the peer has uploaded, and forget the file."""
        files = self._channels.terminal.files
        reference, _size = await asyncio.to_thread(files.reference, peer.user_name, upload)
        try:
            content = b"".join([block async for block in files.fetch(reference)])
            new = await self._channels.import_keys(channel, content, passphrase)
        finally:
            await asyncio.to_thread(files.forget, peer.user_name, upload)
        self._note(peer, "imported keys into", channel)
        return new

    async def conversations(self, channel: str) -> Sequence[Conversation]:
        """Return the chats that a channel's account is in."""
        found = await self._channels.conversations(channel)
        hearing = await self._database.run(_hearing, channel)
        return [
            Conversation(one.platform_id, one.name, one.is_group, hearing.get(one.platform_id, [])) for one in found
        ]

    async def _one(self, name: str) -> Channel:
        (shown,) = await self._shown([self._channels.state(name)])
        return shown

    async def _shown(self, states: Sequence[keeper.ChannelState]) -> Sequence[Channel]:
        outbox = await self._database.run(host_messages.open_by_channel)
        rows, waiting = await self._added.every(), self._waiting()
        return [
            Channel(
                name=state.name,
                type=state.type,
                platform=state.platform,
                origin=self._origin(state.name, rows),
                state=ChannelState(state.health.state.value),
                detail=state.health.detail,
                hint=state.health.hint,
                since=state.since,
                next_try_at=state.next_try,
                last_event_at=state.last_event,
                last_error=state.last_error or None,
                last_error_at=state.last_error_at,
                backlog=outbox.get(state.name, 0) + waiting.get(state.name, 0),
                set_aside=state.set_aside,
                threads=state.capabilities.threads,
                buttons=state.capabilities.buttons,
                edits=state.capabilities.edits,
                reactions=state.capabilities.reactions,
            )
            for state in states
        ]

    def _origin(self, name: str, rows: Mapping[str, AddedChannel]) -> ChannelOrigin:
        if self._channels.configured(name) is not None:
            return ChannelOrigin.BOTH if name in rows else ChannelOrigin.CONFIGURATION
        return ChannelOrigin.COMMAND if name in rows else ChannelOrigin.APPLIANCE

    def _note(self, peer: Peer, what: str, channel: str) -> None:
        log.info("%s %s channel %s", peer.user_id, what, channel, extra=about(channel=channel))


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _hearing(connection: apsw.Connection, channel: str) -> dict[str, list[str]]:
    """Return the folders of the groups that hear each chat of a channel."""
    hearing: dict[str, list[str]] = {}
    for wiring in chats.every_wiring(connection):
        if wiring.channel_type == channel:
            hearing.setdefault(wiring.platform_id, []).append(wiring.group)
    return hearing
