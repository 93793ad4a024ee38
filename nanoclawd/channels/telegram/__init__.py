"""Telegram, by its Bot API. ``create`` is the entry point; nothing else of the daemon imports this or its library."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.options import read_options
from nanoclawd.channels.setup import ChannelSetup, library_of
from nanoclawd.channels.telegram.options import Options

if TYPE_CHECKING:
    from nanoclawd.channels.telegram.adapter import TelegramAdapter

SETUP = ChannelSetup(
    secret="bot token",  # noqa: S106  # what it is called
    hint="On Telegram, write /newbot to @BotFather; it asks for a name, and gives the token of your bot.",
)


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> "TelegramAdapter":
    """Make an adapter; it connects in its setup. The library is imported here, for a channel that there is.

    Raises:
        InvalidOption: an option is unknown or wrong.
        Unavailable: the library is not installed.
    """
    with library_of("python3-python-telegram-bot"):
        from nanoclawd.channels.telegram.adapter import TelegramAdapter

    return TelegramAdapter(name, read_options(Options, options), places)
