"""Channels that connect to nothing."""

from collections.abc import Sequence

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.channels.adapter import Account, BaseAdapter, Capabilities, Conversation, Health, HealthState
from nanoclawd.channels.attempts import SetAside
from nanoclawd.channels.keeper import ChannelState
from nanoclawd.channels.setup import ChannelSetup, Question
from nanoclawd.config import Channel
from nanoclawd.errors import InvalidName, NotFound, Unavailable

LATER = "2099-01-01T00:00:00.000Z"
SETUP = ChannelSetup("pigeon's ring", "Every pigeon has one.", (Question("loft", "loft", "Where it lives."),))


class Channels:
    """Two that are there, and those that were added: each is as its last command left it."""

    def __init__(self) -> None:
        self.added: dict[str, ChannelState] = {}
        self.events = [SetAside("update-7", now_text(), "KeyError: 'chat'", '{"update_id": 7}')]

    def states(self) -> tuple[ChannelState, ...]:
        return (*self._fixed(), *self.added.values())

    def state(self, name: str) -> ChannelState:
        for one in self.states():
            if one.name == name:
                return one
        raise NotFound(f"there is no channel {name[:40]!r}", hint="ncl channels list")

    def configured(self, name: str) -> Channel | None:
        return Channel("telegram", {"poll": 30}, name, "config.yaml", {"": 7}) if name == "telegram" else None

    def allows(self, kind: str) -> bool:
        return kind != "loopback"

    async def check(self, channel: Channel) -> None:
        for key in channel.options:
            if key != "loft":
                raise InvalidName(f"option {key} of channel {channel.name}: unknown key; known here: loft")

    async def add(self, channel: Channel, *, enabled: bool) -> None:
        self._put(channel.name, HealthState.OK if enabled else HealthState.DISABLED)

    async def remake(self, channel: Channel) -> None:
        self._put(channel.name, HealthState.OK)

    async def enable(self, name: str) -> None:
        self._put(name, HealthState.OK)

    async def disable(self, name: str) -> None:
        self._put(name, HealthState.DISABLED)

    async def remove(self, name: str) -> None:
        del self.added[name]

    async def test(self, name: str) -> Account | None:
        state = self.state(name)
        if state.health.state is not HealthState.OK or name == "terminal":
            return None
        return Account(f"@{name}", f"ncl wirings create {name}:1 main")

    async def set_aside(self, name: str) -> Sequence[SetAside]:
        self.state(name)
        return self.events if name == "telegram" else ()

    async def clear_set_aside(self, name: str) -> int:
        cleared = len(await self.set_aside(name))
        self.events = []
        return cleared

    def _put(self, name: str, health: HealthState) -> None:
        self.added[name] = ChannelState(name, "carrier", "carrier", Health(health), now_text(), None, Capabilities())

    def _fixed(self) -> tuple[ChannelState, ...]:
        now = now_text()
        bad = Health(HealthState.FAILED, "the token was refused", "ncl doctor")
        return (
            ChannelState("terminal", "terminal", "terminal", Health(HealthState.OK), now, None, Capabilities()),
            ChannelState(
                "telegram",
                "telegram",
                "telegram",
                bad,
                now,
                LATER,
                Capabilities(buttons=True, edits=True),
                last_error="the token was refused",
                last_error_at=now,
                set_aside=len(self.events),
            ),
        )

    def known(self, name: str) -> bool:
        return name in {one.name for one in self.states()}

    def adapter(self, name: str) -> BaseAdapter | None:
        """Return what has no links of its own."""
        return BaseAdapter() if self.state(name).health.state is HealthState.OK else None

    def capabilities(self, name: str) -> Capabilities:
        return Capabilities(threads=name == "telegram")

    async def conversations(self, name: str) -> Sequence[Conversation]:
        if name == "telegram":
            raise Unavailable("the channel telegram is not up", hint="ncl channels list")
        return (Conversation("root/main", "root's terminal", is_group=False),)
