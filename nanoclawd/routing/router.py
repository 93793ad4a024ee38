"""The way of a message in: chat → wirings → session → stored → woken."""

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import apsw

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES, Address
from nanoclawd.errors import NotFound, TooLarge
from nanoclawd.journal import about
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """Something that a person wrote.

    Attributes:
        message_id: the platform's own id: the same message told twice has the same one.
        sender_id: ``<channel>:<handle>``, as the channel vouches for it.
    """

    address: Address
    message_id: str
    text: str
    sender: str
    sender_id: str


@dataclass(frozen=True, slots=True)
class Routed:
    """A message in one agent's session; ``stored`` is False where it was there already."""

    session: Session
    message_id: str
    stored: bool


@dataclass(frozen=True, slots=True)
class _Target:
    agent_group_id: str
    group: str
    chat_id: str
    session: Session | None


class Router:
    """Hands messages to sessions."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions
        self._places: WeakValueDictionary[tuple[str, str, str | None], asyncio.Lock] = WeakValueDictionary()

    async def route(self, message: ChatMessage) -> list[Routed]:
        """Store a message for every agent that hears its chat, and wake them.

        Returns after the commits. The stored id is the platform's id and the group's name, so that one event told twice
        is one row (F-167) and two agents' rows differ (F-166).

        Raises:
            TooLarge: the text is over 256 KiB of UTF-8.
            NotFound: no agent hears this chat.
            Unavailable: it could not be stored.
        """
        message = replace(message, text=_storable(message.text), sender=_storable(message.sender))
        if len(message.text.encode()) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"a message may have {MAX_MESSAGE_BYTES // 1024} KiB of text")
        targets = await self._database.run(_targets, message.address)
        if not targets:
            raise NotFound("no agent is wired to this chat", hint="ncl groups list")
        return [await self._store(message, target) for target in targets]

    async def _store(self, message: ChatMessage, target: _Target) -> Routed:
        session = target.session or await self._new_session(message, target)
        message_id = f"{message.message_id}:{target.group}"
        content = json.dumps(
            {"text": message.text, "sender": message.sender, "senderId": message.sender_id}, ensure_ascii=False
        )
        letter = NewMessage(
            id=message_id, content=content, address=message.address, platform_message_id=message.message_id
        )
        (stored,) = await self._sessions.accept_all([(session, letter)])
        if isinstance(stored, Exception):
            raise stored
        log.debug(
            "message stored",
            extra=about(
                session=session.id, group=target.group, channel=message.address.channel_type, message=message_id
            ),
        )
        return Routed(session, message_id, stored)

    async def _new_session(self, message: ChatMessage, target: _Target) -> Session:
        """Make a session, or find the one that an event of the same new chat has made at the same time."""
        thread_id = message.address.thread_id
        place = (target.agent_group_id, target.chat_id, thread_id)
        async with self._places.setdefault(place, asyncio.Lock()):
            found = await self._database.run(session_rows.find_active, *place)
            if found is not None:
                return found
            try:
                return await self._sessions.create(target.agent_group_id, target.group, target.chat_id, thread_id)
            except apsw.ConstraintError as error:
                raise NotFound("this chat or its agent was deleted in this moment", hint="ncl groups list") from error


def _storable(text: str) -> str:
    """Return a text with what UTF-8 can't hold (halves of characters, from JSON) replaced."""
    return text.encode(errors="replace").decode()


def _targets(connection: apsw.Connection, address: Address) -> list[_Target]:
    """Find who hears a chat, and the session of each, if it has one."""
    chat = chats.by_address(connection, address.channel_type, address.platform_id)
    if chat is None:
        return []
    targets = []
    for wiring in chats.wirings_of_chat(connection, chat.id):
        session = session_rows.find_active(connection, wiring.agent_group_id, chat.id, address.thread_id)
        group = session.group if session else chats.group_of_wiring(connection, wiring)
        targets.append(_Target(wiring.agent_group_id, group, chat.id, session))
    return targets
