"""Discord: servers' channels and their threads, and direct chats. ``create`` is the entry point.

discord.py is imported when a channel is made, and by nothing else of the daemon: six megabytes that others do not need.
"""

import logging
from collections.abc import Mapping

from nanoclawd.channels.adapter import ChannelAdapter, ChannelPlaces
from nanoclawd.channels.discord.options import Options
from nanoclawd.channels.options import read_options
from nanoclawd.channels.setup import ChannelSetup, library_of

SETUP = ChannelSetup(
    secret="bot token",  # noqa: S106  # what it is called
    hint=(
        "Discord's bots are made at https://discord.com/developers/applications: New Application; then, under Bot, "
        "switch Message Content Intent on, and Reset Token shows the bot token."
    ),
)


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> ChannelAdapter:
    """Make an adapter that is not connected yet.

    Raises:
        InvalidOption: an option is unknown or wrong.
        Unavailable: the library is not installed.
    """
    with library_of("python3-discord"):
        from nanoclawd.channels.discord.adapter import DiscordAdapter
    # What the library logs below a warning has whole payloads in it, and of requests the addresses, which for
    # interactions have a token in them.
    logging.getLogger("discord").setLevel(logging.WARNING)
    logging.getLogger("discord.http").setLevel(logging.ERROR)
    logging.getLogger("discord.client").setLevel(logging.ERROR)
    return DiscordAdapter(name, read_options(Options, options), places)
