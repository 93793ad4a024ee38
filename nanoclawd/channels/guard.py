"""What an adapter hands in, checked before anything believes it: a channel speaks for itself only."""

from collections.abc import Callable
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Inbound
from nanoclawd.errors import InvalidName, Unavailable
from nanoclawd.routing.event import Click, InboundEvent

_MAX_NAME_CHARACTERS: Final = 200


class GuardedInbound:
    """The :class:`~nanoclawd.channels.adapter.Host` of one setup of one adapter."""

    def __init__(self, name: str, platform: str, inbound: Inbound, lost: Callable[[str], None]) -> None:
        self._name = name
        self._users = f"{platform}:"
        self._inbound = inbound
        self._lost = lost
        self.closed = False
        """After a teardown nothing comes in any more, whoever still holds this."""

    async def message(self, event: InboundEvent) -> None:
        """Hand a message in.

        Raises:
            Unavailable: it could not be stored, or the channel was torn down.
            TooLarge: it is over the bounds.
            InvalidName: the adapter speaks for another channel or vouches for another platform's user (a bug in it).
        """
        self._check(event.address)
        self._check_user(event.sender.user_id)
        await self._inbound.message(event)

    async def click(self, click: Click) -> str:
        """Hand a chosen option in; return words for who clicked."""
        self._check(click.address)
        self._check_user(click.user_id)
        return await self._inbound.click(click)

    async def chat_named(self, chat: Address, name: str | None, *, is_group: bool | None = None) -> None:
        """Tell a chat's name or kind (W-55); a name is bounded and printable, whatever people called the chat.

        Raises:
            Unavailable: the channel was torn down.
            InvalidName: it is another channel's chat, or has an id that none has.
        """
        self._check(chat)
        if not is_storable(chat.platform_id):
            raise InvalidName("a chat's id is text of whole characters")
        await self._inbound.chat_named(chat, presentable(name), is_group=is_group)

    def reachable_again(self, address: Address) -> None:
        """Deliveries that waited for this chat are due."""
        if not self.closed and address.channel_type == self._name:
            self._inbound.reachable_again(address)

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        if not self.closed:
            self._lost(reason)

    def _check(self, address: Address) -> None:
        if self.closed:
            raise Unavailable(f"channel {self._name} was torn down")
        if address.channel_type != self._name:
            raise InvalidName(f"channel {self._name} cannot speak for {address.channel_type[:40]!r}")
        if not address.platform_id:
            raise InvalidName("a chat needs an id")

    def _check_user(self, user_id: str | None) -> None:
        if user_id is not None and not (user_id.startswith(self._users) and len(user_id) > len(self._users)):
            raise InvalidName(f"channel {self._name} cannot vouch for the user {user_id[:80]!r}")


def is_storable(text: object) -> bool:
    """Tell whether an adapter's id is a text that UTF-8 can hold: half a character can be neither stored nor sent."""
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def presentable(name: object) -> str | None:
    """Return a name as one bounded line without what a terminal obeys, or None where nothing is left of it."""
    if not isinstance(name, str):
        return None
    text = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(text.split())[:_MAX_NAME_CHARACTERS] or None
