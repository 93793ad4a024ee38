"""What the gateway and the API send, as far as it is read: strictly, since anything may come."""

from typing import Annotated, Final

import msgspec

MAX_ID: Final = 19
"""Digits of an id: 63 bits."""

type Snowflake = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,19}$")]

DEFAULT, REPLY = 0, 19
SPOKEN = frozenset({DEFAULT, REPLY})
"""Types of messages that a person has written; others tell of joins, pins and the like."""

THREADS = frozenset({10, 11, 12})
"""Types of channels that are threads: of announcements, public, private."""

DIRECT = 1
SPEAKABLE = frozenset({0, 2, 5, 13})
"""Types of channels in which people can write: text, voice, announcements, stage."""

COMPONENT, COMMAND = 3, 2
"""Types of interactions."""

CONTENT_FLAGS = (1 << 18) | (1 << 19)
"""An application's flags that say that it may read what people write."""


class User(msgspec.Struct, frozen=True):
    """Somebody."""

    id: Snowflake
    username: str = ""
    global_name: str | None = None
    bot: bool = False

    @property
    def shown(self) -> str:
        """What people see of them where no server says otherwise."""
        return self.global_name or self.username


class Member(msgspec.Struct, frozen=True):
    """Somebody on a server."""

    nick: str | None = None
    user: User | None = None


class Attachment(msgspec.Struct, frozen=True):
    """A file of a message."""

    id: Snowflake
    filename: str = ""
    content_type: str | None = None
    size: int | None = None
    url: str = ""


class Sticker(msgspec.Struct, frozen=True):
    """A sticker of a message."""

    name: str = ""


class PollText(msgspec.Struct, frozen=True):
    """Words of a poll."""

    text: str | None = None


class PollAnswer(msgspec.Struct, frozen=True):
    """One answer of a poll."""

    poll_media: PollText = PollText()


class Poll(msgspec.Struct, frozen=True):
    """A poll."""

    question: PollText = PollText()
    answers: tuple[PollAnswer, ...] = ()


class Said(msgspec.Struct, frozen=True):
    """The part of a message that is said."""

    content: str = ""
    attachments: tuple[Attachment, ...] = ()


class Snapshot(msgspec.Struct, frozen=True):
    """A message that was forwarded."""

    message: Said = Said()


class Quoted(Said, frozen=True, kw_only=True):
    """A message that is answered."""

    id: Snowflake
    author: User


class Message(Said, frozen=True, kw_only=True):
    """A message."""

    id: Snowflake
    channel_id: Snowflake
    author: User
    type: int = DEFAULT
    timestamp: str | None = None
    edited_timestamp: str | None = None
    guild_id: Snowflake | None = None
    member: Member | None = None
    webhook_id: Snowflake | None = None
    mentions: tuple[User, ...] = ()
    mention_roles: tuple[Snowflake, ...] = ()
    referenced_message: Quoted | None = None
    sticker_items: tuple[Sticker, ...] = ()
    message_snapshots: tuple[Snapshot, ...] = ()
    poll: Poll | None = None


class Deletion(msgspec.Struct, frozen=True):
    """A message is gone."""

    id: Snowflake
    channel_id: Snowflake
    guild_id: Snowflake | None = None


class Deletions(msgspec.Struct, frozen=True):
    """Messages are gone."""

    ids: tuple[Snowflake, ...]
    channel_id: Snowflake
    guild_id: Snowflake | None = None


class Emoji(msgspec.Struct, frozen=True):
    """An emoji, or a server's own picture by its name."""

    name: str | None = None
    id: Snowflake | None = None


class Reacted(msgspec.Struct, frozen=True):
    """Somebody has reacted to a message."""

    user_id: Snowflake
    channel_id: Snowflake
    message_id: Snowflake
    emoji: Emoji
    guild_id: Snowflake | None = None
    member: Member | None = None


class Channel(msgspec.Struct, frozen=True):
    """A channel or thread."""

    id: Snowflake
    type: int = 0
    name: str | None = None
    parent_id: Snowflake | None = None
    guild_id: Snowflake | None = None
    last_message_id: Snowflake | None = None
    recipients: tuple[User, ...] = ()


class RoleTags(msgspec.Struct, frozen=True):
    """Whose role it is."""

    bot_id: Snowflake | None = None


class Role(msgspec.Struct, frozen=True):
    """A role on a server."""

    id: Snowflake
    tags: RoleTags | None = None


class RoleChange(msgspec.Struct, frozen=True):
    """A role was made or changed."""

    role: Role


class Guild(msgspec.Struct, frozen=True):
    """A server. Its channels are read one by one, so that a strange one hides no other."""

    id: Snowflake
    name: str = ""
    roles: tuple[dict[str, object], ...] = ()
    channels: tuple[dict[str, object], ...] = ()
    threads: tuple[dict[str, object], ...] = ()


class Threads(msgspec.Struct, frozen=True):
    """Threads that the bot sees from now on."""

    guild_id: Snowflake
    threads: tuple[dict[str, object], ...] = ()


class Posted(msgspec.Struct, frozen=True):
    """What was made: its id."""

    id: Snowflake


class Ready(msgspec.Struct, frozen=True):
    """A session has begun. The servers that the bot is on are told after it, one by one."""

    user: User
    guilds: tuple[Posted, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """What an interaction is about."""

    custom_id: str = ""
    name: str = ""


class Interaction(msgspec.Struct, frozen=True):
    """A click or a command. ``token`` is a secret for 15 minutes."""

    id: Snowflake
    token: str
    type: int
    channel_id: Snowflake | None = None
    guild_id: Snowflake | None = None
    data: Choice = Choice()
    member: Member | None = None
    user: User | None = None

    @property
    def person(self) -> User | None:
        """Who it was: told apart by where they did it."""
        return self.member.user if self.member is not None else self.user


class Application(msgspec.Struct, frozen=True):
    """The bot's application."""

    id: Snowflake
    flags: int = 0


class SessionStarts(msgspec.Struct, frozen=True):
    """How many sessions may still be begun."""

    remaining: int = 1
    reset_after: int = 0


class GatewayBot(msgspec.Struct, frozen=True):
    """Where the gateway is."""

    url: str
    shards: int = 1
    session_start_limit: SessionStarts = SessionStarts()


def is_id(text: str) -> bool:
    """Tell whether a text is an id of the platform's."""
    return text.isascii() and text.isdecimal() and len(text) <= MAX_ID


def read[Kind](data: object, kind: type[Kind]) -> Kind:
    """Return what was sent as what it should be.

    Raises:
        msgspec.ValidationError: it is something else.
    """
    try:
        return msgspec.convert(data, kind)
    except UnicodeEncodeError:
        raise msgspec.ValidationError("a key has half a character in it") from None


def read_each[Kind](many: tuple[dict[str, object], ...], kind: type[Kind]) -> list[Kind]:
    """Return those that are what they should be."""
    found: list[Kind] = []
    for one in many:
        try:
            found.append(read(one, kind))
        except msgspec.ValidationError:
            continue
    return found
