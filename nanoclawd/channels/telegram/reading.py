"""Reads Telegram's messages into the appliance's events. What is malformed raises; the caller sets that aside."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from telegram import Chat, Message, MessageEntity, MessageReactionUpdated, ReactionTypeEmoji, User

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.telegram.contents import files_of, words_of
from nanoclawd.routing.event import Change, InboundEvent, Quote, Sender

PLATFORM: Final = "telegram"
_GROUPS: Final = frozenset({"group", "supergroup", "channel"})
_KINDS: Final = _GROUPS | {"private"}
_ANONYMOUS: Final = 1087968824
"""Telegram's own account in whose name anonymous administrators write."""


@dataclass(frozen=True, slots=True)
class Me:
    """The bot itself; ``username`` without the sign."""

    id: int
    username: str


class Reader:
    """Reads for one channel and one bot."""

    def __init__(self, channel: str, me: Me) -> None:
        self._channel = channel
        self._me = me

    def address(self, chat: Chat, thread: int | None = None) -> Address:
        """Return a chat's address.

        Raises:
            ValueError: it is no chat.
        """
        if type(chat.id) is not int or chat.type not in _KINDS:
            raise ValueError("no chat")
        return Address(self._channel, str(chat.id), None if thread is None else str(thread))

    def message(self, message: Message) -> InboundEvent | None:
        """Return a message's event; None where nobody has said anything: a member came, a topic was opened."""
        text, files = words_of(message), files_of(message)
        if not text and not files:
            return None
        if self._is_for_another_bot(message):
            return None
        text, is_command = self._without_own_name(message, text)
        return InboundEvent(
            address=self.address(message.chat, _thread(message)),
            message_id=str(_number(message.message_id)),
            text=text,
            sender=_sender(message),
            is_mention=is_command or self._is_mention(message),
            is_group=message.chat.type in _GROUPS,
            chat_name=_chat_name(message.chat),
            timestamp=_time(message.date),
            quote=_quote(message),
            files=files,
        )

    def edited(self, message: Message) -> InboundEvent | None:
        """Return what an edit has made of a message; None where nothing that is read has changed."""
        text = words_of(message)
        if not text or message.location is not None:  # a live location moves all the time
            return None
        number = str(_number(message.message_id))
        at = message.edit_date or message.date
        return InboundEvent(
            address=self.address(message.chat, _thread(message)),
            message_id=f"{number}~edited~{int(at.timestamp())}~{_mark(text)}",
            text=text,
            sender=_sender(message),
            is_group=message.chat.type in _GROUPS,
            chat_name=_chat_name(message.chat),
            timestamp=_time(at),
            change=Change.EDITED,
            about=number,
        )

    def reacted(self, update: MessageReactionUpdated, thread: str | None) -> InboundEvent:
        """Return what somebody's reaction says; the text is empty where they took theirs away."""
        emoji = " ".join(
            one.emoji if isinstance(one, ReactionTypeEmoji) else "(a sticker)" for one in update.new_reaction
        )
        number = str(_number(update.message_id))
        user = update.user
        who = "" if user is None else str(user.id)
        address = self.address(update.chat)
        return InboundEvent(
            address=Address(self._channel, address.platform_id, thread),
            message_id=f"{number}~reacted~{int(update.date.timestamp())}~{_mark(f'{who} {emoji}')}",
            text=emoji,
            sender=Sender(None, _chat_name(update.actor_chat) or "") if user is None else person(user),
            is_group=update.chat.type in _GROUPS,
            timestamp=_time(update.date),
            change=Change.REACTED,
            about=number,
        )

    # Who is meant.

    def _is_mention(self, message: Message) -> bool:
        """Tell whether a message is for the bot: by its name, by naming it, or as an answer to what it said."""
        answered = message.reply_to_message
        if answered is not None and answered.forum_topic_created is None:
            author = answered.from_user
            if author is not None and author.id == self._me.id:
                return True
        text, entities = _formatted(message)
        return any(self._names_me(text, entity) for entity in entities)

    def _names_me(self, text: str, entity: MessageEntity) -> bool:
        match entity.type:
            case MessageEntity.TEXT_MENTION:
                return entity.user is not None and entity.user.id == self._me.id
            case MessageEntity.MENTION:
                return _part(text, entity).lower() == f"@{self._me.username}".lower()
            case MessageEntity.BOT_COMMAND:
                return _part(text, entity).lower().endswith(f"@{self._me.username}".lower())
            case _:
                return False

    def _is_for_another_bot(self, message: Message) -> bool:
        """Tell whether a message is a command that names another bot (``/stop@another_bot``): that one's business."""
        said, entities = _formatted(message)
        command = next((one for one in entities if one.type == MessageEntity.BOT_COMMAND and one.offset == 0), None)
        if command is None:
            return False
        _, _, name = _part(said, command).partition("@")
        return bool(name) and name.lower() != self._me.username.lower()

    def _without_own_name(self, message: Message, text: str) -> tuple[str, bool]:
        """Return a text whose command names this bot (``/help@this_bot``) without the name, and whether it does."""
        said, entities = _formatted(message)
        for entity in entities:
            if entity.type == MessageEntity.BOT_COMMAND and entity.offset == 0 and text == said:
                command, _, name = _part(said, entity).partition("@")
                if name.lower() == self._me.username.lower():
                    return command + text[len(command) + 1 + len(name) :], True
        return text, False


def person(user: User) -> Sender:
    """Return who a user is, by the id that nobody can change."""
    return Sender(f"{PLATFORM}:{_number(user.id)}", str(user.full_name))


def _sender(message: Message) -> Sender:
    """Return who wrote; who writes as a group or a channel is nobody that could have rights."""
    user = message.from_user
    if user is None or user.id == _ANONYMOUS or message.sender_chat is not None:
        return Sender(None, _chat_name(message.sender_chat or message.chat) or "")
    return person(user)


def _chat_name(chat: Chat | None) -> str | None:
    if chat is None:
        return None
    name = chat.title if chat.title is not None else chat.full_name
    return None if name is None else str(name)


def _thread(message: Message) -> int | None:
    """Return the forum topic, None for the general one and everywhere else: answers in groups have threads, too."""
    if message.is_topic_message and message.chat.type == "supergroup" and message.message_thread_id is not None:
        return _number(message.message_thread_id)
    return None


def _quote(message: Message) -> Quote | None:
    quoted = message.quote
    answered = message.reply_to_message
    if answered is not None and answered.forum_topic_created is None:
        author = _sender(answered)
        text = quoted.text if quoted is not None else words_of(answered) or _file_words(answered)
        return Quote(str(text), author.name, str(_number(answered.message_id)))
    if quoted is not None:
        return Quote(str(quoted.text))
    return None


def _file_words(message: Message) -> str:
    return " ".join(f"[{file.name or file.media_type}]" for file in files_of(message))


def _formatted(message: Message) -> tuple[str, tuple[MessageEntity, ...]]:
    if message.text is not None:
        return message.text, tuple(message.entities)
    return message.caption or "", tuple(message.caption_entities)


def _part(text: str, entity: MessageEntity) -> str:
    """Return an entity's characters; Telegram counts UTF-16 code units."""
    units = text.encode("utf-16-le")
    return units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le", errors="replace")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]


def _number(number: object) -> int:
    if type(number) is not int:
        raise ValueError("an id is no number")
    return number
