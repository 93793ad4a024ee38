"""Commands about the session itself: given by somebody who may, checked by the host, carried out between two turns."""

import asyncio
import logging
from collections.abc import Callable

from nanoclaw_runner.listing import listing
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers import base
from nanoclaw_runner.selection import CLEAR
from nanoclaw_runner.system_rows import Command

_log = logging.getLogger(__name__)

CLEARED = "Session cleared."
_OF_PROVIDER = frozenset({"compact", "context", "cost"})
_MAX_NAME_CHARACTERS = 40


async def carry_out(
    command: Command, provider: Callable[[], base.Provider], continuation: str | None, places: Places
) -> str:
    """Carry out a command and return the words for the person; it never raises for a provider's sake.

    Args:
        command: what is wanted.
        provider: loads the provider, which may be unusable: clearing and listing work all the same.
        continuation: the provider's conversation, where there is one.
        places: where the files are.
    """
    if command.name == "files":
        return await asyncio.to_thread(listing, places)
    if command.name != CLEAR and command.name not in _OF_PROVIDER:
        return f"There is no command /{_shown(command.name)} here."
    try:
        words = await provider().command(command.name, command.args, continuation)
    except base.UnusableProviderError as error:
        words = f"Error: {error}"
    except Exception as error:
        _log.exception("the provider failed at a command")
        words = f"Error: {error}"
    if command.name == CLEAR:
        # Whatever the provider could not delete is out of reach without its continuation, which goes now.
        return CLEARED
    return words or f"This agent's provider has no /{command.name}."


def _shown(name: str) -> str:
    return "".join(character for character in name if character.isprintable())[:_MAX_NAME_CHARACTERS]
