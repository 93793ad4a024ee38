"""What an adapter hands in, checked before anything believes it: a channel speaks for itself only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Inbound
from nanoclawd.channels.attempts import MAX_TRIES, Attempts
from nanoclawd.channels.words import in_words
from nanoclawd.errors import InvalidName, Unavailable
from nanoclawd.journal import about
from nanoclawd.routing.event import Click, InboundEvent

log = logging.getLogger(__name__)

_MAX_NAME_CHARACTERS: Final = 200


class GuardedInbound:
    """The :class:`~nanoclawd.channels.adapter.Host` of one setup of one adapter."""

    def __init__(
        self, name: str, platform: str, inbound: Inbound, lost: Callable[[str], None], attempts: Attempts
    ) -> None:
        self._name = name
        self._users = f"{platform}:"
        self._inbound = inbound
        self._lost = lost
        self._attempts = attempts
        self.closed = False
        """After a teardown nothing comes in any more, whoever still holds this."""
        self.last_event: str | None = None
        """When somebody last said or chose something."""

    async def handle(self, event_id: str, raw: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Run what an event of the platform asks for, again where it fails, and set it aside after the third time.

        Returns:
            False where it was set aside. It is done with in either case.

        Raises:
            Unavailable: it is to be handed in again; that counts for nothing.
        """
        while True:
            tries = await self._begin(event_id)
            if tries > MAX_TRIES:
                await self._set_aside(event_id, "the daemon died of it each time", raw)
                return False
            try:
                await work()
            except Unavailable:
                await asyncio.to_thread(self._attempts.forget, event_id, tries)
                raise
            except asyncio.CancelledError:
                # The daemon stops, or the channel is torn down: not the event's doing.
                self._attempts.forget(event_id, tries)
                raise
            except Exception as error:
                if tries < MAX_TRIES:
                    continue
                log.exception("channel %s: the event %s fails", self._name, event_id, extra=about(channel=self._name))
                await self._set_aside(event_id, in_words(error), raw)
                return False
            await asyncio.to_thread(self._attempts.end, event_id)
            return True

    async def message(self, event: InboundEvent) -> None:
        """Hand a message in.

        Raises:
            Unavailable: it could not be stored, or the channel was torn down.
            TooLarge: it is over the bounds.
            InvalidName: the adapter speaks for another channel or vouches for another platform's user (a bug in it).
        """
        self._check(event.address)
        self._check_user(event.sender.user_id)
        self.last_event = now_text()
        await self._inbound.message(event)

    async def click(self, click: Click) -> str:
        """Hand a chosen option in; return words for who clicked."""
        self._check(click.address)
        self._check_user(click.user_id)
        self.last_event = now_text()
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

    async def chat_moved(self, chat: Address, platform_id: str) -> None:
        """Tell that the platform has replaced a chat by another.

        Raises:
            Unavailable: the channel was torn down.
            InvalidName: it is another channel's chat, or has an id that none has.
        """
        self._check(chat)
        if not is_storable(platform_id):
            raise InvalidName("a chat's id is text of whole characters")
        await self._inbound.chat_moved(chat, platform_id)

    def reachable_again(self, address: Address) -> None:
        """Deliveries that waited for this chat are due."""
        if not self.closed and address.channel_type == self._name:
            self._inbound.reachable_again(address)

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        if not self.closed:
            self._lost(reason)

    async def _begin(self, event_id: str) -> int:
        if self.closed:
            raise Unavailable(f"channel {self._name} was torn down")
        try:
            return await asyncio.to_thread(self._attempts.begin, event_id)
        except OSError as error:
            raise Unavailable(f"the channel's state can't be written: {error}", hint="df -h; ncl doctor") from error

    async def _set_aside(self, event_id: str, reason: str, raw: str) -> None:
        try:
            await asyncio.to_thread(self._attempts.set_aside, event_id, reason, raw)
        except OSError as error:
            raise Unavailable(f"the channel's state can't be written: {error}", hint="df -h; ncl doctor") from error
        log.error(
            "channel %s: the event %s was set aside after %d tries: %s. Next: ncl channels show %s",
            self._name,
            event_id,
            MAX_TRIES,
            reason,
            self._name,
            extra=about(channel=self._name),
        )

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
