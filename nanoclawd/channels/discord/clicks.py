"""Answers interactions, that is clicks and slash commands, within the three seconds that the platform gives."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from nanoclawd.channels.adapter import Host
from nanoclawd.channels.discord import events, wire
from nanoclawd.channels.discord import outgoing as bodies
from nanoclawd.channels.discord.listener import Listener
from nanoclawd.channels.discord.places import Places
from nanoclawd.channels.discord.rest import FAILURES, Rest
from nanoclawd.errors import Unavailable
from nanoclawd.routing.event import Click

log = logging.getLogger(__name__)

COMMANDS: Final = ({"name": "help", "description": "What can be said to the assistant here", "type": 1},)

_ANSWER, _DEFERRED_UPDATE = 4, 6
_COMES: Final = "The answer comes in a moment, as a message here."
_UNKNOWN: Final = "This button is not one of the assistant's any more."
_MAX_AT_ONCE: Final = 200


class Clicks:
    """Interactions of one connected account. They do not wait for messages."""

    def __init__(
        self, host: Host, rest: Rest, listener: Listener, places: Places, application: Callable[[], str]
    ) -> None:
        self._host = host
        self._rest = rest
        self._listener = listener
        self._places = places
        self._application = application
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, data: Any) -> None:
        """Take an interaction as the gateway tells it; never raises, never waits."""
        if len(self._tasks) >= _MAX_AT_ONCE:
            log.warning("a click on Discord was dropped: too many are being handled")
            return
        task = asyncio.create_task(self._answer(data), name="discord interaction")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def close(self) -> None:
        """End what is being handled."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            log.warning("an interaction on Discord was skipped: %s", type(error).__name__)

    async def _answer(self, data: Any) -> None:
        event_id = str(data.get("id", ""))[:100] if isinstance(data, dict) else ""
        try:
            given = wire.read(data, wire.Interaction)
        except msgspec.ValidationError as error:
            log.warning("the interaction %s on Discord was skipped: %s", event_id, type(error).__name__)
            return
        if given.channel_id is None or given.person is None:
            return
        if given.type == wire.COMPONENT:
            await self._clicked(given, given.person, given.channel_id, data)
        elif given.type == wire.COMMAND:
            await self._commanded(given, given.channel_id, data)

    async def _clicked(self, given: wire.Interaction, person: wire.User, channel_id: str, data: Any) -> None:
        chosen = bodies.chosen(given.data.custom_id)
        # First of all: the person sees at once that the click has come. What it does to the card, the host decides.
        await self._say(partial(self._rest.answer, given, {"type": _DEFERRED_UPDATE}))
        words = _UNKNOWN
        if chosen is not None:
            words = await self._hand_in(given, person, channel_id, chosen, data)
        if words:
            body = {"content": bodies.cut(words), "flags": bodies.EPHEMERAL, "allowed_mentions": bodies.NOBODY}
            await self._say(partial(self._rest.follow_up, self._application(), given, body))

    async def _hand_in(
        self, given: wire.Interaction, person: wire.User, channel_id: str, chosen: tuple[str, str], data: Any
    ) -> str:
        said: list[str] = []

        async def work() -> None:
            place = await self._listener.place(channel_id, given.guild_id)
            name = (given.member.nick if given.member is not None else None) or person.shown
            click = Click(*chosen, events.user_id(person), self._places.address(place), name)
            said.append(await self._host.click(click))

        try:
            await self._host.handle(given.id, _without_token(data), work)
        except Unavailable as error:
            return error.message
        return said[-1] if said else ""

    async def _commanded(self, given: wire.Interaction, channel_id: str, data: Any) -> None:
        body = {"content": _COMES, "flags": bodies.EPHEMERAL}
        await self._say(partial(self._rest.answer, given, {"type": _ANSWER, "data": body}))

        async def work() -> None:
            place = await self._listener.place(channel_id, given.guild_id)
            event = events.from_command(given, place, self._places)
            if event is not None:
                await self._host.message(event)

        self._listener.put(channel_id, given.id, data, work)

    async def _say(self, request: Callable[[], Any]) -> None:
        """Make a request whose failure changes nothing: what was pressed counts."""
        try:
            await request()
        except FAILURES as error:
            log.warning("an interaction on Discord could not be answered: %s", type(error).__name__)


def _without_token(data: dict[str, Any]) -> str:
    return repr({key: value for key, value in data.items() if key != "token"})[:8192]
