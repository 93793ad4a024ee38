"""Finds the channel of an address, bounds the time it may take, and turns what goes wrong into an outcome."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from nanoclaw_runner.contract.rows import AGENT, Address
from nanoclawd.channels.bounded import bounded
from nanoclawd.channels.guard import is_storable
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.channels.words import in_words, one_line
from nanoclawd.delivery.fitting import fit
from nanoclawd.delivery.typing import TypingService
from nanoclawd.errors import NanoclawError
from nanoclawd.journal import about
from nanoclawd.sessions.ports import Delivered, Outgoing, Progress, SessionRef, Undelivered

log = logging.getLogger(__name__)

DELIVERY_TIMEOUT_SECONDS: Final = 60.0
_MAX_ID_CHARACTERS: Final = 1024


class TurnEnded(Protocol):
    """Hears of each message that is done with, before its chat does."""

    def __call__(self, message_id: str, /, *, completed: bool) -> None:
        """Note it; never raises, never waits."""


class Peers(Protocol):
    """Takes what agents say to other agents."""

    async def deliver(self, session: SessionRef | None, outgoing: Outgoing, /) -> Delivered | Undelivered:
        """Deliver once; bounded in time; never raises."""


class DeliveryService:
    """Implements :class:`~nanoclawd.sessions.ports.DeliveryPort` over the channels."""

    def __init__(
        self,
        channels: ChannelManager,
        current: Callable[[Address], Address] = lambda address: address,
        *,
        timeout: float = DELIVERY_TIMEOUT_SECONDS,
    ) -> None:
        """Prepare.

        Args:
            channels: where things are delivered.
            current: tells where a chat is now that its platform has replaced by another.
            timeout: of one attempt, in seconds.
        """
        self._channels = channels
        self._current = current
        self._timeout = timeout
        self._typing = TypingService(channels)
        self.turn_ended: TurnEnded = _nobody
        self.peers: Peers | None = None

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now; an unknown channel fails at once, and visibly (W-21)."""
        return self._channels.reachable(self._current(address))

    def at_once(self, address: Address) -> bool:
        """Tell whether a delivery need not wait for its intent to be written down."""
        adapter = self._channels.adapter(address.channel_type)
        return adapter is not None and adapter.capabilities.at_once

    async def deliver(self, session: SessionRef | None, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once; never raises. Without a session it is the host's own message."""
        name = outgoing.address.channel_type
        if name == AGENT and self.peers is not None:
            return await self.peers.deliver(session, outgoing)
        if not self._channels.known(name):
            return Undelivered(f"there is no channel {name[:40]!r}", permanent=True)
        adapter = self._channels.adapter(name)
        if adapter is None:
            return Undelivered(f"channel {name} is not up")
        body = fit(outgoing.body, adapter.capabilities, from_host=session is None or outgoing.is_notice)
        if isinstance(body, Undelivered):
            return body
        try:
            sent = replace(outgoing, id=_key(session, outgoing), body=body, address=self._current(outgoing.address))
            outcome = await bounded(adapter.deliver(sent), self._timeout, f"channel {name}")
        except TimeoutError as error:
            return Undelivered(str(error))
        except Exception as error:
            log.exception(
                "delivering to %s failed",
                name,
                extra=about(
                    session=session.id if session else None,
                    group=session.group if session else None,
                    channel=name,
                    message=outgoing.id,
                ),
            )
            return Undelivered(in_words(error))
        return _checked(outcome, name)

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show what may be dropped."""
        adapter = self._channels.adapter(address.channel_type)
        if adapter is None:
            return
        try:
            adapter.show_progress(self._current(address), progress)
        except Exception:
            log.exception("%s could not show progress", adapter.name, extra=about(channel=adapter.name))

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message is done with."""
        self.turn_ended(message_id, completed=completed)
        name = address.channel_type
        adapter = self._channels.adapter(name)
        if adapter is None:
            return
        try:
            call = adapter.end_turn(self._current(address), message_id, completed=completed)
            await bounded(call, self._timeout, f"channel {adapter.name}")
        except (NanoclawError, TimeoutError) as error:
            reason = in_words(error)
            log.warning("%s could not say that a turn has ended: %s", adapter.name, reason, extra=about(channel=name))
        except Exception:
            log.exception("%s could not say that a turn has ended", adapter.name, extra=about(channel=adapter.name))

    def working(self, session: SessionRef, address: Address) -> None:
        """Show that a session works for a chat."""
        self._typing.working(session.id, self._current(address))

    def rested(self, session: SessionRef) -> None:
        """Show that a session works no more."""
        self._typing.rested(session.id)

    def came_up(self, name: str) -> None:
        """Show in a channel that has come up who is at work for its chats."""
        self._typing.came_up(name)

    def close(self) -> None:
        """End all signs of work; the daemon stops."""
        self._typing.close()


def _key(session: SessionRef | None, outgoing: Outgoing) -> str:
    """Return the name by which a platform knows a delivery: containers choose their rows' ids, and may choose others'.

    Two messages of one name are one to a platform that takes each only once; so what the appliance says itself, or
    another conversation's agent, could be lost behind it.
    """
    return outgoing.id if session is None else f"{session.id}/{outgoing.id}"


def _checked(outcome: object, name: str) -> Delivered | Undelivered:
    """Return an adapter's outcome; what is none is a fault of the adapter, and no delivery."""
    if isinstance(outcome, Undelivered):
        return replace(outcome, reason=one_line(outcome.reason))
    if not isinstance(outcome, Delivered):
        return Undelivered(f"channel {name} does not say whether it delivered")
    message_id = outcome.platform_message_id
    if message_id is None or (is_storable(message_id) and len(message_id) <= _MAX_ID_CHARACTERS):
        return outcome
    return Delivered()


def _nobody(_message_id: str, /, *, completed: bool) -> None:
    """Nobody wants to know."""
    del completed
