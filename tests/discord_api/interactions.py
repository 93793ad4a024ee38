"""Interactions: what people do with buttons and slash commands, and how the app answers."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .rules import EPHEMERAL
from .world import CHAT_INPUT_COMMAND, World

ANSWER_SECONDS = 3.0
"""Interaction Callback: "you must send an initial response within 3 seconds of receiving the event"."""

TOKEN_SECONDS = 15 * 60.0
"""Followup Messages: "Interaction tokens are valid for 15 minutes"."""

MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE = 4, 5, 6, 7
"""Interaction Callback Type; 6 and 7: "Only valid for component-based interactions"."""


@dataclass
class Interaction:
    """One of them."""

    id: str
    token: str
    channel: str
    person: str
    message: str | None
    began: float = field(default_factory=time.monotonic)
    answer: int | None = None
    failed: bool = False
    answered_in: float = 0.0
    words: list[str] = field(default_factory=list)
    """What only the person sees."""


class Interactions:
    """All of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[str, Interaction] = {}
        self._watching: set[asyncio.Task[None]] = set()

    def click(self, name: str, channel_id: str, message_id: str, custom_id: str) -> Interaction:
        """Have a person press a button. Type 3 is MESSAGE_COMPONENT; component type 2 a button."""
        message = self.world.messages[channel_id][message_id]
        data = {"component_type": 2, "custom_id": custom_id}
        return self._begin(name, channel_id, 3, data, message)

    def slash(self, name: str, channel_id: str, command: str) -> Interaction:
        """Have a person give a command. Type 2 is APPLICATION_COMMAND."""
        known = next(one for one in self.world.commands if one["name"] == command)
        return self._begin(name, channel_id, 2, {"id": known["id"], "name": command, "type": 1}, None)

    def _begin(
        self, name: str, channel_id: str, kind: int, data: dict[str, Any], message: dict[str, Any] | None
    ) -> Interaction:
        identity, person = self.world.snowflake(), self.world.person(name)
        made = Interaction(identity, secrets.token_urlsafe(40), channel_id, name, message["id"] if message else None)
        self.known[identity] = made
        channel = self.world.channels[channel_id]
        event: dict[str, Any] = {
            "id": identity,
            "application_id": self.world.application["id"],
            "type": kind,
            "data": data,
            "channel_id": channel_id,
            "channel": channel,
            "token": made.token,
            "version": 1,
        }
        if message is not None:
            event["message"] = message
        # "member?: … for the invoking user, including permissions … only sent when invoked in a guild"; "user" in DMs.
        if "guild_id" in channel:
            event |= {"guild_id": channel["guild_id"], "member": {"user": person, "nick": None, "roles": []}}
        else:
            event["user"] = person
        self.world.emit("INTERACTION_CREATE", event, 0)
        task = asyncio.get_running_loop().create_task(self._watch(made))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return made

    async def _watch(self, made: Interaction) -> None:
        """After three seconds the person reads "This interaction failed", and the token is no more."""
        await asyncio.sleep(ANSWER_SECONDS)
        made.failed = made.answer is None

    async def callback(self, request: web.Request) -> Any:
        """Create Interaction Response."""
        from .rest import ApiError

        made = self.known.get(request.match_info["interaction"])
        if made is None or made.token != request.match_info["token"] or made.failed:
            raise ApiError(404, 10062, "Unknown interaction")
        if made.answer is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        body = await request.json()
        kind = body.get("type")
        allowed = {MESSAGE, DEFERRED_MESSAGE} | ({DEFERRED_UPDATE, UPDATE} if made.message else set())
        if kind not in allowed:
            raise ApiError(400, 50035, "Invalid Form Body", {"type": "Value must be one of the allowed types."})
        made.answer, made.answered_in = kind, time.monotonic() - made.began
        data = body.get("data") or {}
        if kind == MESSAGE:
            self._say(made, data)
        elif kind == UPDATE and made.message is not None:
            self.world.change(
                made.channel, made.message, {key: data[key] for key in ("content", "components") if key in data}
            )

    async def follow_up(self, request: web.Request) -> Any:
        """Create Followup Message, with the interaction's token in the place of a webhook's."""
        from .rest import ApiError

        made = next((one for one in self.known.values() if one.token == request.match_info["token"]), None)
        if made is None or made.answer is None or made.began < time.monotonic() - TOKEN_SECONDS:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        self._say(made, await request.json())
        return {"id": self.world.snowflake(), "channel_id": made.channel}

    def _say(self, made: Interaction, data: dict[str, Any]) -> None:
        content = data.get("content") or ""
        if (data.get("flags") or 0) & EPHEMERAL:
            made.words.append(content)
            self.world.hidden.append({"person": made.person, "channel": made.channel, "text": content})
        else:
            self.world.post(made.channel, self.world.bot, content, more={"type": CHAT_INPUT_COMMAND})
