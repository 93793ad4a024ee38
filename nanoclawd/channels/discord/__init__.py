"""Discord: servers' channels and their threads, and direct chats, by discord.py.

``create`` is the entry point. Importing this module imports discord.py, so nothing else in the daemon may do it.
"""

import logging
from collections.abc import Mapping

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.discord.adapter import DiscordAdapter
from nanoclawd.channels.discord.options import Options
from nanoclawd.channels.options import read_options

# What the library logs below a warning has whole payloads in it, and of requests the addresses, which for interactions
# have a token in them.
logging.getLogger("discord").setLevel(logging.WARNING)
logging.getLogger("discord.http").setLevel(logging.ERROR)
logging.getLogger("discord.client").setLevel(logging.ERROR)


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> DiscordAdapter:
    """Make an adapter that is not connected yet.

    Raises:
        InvalidOption: an option is unknown or wrong.
    """
    return DiscordAdapter(name, read_options(Options, options), places)
