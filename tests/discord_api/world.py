"""What is in this Discord: one server ("guild"), its channels and threads, direct chats, people, messages, files."""

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

EPOCH_MS = 1_420_070_400_000
"""Snowflakes: "Timestamp: 63 to 22: 42 bits: Milliseconds since Discord Epoch, the first second of 2015"."""

TEXT, DM, PUBLIC_THREAD = 0, 1, 11
"""Channel Types: GUILD_TEXT 0, DM 1, PUBLIC_THREAD 11."""

DEFAULT, REPLY, CHAT_INPUT_COMMAND, THREAD_STARTER = 0, 19, 20, 21
"""Message Types."""

GUILDS = 1 << 0
IN_GUILDS = {"messages": 1 << 9, "reactions": 1 << 10}
IN_DMS = {"messages": 1 << 12, "reactions": 1 << 13}
"""List of Intents: GUILD_MESSAGES 1 << 9, GUILD_MESSAGE_REACTIONS 1 << 10, DIRECT_MESSAGES 1 << 12, …"""

CONTENT_FLAG = 1 << 18
"""Application Flags: "GATEWAY_MESSAGE_CONTENT 1 << 18", for a bot in fewer than 100 servers "_LIMITED 1 << 19"."""

ATTACHMENT_LIFE_SECONDS = 24 * 3600
"""Signed Attachment CDN URLs: "ex: Hex timestamp indicating when an attachment CDN URL will expire"."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a message."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"


@dataclass
class Stored:
    """A file as the CDN has it."""

    content: bytes
    media_type: str
    signature: str = field(default_factory=lambda: secrets.token_hex(8))


class World:
    """The state of all. Events go out by :attr:`emit`."""

    def __init__(self, token: str, base: str = "") -> None:
        self.token = token
        self.base = base
        self.content_allowed = True
        self.emit: Callable[[str, dict[str, Any], int], None] = lambda _name, _data, _intent: None
        self._numbers = itertools.count()
        self._last_ms = 0
        bot_id = self.snowflake()
        self.bot = {"id": bot_id, "username": "helper", "discriminator": "0000", "avatar": None, "bot": True}
        self.application: dict[str, Any] = {"id": bot_id, "name": "helper", "flags": CONTENT_FLAG << 1, "bot": self.bot}
        self.people: dict[str, dict[str, Any]] = {}
        self.guilds: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, dict[str, Any]]] = {}
        self.files: dict[str, Stored] = {}
        self.members: dict[str, set[str]] = {}
        self.typing: list[str] = []
        self.commands: list[dict[str, Any]] = []
        self.hidden: list[dict[str, Any]] = []
        """What only one person sees: ephemeral answers to interactions."""
        self.unsent_dms: set[str] = set()
        """People who take no direct messages from the bot."""
        guild_id = self.snowflake()
        self.role = {"id": self.snowflake(), "name": "helper", "managed": True, "tags": {"bot_id": bot_id}}
        everyone = {"id": guild_id, "name": "@everyone", "managed": False}
        self.guilds[guild_id] = {"id": guild_id, "name": "Town", "roles": [everyone, self.role]}
        self.guild_id = guild_id

    def snowflake(self) -> str:
        """Return a new id, larger than all before it."""
        now = int(time.time() * 1000)
        self._last_ms = max(now, self._last_ms + 1)
        return str((self._last_ms - EPOCH_MS) << 22)

    # Places and people.

    def person(self, name: str) -> dict[str, Any]:
        """Return a person by name."""
        if name not in self.people:
            self.people[name] = {
                "id": self.snowflake(),
                "username": name.lower(),
                "global_name": name,
                "discriminator": "0",
            }
        return self.people[name]

    def channel(self, name: str) -> str:
        """Return the id of the server's text channel of a name; make it where there is none."""
        for one in self.channels.values():
            if one["type"] == TEXT and one["name"] == name:
                return str(one["id"])
        made = {"id": self.snowflake(), "type": TEXT, "name": name, "guild_id": self.guild_id, "last_message_id": None}
        self._add(made)
        self.emit("CHANNEL_CREATE", made, GUILDS)
        return str(made["id"])

    def rename(self, channel_id: str, name: str) -> None:
        """Give a channel another name."""
        self.channels[channel_id]["name"] = name
        self.emit("CHANNEL_UPDATE", self.channels[channel_id], GUILDS)

    def dm(self, name: str) -> str:
        """Return the id of a person's direct chat with the bot."""
        person = self.person(name)
        for one in self.channels.values():
            if one["type"] == DM and one["recipients"][0]["id"] == person["id"]:
                return str(one["id"])
        made = {"id": self.snowflake(), "type": DM, "recipients": [person], "last_message_id": None}
        self._add(made)
        return str(made["id"])

    def thread(self, parent: str, name: str, message_id: str | None = None) -> str:
        """Begin a thread; return its id.

        Start Thread from Message: "The id of the created thread will be the same as the id of the source message".
        """
        identity = message_id or self.snowflake()
        made = {
            "id": identity,
            "type": PUBLIC_THREAD,
            "name": name,
            "guild_id": self.guild_id,
            "parent_id": parent,
            "last_message_id": None,
            "thread_metadata": {"archived": False, "locked": False, "auto_archive_duration": 1440},
        }
        self._add(made)
        self.members[identity] = set()
        self.emit("THREAD_CREATE", made | {"newly_created": True}, GUILDS)
        return identity

    def whole_guild(self, guild: dict[str, Any]) -> dict[str, Any]:
        """Return what Guild Create tells: "channels", "threads: All active threads in the guild …"."""
        mine = [one for one in self.channels.values() if one.get("guild_id") == guild["id"]]
        return guild | {
            "channels": [one for one in mine if "parent_id" not in one],
            "threads": [one for one in mine if "parent_id" in one],
            "members": [],
            "member_count": len(self.people) + 1,
            "large": False,
            "unavailable": False,
        }

    def _add(self, channel: dict[str, Any]) -> None:
        self.channels[channel["id"]] = channel
        self.messages[channel["id"]] = {}

    # Messages.

    def post(
        self,
        channel_id: str,
        author: dict[str, Any],
        content: str,
        *,
        files: Sequence[File] = (),
        reply_to: str | None = None,
        more: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Add a message and dispatch it."""
        channel = self.channels[channel_id]
        quoted = self.messages[channel_id].get(reply_to) if reply_to else None
        known = [self.bot, *self.people.values()]
        mentioned = [one for one in known if f"<@{one['id']}>" in content or f"<@!{one['id']}>" in content]
        if quoted is not None and quoted["author"] not in mentioned:
            mentioned = [*mentioned, quoted["author"]]
        message = {
            "id": self.snowflake(),
            "type": REPLY if reply_to else DEFAULT,
            "channel_id": channel_id,
            "author": author,
            "content": content,
            "timestamp": datetime.now(UTC).isoformat(),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": "@everyone" in content,
            "mentions": mentioned,
            "mention_roles": [self.role["id"]] if f"<@&{self.role['id']}>" in content else [],
            "embeds": [],
            "components": [],
            "reactions": [],
            "flags": 0,
            "pinned": False,
        }
        message["attachments"] = [self.attach(channel_id, file) for file in files]
        if reply_to:
            message["message_reference"] = {"type": 0, "message_id": reply_to, "channel_id": channel_id}
            # "referenced_message: … If … null, the referenced message was deleted".
            message["referenced_message"] = quoted
        message |= more or {}
        self.messages[channel_id][message["id"]] = message
        channel["last_message_id"] = message["id"]
        self.emit("MESSAGE_CREATE", self._told(message), self._intent(channel_id, "messages"))
        return message

    def change(
        self, channel_id: str, message_id: str, changes: dict[str, Any], *, edited: bool = True
    ) -> dict[str, Any]:
        """Change a message and dispatch the update, which holds the whole message.

        ``edited`` False: as when the service adds a link's preview. "edited_timestamp: When this message was edited (or
        null if never)".
        """
        message = self.messages[channel_id][message_id]
        message |= changes
        if edited:
            message["edited_timestamp"] = datetime.now(UTC).isoformat()
        self.emit("MESSAGE_UPDATE", self._told(message), self._intent(channel_id, "messages"))
        return message

    def remove(self, channel_id: str, *message_ids: str) -> None:
        """Delete messages. Message Delete: "id, channel_id, guild_id?"; several at once: Message Delete Bulk."""
        for message_id in message_ids:
            del self.messages[channel_id][message_id]
        ids = {"id": message_ids[0]} if len(message_ids) == 1 else {"ids": list(message_ids)}
        name = "MESSAGE_DELETE" if len(message_ids) == 1 else "MESSAGE_DELETE_BULK"
        data = ids | {"channel_id": channel_id} | self._guild(channel_id)
        self.emit(name, data, self._intent(channel_id, "messages"))

    def react(self, channel_id: str, message_id: str, user: dict[str, Any], emoji: str) -> None:
        """React. Message Reaction Add has "user_id, channel_id, message_id, guild_id?, member?, emoji"."""
        message = self.messages[channel_id][message_id]
        if [user["id"], emoji] in message["reactions"]:
            return
        message["reactions"].append([user["id"], emoji])
        data = {
            "user_id": user["id"],
            "channel_id": channel_id,
            "message_id": message_id,
            "emoji": {"id": None, "name": emoji},
            "message_author_id": message["author"]["id"],
        }
        data |= self._guild(channel_id)
        if "guild_id" in data:
            data["member"] = {"user": user, "nick": None, "roles": []}
        self.emit("MESSAGE_REACTION_ADD", data, self._intent(channel_id, "reactions"))

    def _told(self, message: dict[str, Any]) -> dict[str, Any]:
        """Message Create: "guild_id?", "member?: … (doesn't exist in DMs)", beside the message."""
        place = self._guild(message["channel_id"])
        told = {key: value for key, value in message.items() if key != "reactions"} | place
        return told | {"member": {"nick": None, "roles": []}} if place else told

    def _guild(self, channel_id: str) -> dict[str, str]:
        guild_id = self.channels[channel_id].get("guild_id")
        return {"guild_id": guild_id} if guild_id else {}

    def _intent(self, channel_id: str, what: str) -> int:
        return (IN_GUILDS if self._guild(channel_id) else IN_DMS)[what]

    # Files.

    def attach(self, channel_id: str, file: File) -> dict[str, Any]:
        """Put a file on the CDN; return what a message says of it."""
        identity = self.snowflake()
        path = f"{channel_id}/{identity}/{file.name}"
        self.files[path] = Stored(file.content, file.media_type)
        return {
            "id": identity,
            "filename": file.name,
            "content_type": file.media_type,
            "size": len(file.content),
            "path": path,
            "url": self.signed(path),
        }

    def signed(self, path: str) -> str:
        """Return a file's URL, signed anew. "hm: Unique signature that remains valid until the URL's expiration"."""
        expires = int(time.time()) + ATTACHMENT_LIFE_SECONDS
        return f"{self.base}/attachments/{path}?ex={expires:x}&hm={self.files[path].signature}"

    def shown(self, channel_id: str) -> list[dict[str, Any]]:
        """Return what a person sees in a channel, in order: author, text, files, buttons, reactions."""
        return [
            {
                "id": one["id"],
                "author": one["author"]["username"],
                "text": one["content"],
                "files": [file["filename"] for file in one["attachments"]],
                "buttons": [button["label"] for row in one["components"] for button in row["components"]],
                "reactions": [emoji for _user, emoji in one["reactions"]],
                "pings": one.get("_pings", []),
            }
            for one in self.messages[channel_id].values()
        ]
