"""Telegram, by its Bot API. ``create`` is the entry point; nothing else of the daemon imports this or its library."""

from collections.abc import Mapping

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.options import read_options
from nanoclawd.channels.telegram.adapter import TelegramAdapter
from nanoclawd.channels.telegram.options import Options


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> TelegramAdapter:
    """Make an adapter; it connects in its setup.

    Raises:
        InvalidOption: an option is unknown or wrong.
    """
    return TelegramAdapter(name, read_options(Options, options), places)
