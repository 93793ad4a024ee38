"""Who is there: users, chats, messages, files, and the updates that wait for the bot."""

import asyncio
import itertools
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .rules import ALL_UPDATES, DEFAULT_UPDATES, ApiError, bad_request

type Json = dict[str, Any]


class News:
    """Something has happened: told everybody who waits just then."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def set(self) -> None:
        for one in self._waiting:
            if not one.done():
                one.set_result(None)

    async def wait(self) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(told)
        try:
            await told
        finally:
            self._waiting.discard(told)


@dataclass
class File:
    """A file that somebody sent; ``content`` None: the service has lost it."""

    content: bytes | None
    name: str
    media_type: str
    size: int
    id: str = field(default_factory=lambda: "F" + secrets.token_urlsafe(24))
    unique_id: str = field(default_factory=lambda: "U" + secrets.token_urlsafe(8))


@dataclass
class Chat:
    """A chat and what was said in it.

    Attributes:
        id: negative for groups, below -10**12 for supergroups.
        migrated_to: the supergroup that it has become.
        blocked: the person has blocked the bot, or the group has removed it.
        started: the person has written first. [FAQ] "Bots can't initiate conversations with users".
    """

    id: int
    type: str
    title: str
    is_forum: bool = False
    migrated_to: int | None = None
    blocked: bool = False
    started: bool = True
    messages: dict[int, Json] = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)
    actions: list[tuple[str, int | None, float]] = field(default_factory=list)
    next_message: int = 1

    def shown(self) -> Json:
        """Return the chat as [Chat] has it."""
        if self.type == "private":
            return {"id": self.id, "type": "private", "first_name": self.title}
        forum = {"is_forum": True} if self.is_forum else {}
        return {"id": self.id, "type": self.type, "title": self.title, **forum}


@dataclass
class Clicked:
    """A button that somebody pressed: what the bot answered, and when it was pressed."""

    answer: str | None = None
    is_answered: bool = False
    at: float = field(default_factory=time.monotonic)


class World:
    """All of it."""

    def __init__(self, username: str = "nano_test_bot") -> None:
        self.me: Json = {
            "id": 4242,
            "is_bot": True,
            "first_name": "Nano",
            "username": username,
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
        }
        self.users: dict[int, Json] = {}
        self.chats: dict[int, Chat] = {}
        self.files: dict[str, File] = {}
        self.clicks: dict[str, Clicked] = {}
        self.commands: list[Json] = []
        self.updates: deque[Json] = deque()
        self.allowed = DEFAULT_UPDATES
        self.news = News()
        self.confirmed = 0
        """The update id up to which the bot has confirmed."""
        self._update_ids = itertools.count(700_000_001)

    # Chats and messages.

    def chat(self, chat_id: object) -> Chat:
        """Return a chat for a request of the bot.

        Raises:
            ApiError: it does not exist, has moved, or has no place for the bot.
        """
        try:
            chat = self.chats[int(str(chat_id))]
        except (KeyError, ValueError):
            raise bad_request("chat not found") from None
        if chat.migrated_to is not None:
            # [ResponseParameters, migrate_to_chat_id] "The group has been migrated to a supergroup with the specified
            # identifier".
            raise bad_request("group chat was upgraded to a supergroup chat", migrate_to_chat_id=chat.migrated_to)
        if chat.blocked:
            reason = "bot was blocked by the user" if chat.type == "private" else "bot was kicked from the group chat"
            raise ApiError(403, f"Forbidden: {reason}")
        if not chat.started:
            raise ApiError(403, "Forbidden: bot can't initiate conversation with a user")
        return chat

    def add_message(self, chat: Chat, sender: Json, content: Json, *, thread: int | None = None) -> Json:
        """Put a message into a chat and return it as [Message] has it."""
        number = chat.next_message
        chat.next_message += 1
        # [Message, message_thread_id] "Unique identifier of a message thread to which the message belongs; for
        # supergroups
        # only"; [is_topic_message] "True, if the message is sent to a forum topic".
        topic = {"message_thread_id": thread, "is_topic_message": True} if thread is not None else {}
        message = {
            "message_id": number,
            "from": sender,
            "chat": chat.shown(),
            "date": int(time.time()),
            **topic,
            **content,
        }
        chat.messages[number] = message
        return message

    def message(self, chat: Chat, message_id: object, missing: str) -> Json:
        try:
            return chat.messages[int(str(message_id))]
        except (KeyError, ValueError):
            raise bad_request(missing) from None

    def keep(self, content: bytes | None, name: str, media_type: str, size: int | None = None) -> File:
        """Keep a file and return it."""
        file = File(content, name, media_type, len(content or b"") if size is None else size)
        self.files[file.id] = file
        return file

    # Updates.

    def tell(self, kind: str, content: Json) -> int | None:
        """Have an update wait for the bot, if it wants that kind; return its id."""
        if kind not in self.allowed:
            return None
        update = {"update_id": next(self._update_ids), kind: content}
        self.updates.append(update)
        self.news.set()
        return int(update["update_id"])

    def tell_raw(self, update: Json) -> int:
        """Have an update wait that is whatever a test says, under an id of its own."""
        numbered = {"update_id": next(self._update_ids), **update}
        self.updates.append(numbered)
        self.news.set()
        return int(numbered["update_id"])

    def allow(self, kinds: list[str] | None) -> None:
        """[getUpdates, allowed_updates]"""
        if kinds is not None:
            self.allowed = frozenset(kinds) & ALL_UPDATES if kinds else DEFAULT_UPDATES

    def waiting(self, offset: int, limit: int) -> list[Json]:
        """[getUpdates, offset] "An update is considered confirmed as soon as getUpdates is called with an offset higher
        than its
        update_id. The negative offset can be specified to retrieve updates starting from -offset update from the end of
        the
        updates queue. All previous updates will be forgotten."
        """
        if offset < 0:
            while len(self.updates) > -offset:
                self._confirm()
        while offset > 0 and self.updates and self.updates[0]["update_id"] < offset:
            self._confirm()
        return list(itertools.islice(self.updates, limit))

    def _confirm(self) -> None:
        self.confirmed = self.updates.popleft()["update_id"]
        self.news.set()
