"""What Telegram's updates ask for, each handed in."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from telegram import Bot, CallbackQuery, ChatMemberUpdated, Message, MessageReactionUpdated, Update
from telegram.error import TelegramError

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Host
from nanoclawd.channels.telegram.polling import raw_of
from nanoclawd.channels.telegram.reading import Me, Reader, person
from nanoclawd.channels.telegram.sending import BUTTON_PREFIX
from nanoclawd.errors import TooLarge
from nanoclawd.routing.event import Click

log = logging.getLogger(__name__)

_MAX_WORDS: Final = 200
_MAX_REMEMBERED: Final = 5000


class Events:
    """Reads updates for one channel."""

    def __init__(self, channel: str, me: Me, bot: Bot, host: Host) -> None:
        self._channel = channel
        self._bot = bot
        self._host = host
        self._reader = Reader(channel, me)
        self._threads: dict[tuple[int, str], int] = {}
        """The topics of messages: a reaction does not say in which it is."""

    async def handle(self, number: int, raw: Mapping[str, Any]) -> None:
        """Do all that an update asks for.

        Raises:
            Unavailable: it is to be handed in again.
        """
        await self._host.handle(str(number), raw_of(raw), lambda: self._work(raw))

    def remember(self, chat: int, message_id: str | None, thread: int | None) -> None:
        """Note in which topic a message is."""
        if thread is None or message_id is None:
            return
        self._threads[chat, message_id] = thread
        if len(self._threads) > _MAX_REMEMBERED:
            del self._threads[next(iter(self._threads))]

    async def _work(self, raw: Mapping[str, Any]) -> None:
        update = Update.de_json(dict(raw), self._bot)
        if update is None:
            raise ValueError("an update with nothing in it")
        new = update.message or update.channel_post
        changed = update.edited_message or update.edited_channel_post
        if new is not None:
            await self._message(new)
        elif changed is not None:
            event = self._reader.edited(changed)
            if event is not None:
                await self._host.message(event)
        elif update.callback_query is not None:
            await self._click(update.callback_query)
        elif update.message_reaction is not None:
            await self._reaction(update.message_reaction)
        elif update.my_chat_member is not None:
            await self._membership(update.my_chat_member)

    async def _message(self, message: Message) -> None:
        chat = self._reader.address(message.chat)
        if message.migrate_to_chat_id is not None:
            await self._host.chat_moved(chat, str(int(message.migrate_to_chat_id)))
            return
        if message.migrate_from_chat_id is not None:
            await self._host.chat_moved(
                Address(self._channel, str(int(message.migrate_from_chat_id))), chat.platform_id
            )
            return
        if message.new_chat_title is not None:
            await self._host.chat_named(chat, message.new_chat_title)
            return
        event = self._reader.message(message)
        if event is None:
            return
        if event.address.thread_id is not None:
            self.remember(message.chat.id, event.message_id, int(event.address.thread_id))
        try:
            await self._host.message(event)
        except TooLarge as error:
            with suppress(TelegramError):
                thread = None if event.address.thread_id is None else int(event.address.thread_id)
                await self._bot.send_message(message.chat.id, f"Not taken: {error.message}", message_thread_id=thread)

    async def _click(self, query: CallbackQuery) -> None:
        """Hand a click in and show its words; a button of somebody else's making does nothing."""
        card, _, number = (query.data or "").removeprefix(BUTTON_PREFIX).rpartition(":")
        if query.message is None or not card or not number.isdecimal() or not str(query.data).startswith(BUTTON_PREFIX):
            await self._answer(query, None)
            return
        chat = self._reader.address(query.message.chat)
        thread = self._threads.get((query.message.chat.id, str(query.message.message_id)))
        if isinstance(query.message, Message) and query.message.is_topic_message:
            thread = query.message.message_thread_id
        address = Address(self._channel, chat.platform_id, None if thread is None else str(thread))
        who = person(query.from_user)
        words = await self._host.click(Click(card, f"#{number}", who.user_id or "", address, who.name))
        await self._answer(query, words)

    async def _answer(self, query: CallbackQuery, words: str | None) -> None:
        with suppress(TelegramError):  # it may be too old by now
            await self._bot.answer_callback_query(query.id, words[:_MAX_WORDS] if words else None)

    async def _reaction(self, update: MessageReactionUpdated) -> None:
        thread = self._threads.get((update.chat.id, str(update.message_id)))
        await self._host.message(self._reader.reacted(update, None if thread is None else str(thread)))

    async def _membership(self, update: ChatMemberUpdated) -> None:
        """Note a chat's name when the bot comes in, and that a person can be reached again."""
        chat = self._reader.address(update.chat)
        name = update.chat.title or update.chat.full_name
        await self._host.chat_named(chat, name, is_group=update.chat.type != "private")
        if update.new_chat_member.status in {"member", "administrator"}:
            self._host.reachable_again(chat)
