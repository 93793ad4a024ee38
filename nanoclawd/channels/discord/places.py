"""Which channels, threads and servers there are: as little of it as is needed, since the library would keep all."""

from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.discord import wire

MAX_PLACES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """A channel or thread of a server, or a direct chat (``guild`` is None).

    Attributes:
        parent: the channel in which a thread is; None for what is no thread.
        last: the newest message's id, as far as the platform has told.
    """

    id: str
    name: str
    guild: str | None = None
    parent: str | None = None
    last: str | None = None
    kind: int = 0


class Places:
    """All that the gateway has told."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._known: dict[str, Place] = {}
        self._guilds: dict[str, str] = {}
        self.me = ""
        self.own_roles: set[str] = set()
        """Roles that are the bot itself: who mentions one of them speaks to it."""

    def begin(self, me: str) -> None:
        """Forget all: a new session tells it anew."""
        self.me = me
        self._known.clear()
        self._guilds.clear()
        self.own_roles.clear()

    def add_guild(self, guild: wire.Guild) -> list[Place]:
        """Note a server; return its places."""
        self._guilds[guild.id] = guild.name
        for role in wire.read_each(guild.roles, wire.Role):
            self.add_role(role)
        return [self.add(one, guild.id) for one in wire.read_each((*guild.channels, *guild.threads), wire.Channel)]

    def remove_guild(self, guild_id: str) -> None:
        """Forget a server."""
        self._guilds.pop(guild_id, None)
        self._known = {key: one for key, one in self._known.items() if one.guild != guild_id}

    def add_role(self, role: wire.Role) -> None:
        """Note a role, where it is the bot's own."""
        if role.tags is not None and role.tags.bot_id == self.me:
            self.own_roles.add(role.id)

    def add(self, channel: wire.Channel, guild_id: str | None = None) -> Place:
        """Note a channel or thread; return it as it is now."""
        is_thread = channel.type in wire.THREADS
        name = channel.name or ", ".join(one.shown for one in channel.recipients)
        place = Place(
            channel.id,
            name,
            channel.guild_id or guild_id,
            channel.parent_id if is_thread else None,
            channel.last_message_id,
            channel.type,
        )
        self._known.pop(place.id, None)
        self._known[place.id] = place
        while len(self._known) > MAX_PLACES:
            del self._known[next(iter(self._known))]
        return place

    def remove(self, channel_id: str) -> None:
        """Forget a channel or thread."""
        self._known.pop(channel_id, None)

    def get(self, channel_id: str) -> Place | None:
        """Return a place, if it is known."""
        return self._known.get(channel_id)

    def address(self, place: Place) -> Address:
        """Return where messages of a place come from: a thread is one of its channel."""
        if place.parent is None:
            return Address(self._channel, place.id)
        return Address(self._channel, place.parent, place.id)

    def shown_name(self, channel_id: str) -> str | None:
        """Return a chat's name as people know it, with its server; None where it is not known."""
        place = self._known.get(channel_id)
        if place is None or not place.name:
            return None
        if place.guild is None:
            return place.name
        guild = self._guilds.get(place.guild)
        return f"#{place.name} ({guild})" if guild else f"#{place.name}"

    def speakable(self) -> list[Place]:
        """Return the channels of servers in which people can write."""
        return [one for one in self._known.values() if one.guild is not None and one.kind in wire.SPEAKABLE]
