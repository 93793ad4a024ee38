"""What people do, and what they see. Every method takes and returns what JSON can hold: tests call it over HTTP,
too."""

import asyncio
import base64
import re
import time
from typing import Any

from .rules import units
from .world import Chat, Clicked, Json, World

_COMMAND = re.compile(r"(?<!\S)/[A-Za-z0-9_]{1,32}(?:@(\w+))?")
_MENTION = re.compile(r"(?<!\w)@(\w{4,32})")
_FILE_KINDS = {"document", "photo", "voice", "audio", "video", "video_note", "animation", "sticker"}


class People:
    """The control side of the server."""

    def __init__(self, world: World) -> None:
        self.world = world

    # Who and where.

    def person(self, user: int, name: str, username: str | None = None, *, started: bool = True) -> int:
        """Have a person, and the chat with them, which has their id."""
        self.world.users[user] = {
            "id": user,
            "is_bot": False,
            "first_name": name,
            "language_code": "en",
            **({"username": username} if username else {}),
        }
        self.world.chats.setdefault(user, Chat(user, "private", name, started=started))
        return user

    def group(self, chat: int, title: str, *, kind: str = "supergroup", is_forum: bool = False) -> int:
        self.world.chats[chat] = Chat(chat, kind, title, is_forum=is_forum)
        return chat

    def topic(self, chat: int, user: int, name: str) -> int:
        """Open a forum topic; its thread's id is the id of the service message that opened it."""
        place = self.world.chats[chat]
        number = place.next_message
        place.topics[number] = name
        content = {"forum_topic_created": {"name": name, "icon_color": 7322096}}
        self._tell(place, self.world.add_message(place, self.world.users[user], content, thread=number))
        return number

    def privacy(self, *, reads_all: bool) -> None:
        """[Bot features, Privacy mode]: set at BotFather; [User, can_read_all_group_messages]"""
        self.world.me["can_read_all_group_messages"] = reads_all

    def block(self, chat: int, *, blocked: bool = True) -> None:
        self.world.chats[chat].blocked = blocked

    # Writing.

    def write(
        self,
        chat: int,
        user: int,
        text: str,
        *,
        thread: int | None = None,
        reply_to: int | None = None,
        quote: str | None = None,
        mentions: dict[str, int] | None = None,
        extra: Json | None = None,
    ) -> int:
        """Have somebody write; ``mentions`` are words that stand for people without a username."""
        content: Json = {"text": text, **self._entities("entities", text, mentions)}
        return self._say(chat, user, {**content, **(extra or {})}, thread, reply_to, quote)

    def write_all(self, messages: list[tuple[int, str]]) -> None:
        """Have people write at once, each in the chat with the bot: their ids and texts."""
        for user, text in messages:
            self.write(user, user, text)

    def send(
        self,
        chat: int,
        user: int,
        kind: str,
        content: str | None,
        *,
        name: str = "",
        media_type: str = "application/octet-stream",
        caption: str | None = None,
        thread: int | None = None,
        reply_to: int | None = None,
        size: int | None = None,
        extra: Json | None = None,
    ) -> int:
        """Have somebody send a file; ``content`` is base64, None: the service cannot give it."""
        assert kind in _FILE_KINDS
        data = None if content is None else base64.b64decode(content)
        file = self.world.keep(data, name, media_type, size)
        about = {"file_id": file.id, "file_unique_id": file.unique_id, "file_size": file.size}
        named = {"file_name": name} if name and kind in {"document", "audio", "video", "animation"} else {}
        typed = {"mime_type": media_type} if kind in {"document", "audio", "video", "animation", "voice"} else {}
        body: Any = {**about, **named, **typed, **_measures(kind)}
        if kind == "photo":  # [Message, photo] "Message is a photo, available sizes of the photo"
            small = self.world.keep(b"small", "", "image/jpeg")
            thumbnail = {
                "file_id": small.id,
                "file_unique_id": small.unique_id,
                "width": 90,
                "height": 90,
                "file_size": 5,
            }
            body = [thumbnail, {**about, "width": 800, "height": 600}]
        message: Json = {kind: body}
        if (
            kind == "animation"
        ):  # [Message, animation] "For backward compatibility, when this field is set, the document
            message["document"] = {**about, **named, **typed}  # field will also be set"
        if caption is not None:
            message |= {"caption": caption, **self._entities("caption_entities", caption, None)}
        return self._say(chat, user, {**message, **(extra or {})}, thread, reply_to, None)

    def share(self, chat: int, user: int, content: Json, *, thread: int | None = None) -> int:
        """Have somebody send what is neither words nor a file: ``{"location": {…}}``."""
        return self._say(chat, user, content, thread, None, None)

    def edit(self, chat: int, message: int, text: str) -> None:
        place = self.world.chats[chat]
        content = place.messages[message]
        key, entities = ("caption", "caption_entities") if "caption" in content else ("text", "entities")
        content.pop(entities, None)
        # [Message, edit_date] "Date the message was last edited in Unix time"
        content |= {key: text, "edit_date": int(time.time()), **self._entities(entities, text, None)}
        self._tell(place, content, "edited_message")

    def react(self, chat: int, message: int, user: int, emoji: str | None) -> None:
        """[MessageReactionUpdated]"""
        place = self.world.chats[chat]
        reactions = place.messages[message].setdefault("reactions", {})
        before = reactions.pop(str(user), None)
        if emoji:
            reactions[str(user)] = emoji
        self.world.tell(
            "message_reaction",
            {
                "chat": place.shown(),
                "message_id": message,
                "user": self.world.users[user],
                "date": int(time.time()),
                "old_reaction": _reaction(before),
                "new_reaction": _reaction(emoji),
            },
        )

    def click(self, chat: int, message: int, label: str, user: int) -> str:
        """Press a button; returns the query's id, for :meth:`answer`."""
        place = self.world.chats[chat]
        content = place.messages[message]
        rows = content.get("reply_markup", {}).get("inline_keyboard", [])
        (data,) = [one["callback_data"] for row in rows for one in row if one["text"] == label]
        number = str(10**15 + len(self.world.clicks))
        self.world.clicks[number] = Clicked()
        about = {"id": number, "from": self.world.users[user], "message": self._seen_by_bot(content), "data": data}
        self.world.tell("callback_query", {**about, "chat_instance": str(place.id)})
        return number

    async def answer(self, query: str, seconds: float = 20.0) -> str | None:
        """Wait for the bot's answer to a click, and return its words."""
        clicked = self.world.clicks[query]
        await self.until(lambda: clicked.is_answered, seconds)
        return clicked.answer

    def migrate(self, chat: int) -> int:
        """Make a group a supergroup. [Message, migrate_to_chat_id], [migrate_from_chat_id]"""
        old = self.world.chats[chat]
        new = Chat(-(10**12) + chat, "supergroup", old.title)
        self.world.chats[new.id] = new
        sender = next(iter(self.world.users.values()))
        told = self.world.add_message(old, sender, {"migrate_to_chat_id": new.id})
        arrived = self.world.add_message(new, sender, {"migrate_from_chat_id": old.id, "group_chat_created": False})
        old.migrated_to = new.id
        self.world.tell("message", told)
        self.world.tell("message", arrived)
        return new.id

    def rename(self, chat: int, title: str) -> None:
        """[Message, new_chat_title]"""
        place = self.world.chats[chat]
        place.title = title
        user = next(iter(self.world.users.values()))
        self.world.tell("message", self.world.add_message(place, user, {"new_chat_title": title}))

    # Seeing.

    def see(self, chat: int) -> list[Json]:
        """Return what the bot has said in a chat, as it is now: text, entities, buttons, files, reactions."""
        return [_seen(one, self.world) for one in self.world.chats[chat].messages.values() if one["from"]["is_bot"]]

    def history(self, chat: int) -> list[Json]:
        """Return all that is in a chat."""
        return [_seen(one, self.world) for one in self.world.chats[chat].messages.values()]

    def actions(self, chat: int) -> list[Json]:
        """Return the signs of work so far: what, in which topic, and how many seconds ago."""
        now = time.monotonic()
        found = self.world.chats[chat].actions
        return [{"action": action, "thread": thread, "ago": now - at} for action, thread, at in found]

    async def sees(self, chat: int, text: str, seconds: float = 20.0, *, after: int = 0) -> Json:
        """Wait until the bot has said something with a text in it (in a message above ``after``), and return it."""

        def found() -> Json | None:
            fitting = [one for one in self.see(chat) if one["message_id"] > after and text in one["text"]]
            return fitting[0] if fitting else None

        await self.until(lambda: found() is not None, seconds)
        seen = found()
        assert seen is not None
        return seen

    async def acknowledged(self, seconds: float = 20.0) -> None:
        """Wait until the bot has confirmed every update."""
        await self.until(lambda: not self.world.updates, seconds)

    async def until(self, condition: Any, seconds: float = 20.0) -> None:
        """Wait until something that happened here makes a condition true."""
        async with asyncio.timeout(seconds):
            while not condition():
                await self.world.news.wait()

    # Their own business.

    def _say(
        self, chat: int, user: int, content: Json, thread: int | None, reply_to: int | None, quote: str | None
    ) -> int:
        place = self.world.chats[chat]
        place.started = True
        if reply_to is not None:
            answered = {**place.messages[reply_to]}
            answered.pop("reply_to_message", None)  # [Message, reply_to_message] "will not contain further …"
            content["reply_to_message"] = answered
        elif thread is not None:
            # Observed: what is said in a topic without answering anybody answers the message that opened it.
            content["reply_to_message"] = place.messages[thread]
        if quote is not None:
            content["quote"] = {"text": quote, "position": 0, "is_manual": True}  # [TextQuote]
        message = self.world.add_message(place, self.world.users[user], content, thread=thread)
        self._tell(place, message)
        return int(message["message_id"])

    def _tell(self, place: Chat, message: Json, kind: str = "message") -> None:
        if place.type == "private" or self.world.me["can_read_all_group_messages"] or self._is_for_bot(message):
            self.world.tell(kind, self._seen_by_bot(message))
        else:
            self.world.news.set()

    def _is_for_bot(self, message: Json) -> bool:
        """[Bot features, Privacy mode] "bots with privacy mode will still receive: Commands explicitly meant for them
        …, replies to
        the bot's own messages, service messages, …"; and by observation messages that mention it.
        """
        text = message.get("text", message.get("caption", ""))
        me = f"@{self.world.me['username']}".lower()
        replied = message.get("reply_to_message", {}).get("from", {}).get("id") == self.world.me["id"]
        service = not {"text", "caption", *_FILE_KINDS, "location", "contact", "poll"} & set(message)
        return replied or service or me in text.lower() or bool(_COMMAND.match(text))

    def _seen_by_bot(self, message: Json) -> Json:
        return {key: value for key, value in message.items() if key not in {"reactions", "files", "sent"}}

    def _entities(self, key: str, text: str, mentions: dict[str, int] | None) -> Json:
        """[MessageEntity]: the service marks commands and mentions in what people write."""
        found: list[Json] = [
            {"type": "bot_command", "offset": units(text[: one.start()]), "length": units(one.group())}
            for one in _COMMAND.finditer(text)
        ]
        found += [
            {"type": "mention", "offset": units(text[: one.start()]), "length": units(one.group())}
            for one in _MENTION.finditer(text)
        ]
        for word, user in (mentions or {}).items():
            who = self.world.users.get(user, self.world.me)
            at = units(text[: text.index(word)])
            found.append({"type": "text_mention", "offset": at, "length": units(word), "user": who})
        return {key: sorted(found, key=lambda one: one["offset"])} if found else {}


def _measures(kind: str) -> Json:
    """The fields that [Voice], [Video], [Sticker] … have besides."""
    match kind:
        case "voice" | "audio":
            return {"duration": 7}
        case "video" | "animation":
            return {"duration": 7, "width": 640, "height": 480}
        case "video_note":
            return {"duration": 7, "length": 240}
        case "sticker":
            shape = {"width": 512, "height": 512, "is_animated": False, "is_video": False}
            return {"type": "regular", "emoji": "😀", **shape}
        case _:
            return {}


def _reaction(emoji: str | None) -> list[Json]:
    return [{"type": "emoji", "emoji": emoji}] if emoji else []


def _seen(message: Json, world: World) -> Json:
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    files = [world.files[one] for one in message.get("files", [])]
    return {
        "message_id": message["message_id"],
        "from": message["from"]["first_name"],
        "is_bot": message["from"]["is_bot"],
        "thread": message.get("message_thread_id"),
        "text": message.get("text", message.get("caption", "")),
        "entities": message.get("entities", message.get("caption_entities", [])),
        "buttons": [one["text"] for row in rows for one in row],
        "kind": message.get("sent", "text"),
        "files": [
            {"name": one.name, "size": one.size, "data": base64.b64encode((one.content or b"")[:65536]).decode()}
            for one in files
        ],
        "reactions": message.get("reactions", {}),
        "is_edited": "edit_date" in message,
        "reply_to": message.get("reply_to_message", {}).get("message_id"),
    }
