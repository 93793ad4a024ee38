"""The operator's terminal as a channel: ``ncl chat``.

A chat belongs to one unix user and one agent group, ``<user>/<group>``; all screens of it show the same. The direct
chat of a user, ``<user>``, is every screen that the user has open. Nothing is shown to nobody: while no screen is
attached a reply stays undelivered in its session, and attaching makes it due.

Who a user is, the kernel says (SO_PEERCRED), never the client: the control layer names the chat by it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, Address
from nanoclawd.channels.adapter import BaseAdapter, Capabilities, Conversation, Host
from nanoclawd.channels.terminal_files import TerminalFiles
from nanoclawd.control.api import ChatScreen, ClientGone
from nanoclawd.control.values import ChatEvent, ChatFile, EventType, TurnState
from nanoclawd.sessions.ports import Attachment, Delivered, Outgoing, PartialText, Place, Progress, Text, Undelivered

log = logging.getLogger(__name__)

CHANNEL_TYPE: Final = "terminal"
_MAX_USER_NAME: Final = 256


def platform_id(user_name: str, group: str) -> str:
    """Return the chat of a unix user with a group; neither name can hold a slash."""
    return f"{user_name}/{group}"


def user_id(user_name: str) -> str:
    """Return the id of a unix user."""
    return f"{CHANNEL_TYPE}:{user_name}"


class TerminalChannel(BaseAdapter):
    """All attached screens."""

    name = CHANNEL_TYPE
    platform = CHANNEL_TYPE
    # A screen shows an id once, however often it is told.
    capabilities = Capabilities(idempotent=True, at_once=True, max_text=MAX_CONTENT_BYTES, max_attachment=MAX_BYTES)

    def __init__(self, files: TerminalFiles) -> None:
        self.files = files
        self._screens: dict[str, list[ChatScreen]] = {}
        self.attached: Callable[[Address], None] = lambda _address: None

    async def setup(self, inbound: Host) -> None:
        """Make due what waits for the screens that are there already."""
        self.attached = inbound.reachable_again
        for chat in list(self._screens):
            self._make_due(chat)

    def attach(self, chat: str, screen: ChatScreen) -> None:
        """Show a chat on a screen from now on, and make due what waited for one."""
        self._screens.setdefault(chat, []).append(screen)
        self._make_due(chat)

    def detach(self, chat: str, screen: ChatScreen) -> None:
        """Forget a screen."""
        screens = self._screens.get(chat, [])
        if screen in screens:
            screens.remove(screen)
        if not screens:
            self._screens.pop(chat, None)

    def reachable(self, address: Address) -> bool:
        """Tell whether anybody looks."""
        return bool(self._watching(address.platform_id))

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Show a message on all screens; one that saw it is enough."""
        body = outgoing.body
        if not isinstance(body, Text):
            return Undelivered("a terminal shows text and files only", permanent=True)
        if any(file.size > self.capabilities.max_attachment for file in body.files):
            return Undelivered("a file is too large for a terminal", permanent=True)
        files = [await self._keep(outgoing, number, file) for number, file in enumerate(body.files)]
        event = ChatEvent(
            EventType.NOTICE if outgoing.is_notice else EventType.MESSAGE,
            id=outgoing.id,
            in_reply_to=outgoing.in_reply_to,
            text=body.text,
            timestamp=outgoing.timestamp,
            files=tuple(files),
        )
        seen = await self._show(outgoing.address, event)
        return Delivered(outgoing.id) if seen else Undelivered("nobody looks any more")

    def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give what a terminal has uploaded."""
        return self.files.fetch(reference)

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show a partial answer, a status or a place in the queue where that costs no wait."""
        watching = self._watching(address.platform_id)
        if not watching:
            return
        event = _progress_event(progress)
        for _chat, screen in watching:
            screen.hint(event)

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Tell all screens that a message is done with."""
        state = TurnState.COMPLETED if completed else TurnState.FAILED
        await self._show(address, ChatEvent(EventType.TURN, in_reply_to=message_id, state=state))

    async def open_dm(self, handle: str) -> str | None:
        """Return a unix user's direct chat; what cannot be a user's name has none."""
        possible = 0 < len(handle) <= _MAX_USER_NAME and handle.isprintable() and "/" not in handle
        return handle if possible else None

    async def conversations(self) -> Sequence[Conversation]:
        """Return the chats that are on a screen now."""
        return [Conversation(chat, await self.chat_name(chat), is_group=False) for chat in sorted(self._screens)]

    async def chat_name(self, platform_id: str) -> str | None:
        """Return whose terminal it is."""
        user_name = platform_id.partition("/")[0]
        return f"{user_name}'s terminal" if user_name else None

    async def _keep(self, outgoing: Outgoing, number: int, file: Attachment) -> ChatFile:
        user = outgoing.address.platform_id.partition("/")[0]
        kept = await asyncio.to_thread(self.files.keep, user, outgoing.id, number, file)
        return ChatFile(kept.id, kept.name, kept.size)

    def _make_due(self, chat: str) -> None:
        self.attached(Address(CHANNEL_TYPE, chat))
        self.attached(Address(CHANNEL_TYPE, chat.partition("/")[0]))

    def _watching(self, place: str) -> list[tuple[str, ChatScreen]]:
        """Return the screens of a chat or, for a user's direct chat, of all chats of the user."""
        chats = [place] if "/" in place else [chat for chat in self._screens if chat.partition("/")[0] == place]
        return [(chat, screen) for chat in chats for screen in self._screens.get(chat, ())]

    async def _show(self, address: Address, event: ChatEvent) -> bool:
        watching = self._watching(address.platform_id)
        if len(watching) == 1:
            # Mostly; one needs no task, and mostly no wait.
            results: list[Exception | None] = [await _shown(watching[0][1], event)]
        else:
            results = await asyncio.gather(*(_shown(screen, event) for _chat, screen in watching))
        for (chat, screen), result in zip(watching, results, strict=True):
            if result is not None:
                if not isinstance(result, ClientGone):
                    log.error("a terminal could not be written to", exc_info=result)
                self.detach(chat, screen)
        return any(result is None for result in results)


async def _shown(screen: ChatScreen, event: ChatEvent) -> Exception | None:
    """Show an event; return what went wrong."""
    try:
        await screen.show(event)
    except Exception as error:
        return error
    return None


def _progress_event(progress: Progress) -> ChatEvent:
    if isinstance(progress, PartialText):
        return ChatEvent(EventType.PARTIAL, in_reply_to=progress.in_reply_to, text=progress.text)
    if isinstance(progress, Place):
        return ChatEvent(EventType.WAITING, text=progress.reason, place=progress.number)
    return ChatEvent(EventType.STATUS, text=progress.text)
