"""What people do and see, and the accidents; by methods here, or over HTTP from another process."""

import base64
from collections.abc import Sequence
from typing import Any

from .gateway import Gateway
from .interactions import Interactions
from .rest import Failure, Rest
from .world import File, World


class Control:
    """The other side. Channels and messages are named by their ids, people by their names."""

    def __init__(self, world: World, gateway: Gateway, rest: Rest, interactions: Interactions) -> None:
        self._world = world
        self._gateway = gateway
        self._rest = rest
        self._interactions = interactions

    def by_name(self, what: str, arguments: dict[str, Any]) -> Any:
        """Call a method with arguments of JSON.

        Raises:
            AttributeError: there is none of that name.
            KeyError, TypeError, ValueError: its arguments are wrong.
        """
        if what.startswith("_") or what == "by_name":
            raise AttributeError(what)
        return getattr(self, what)(**arguments)

    # Places.

    def channel(self, name: str) -> str:
        """Return a text channel's id."""
        return self._world.channel(name)

    def dm(self, who: str) -> str:
        """Return a person's direct chat with the bot."""
        return self._world.dm(who)

    def thread(self, parent: str, name: str, message: str | None = None) -> str:
        """Begin a thread."""
        return self._world.thread(parent, name, message)

    def user_id(self, who: str) -> str:
        """Return a person's id."""
        return str(self._world.person(who)["id"])

    def rename(self, channel: str, name: str) -> None:
        """Give a channel another name."""
        self._world.rename(channel, name)

    # Messages.

    def say(
        self,
        channel: str,
        text: str,
        who: str = "Alice",
        *,
        mention: bool = False,
        role_mention: bool = False,
        reply_to: str | None = None,
        files: Sequence[Any] = (),
        more: dict[str, Any] | None = None,
    ) -> str:
        """Write; return the message's id. A file is a :class:`File`, or its name and base64 of its content."""
        if mention:
            text = f"<@{self._world.bot['id']}> {text}"
        if role_mention:
            text = f"<@&{self._world.role['id']}> {text}"
        given = [
            one
            if isinstance(one, File)
            else File(one["name"], base64.b64decode(one["data"]), one.get("type", "text/plain"))
            for one in files
        ]
        author = self._world.person(who)
        return str(self._world.post(channel, author, text, files=given, reply_to=reply_to, more=more)["id"])

    def say_all(self, messages: list[tuple[str, str]]) -> None:
        """Write at once in channels: their ids and texts."""
        for channel, text in messages:
            self.say(channel, text)

    def edit(self, channel: str, message: str, text: str) -> None:
        """Change one's message."""
        self._world.change(channel, message, {"content": text})

    def preview(self, channel: str, message: str) -> None:
        """Have the service add a link's preview to a message: an update that nobody wrote."""
        self._world.change(channel, message, {"embeds": [{"title": "a page"}]}, edited=False)

    def delete(self, channel: str, *messages: str, message: str | None = None) -> None:
        """Delete messages."""
        self._world.remove(channel, *([message] if message else messages))

    def react(self, channel: str, message: str, emoji: str, who: str = "Alice") -> None:
        """React to a message."""
        self._world.react(channel, message, self._world.person(who), emoji)

    def click(self, channel: str, message: str, label: str, who: str = "Alice") -> str:
        """Press a button; return the interaction's id."""
        rows = self._world.messages[channel][message]["components"]
        button = next(one for row in rows for one in row["components"] if one["label"] == label)
        return self._interactions.click(who, channel, message, button["custom_id"]).id

    def slash(self, channel: str, command: str, who: str = "Alice") -> str:
        """Give a slash command; return the interaction's id."""
        return self._interactions.slash(who, channel, command).id

    # What is seen.

    def shown(self, channel: str) -> list[dict[str, Any]]:
        """Return the channel's messages, as a person sees them."""
        return self._world.shown(channel)

    def texts(self, channel: str) -> list[str]:
        """Return the texts that the bot wrote in a channel."""
        return [one["text"] for one in self._world.shown(channel) if one["author"] == self._world.bot["username"]]

    def file(self, channel: str, message: str, number: int = 0) -> str:
        """Return a message's file in base64."""
        path = self._world.messages[channel][message]["attachments"][number]["path"]
        return base64.b64encode(self._world.files[path].content).decode()

    def interaction(self, identity: str) -> dict[str, Any]:
        """Return what became of a click or a command."""
        one = self._interactions.known[identity]
        return {"answer": one.answer, "failed": one.failed, "words": one.words, "seconds": one.answered_in}

    def joined(self, thread: str) -> bool:
        """Tell whether the bot is a member of a thread."""
        return self._world.bot["id"] in self._world.members[thread]

    def typed(self, channel: str) -> int:
        """Return how often typing was shown in a channel."""
        return self._world.typing.count(channel)

    def requests(self, pattern: str = "") -> int:
        """Return how many requests there were whose ``METHOD /path`` has a text."""
        return sum(pattern in name for _at, name in self._rest.log)

    def moments(self) -> dict[str, Any]:
        """Return when messages were told, and when the bot's came: wall-clock seconds, channel, text."""
        return {"told": list(self._gateway.told), "came": list(self._rest.came)}

    def counts(self) -> dict[str, Any]:
        """Return what the server has counted."""
        return {
            "connections": len(self._gateway.connections),
            "identified": len(self._gateway.identified),
            "resumed": self._gateway.resumed,
            "exceeded": self._rest.buckets.exceeded,
            "repeats": len(self._rest.repeats),
        }

    # Accidents.

    def fail(self, pattern: str, **how: Any) -> None:
        """Have the next requests of a kind fail: see :class:`Failure`."""
        self._rest.failures.append(Failure(pattern, **how))

    def calm(self) -> None:
        """Have no more accidents."""
        self._rest.failures.clear()
        self.away(away=False)

    def cut(self) -> None:
        """End all gateway connections without a word."""
        self._gateway.cut()

    def away(self, *, away: bool) -> None:
        """Have the service be away: gateway and API answer 503."""
        self._gateway.refusing = self._rest.refusing = away
        if away:
            self._gateway.cut()

    def reconnect(self) -> None:
        """Have the gateway ask for a reconnect."""
        self._gateway.reconnect()

    def invalidate(self, *, resumable: bool) -> None:
        """Have the gateway call the session invalid."""
        self._gateway.invalidate(resumable=resumable)
