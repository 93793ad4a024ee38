"""The operator's terminal as a channel: ``ncl chat``.

A chat belongs to one unix user and one agent group; all screens of it show the same. Nothing is shown to nobody: while
no screen is attached a reply stays undelivered in its session, and attaching makes it due.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.control.api import ChatScreen, ClientGone
from nanoclawd.control.values import ChatEvent, EventType, TurnState
from nanoclawd.sessions.ports import Delivered, Outgoing, PartialText, Place, Progress, Undelivered

log = logging.getLogger(__name__)

CHANNEL_TYPE: Final = "terminal"


def platform_id(user_name: str, group: str) -> str:
    """Return the chat of a unix user with a group; neither name can hold a slash."""
    return f"{user_name}/{group}"


class TerminalChannel:
    """All attached screens."""

    channel_type: Final = CHANNEL_TYPE

    def __init__(self) -> None:
        self._screens: dict[str, list[ChatScreen]] = {}
        self.attached: Callable[[Address], None] = lambda _address: None

    def attach(self, chat: str, screen: ChatScreen) -> None:
        """Show a chat on a screen from now on, and make due what waited for one."""
        self._screens.setdefault(chat, []).append(screen)
        self.attached(Address(CHANNEL_TYPE, chat))

    def detach(self, chat: str, screen: ChatScreen) -> None:
        """Forget a screen."""
        screens = self._screens.get(chat, [])
        if screen in screens:
            screens.remove(screen)
        if not screens:
            self._screens.pop(chat, None)

    def reachable(self, address: Address) -> bool:
        """Tell whether anybody looks."""
        return bool(self._screens.get(address.platform_id))

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Show a message on all screens; one that saw it is enough."""
        text = _text(outgoing.content)
        if text is None:
            return Undelivered("the agent wrote something that has no text", permanent=True)
        event = ChatEvent(
            EventType.NOTICE if outgoing.is_notice else EventType.MESSAGE,
            id=outgoing.id,
            in_reply_to=outgoing.in_reply_to,
            text=text,
            timestamp=outgoing.timestamp,
        )
        seen = await self._show(outgoing.address, event)
        return Delivered() if seen else Undelivered("nobody looks any more")

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show a partial answer, a status or a place in the queue where that costs no wait."""
        screens = self._screens.get(address.platform_id)
        if not screens:
            return
        event = _progress_event(progress)
        for screen in screens:
            screen.hint(event)

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Tell all screens that a message is done with."""
        state = TurnState.COMPLETED if completed else TurnState.FAILED
        await self._show(address, ChatEvent(EventType.TURN, in_reply_to=message_id, state=state))

    async def _show(self, address: Address, event: ChatEvent) -> bool:
        screens = list(self._screens.get(address.platform_id, ()))
        results = await asyncio.gather(*(screen.show(event) for screen in screens), return_exceptions=True)
        for screen, result in zip(screens, results, strict=True):
            if isinstance(result, BaseException):
                if not isinstance(result, ClientGone):
                    log.error("a terminal could not be written to", exc_info=result)
                self.detach(address.platform_id, screen)
        return any(result is None for result in results)


def _progress_event(progress: Progress) -> ChatEvent:
    if isinstance(progress, PartialText):
        return ChatEvent(EventType.PARTIAL, in_reply_to=progress.in_reply_to, text=progress.text)
    if isinstance(progress, Place):
        return ChatEvent(EventType.WAITING, text=progress.reason, place=progress.number)
    return ChatEvent(EventType.STATUS, text=progress.text)


def _text(content: str) -> str | None:
    """Return a row's text; what is not the contract's JSON has none."""
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    text = found.get("text") if isinstance(found, dict) else None
    return text if isinstance(text, str) else None
