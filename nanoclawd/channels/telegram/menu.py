"""The commands that Telegram's apps show beside the field in which people write."""

import logging
from typing import Final

from telegram import Bot, BotCommand
from telegram.error import TelegramError

log = logging.getLogger(__name__)

COMMANDS: Final = (
    BotCommand("help", "What can be said here"),
    BotCommand("status", "What is going on"),
    BotCommand("whoami", "Who you are here"),
    BotCommand("stop", "Drop what was asked and is not answered yet"),
    BotCommand("clear", "Forget this conversation (administrators)"),
    BotCommand("compact", "Shorten what is remembered of it (administrators)"),
    BotCommand("context", "How much is remembered (administrators)"),
    BotCommand("cost", "What it has cost (administrators)"),
    BotCommand("files", "List what was made (administrators)"),
)
"""Those of nanoclawd.routing.commands that can be given in a chat."""


async def show_menu(bot: Bot, channel: str) -> None:
    """Have Telegram know the commands, unless it does. Without them all works as well: whatever fails is left."""
    try:
        if tuple(await bot.get_my_commands()) != COMMANDS:
            await bot.set_my_commands(COMMANDS)
    except TelegramError as error:
        log.info("channel %s: Telegram's menu of commands is not brought up to date: %s", channel, error)
