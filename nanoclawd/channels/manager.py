"""All channels: those of the configuration, and the terminal. Each is kept up by itself; none can stop another."""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    AdapterFactory,
    Capabilities,
    ChannelAdapter,
    ChannelPlaces,
    Conversation,
    Inbound,
    InvalidOption,
)
from nanoclawd.channels.attempts import Attempts
from nanoclawd.channels.guard import is_storable, presentable
from nanoclawd.channels.keeper import ChannelKeeper, ChannelState, Pace
from nanoclawd.channels.registry import find_factory
from nanoclawd.channels.terminal import CHANNEL_TYPE, TerminalChannel
from nanoclawd.channels.terminal_files import TerminalFiles
from nanoclawd.config import Channel, Config
from nanoclawd.errors import InvalidName, NotFound

_FOR_TESTS: Final = frozenset({"loopback"})
_AFTER_MENDING: Final = "sudoedit /etc/nanoclawd/config.yaml && sudo systemctl restart nanoclawd"
_NOTHING: Final = Capabilities()


class ChannelManager:
    """Starts, keeps and asks the channels."""

    def __init__(
        self,
        config: Config,
        places: ChannelPlaces,
        *,
        find: Callable[[str], AdapterFactory] = find_factory,
        pace: Pace | None = None,
    ) -> None:
        """Prepare.

        Args:
            config: its channels, and whether those for tests are allowed.
            places: the directory below which each channel has its own state, and the one for sockets.
            find: returns the factory of a type.
            pace: bounds in time.
        """
        self.terminal = TerminalChannel(TerminalFiles(places.state / CHANNEL_TYPE))
        self.came_up: Callable[[str], None] = lambda _name: None
        """Called with a channel's name each time it has come up: people can be reached who could not be before."""
        self._places = places
        self._find = find
        self._allow_scripted = config.allow_scripted
        pace = pace or Pace()
        keepers = [ChannelKeeper(CHANNEL_TYPE, CHANNEL_TYPE, self._the_terminal, pace, self._attempts(CHANNEL_TYPE))]
        keepers += [
            ChannelKeeper(name, channel.type, partial(self._make, channel), pace, self._attempts(name))
            for name, channel in config.channels.items()
        ]
        self._keepers = {keeper.name: keeper for keeper in keepers}

    def start(self, inbound: Inbound) -> None:
        """Begin to set all channels up, side by side; returns at once and never fails."""
        for keeper in self._keepers.values():
            keeper.start(inbound, self._tell_came_up)

    async def stop(self) -> None:
        """Disconnect all channels; never raises."""
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()))

    def states(self) -> tuple[ChannelState, ...]:
        """Return how each channel is, the terminal first."""
        return tuple(keeper.state() for keeper in self._keepers.values())

    def known(self, name: str) -> bool:
        """Tell whether there is a channel of this name, up or not."""
        return name in self._keepers

    def adapter(self, name: str) -> ChannelAdapter | None:
        """Return a channel's adapter; None while it is not up, and where there is no such channel."""
        keeper = self._keepers.get(name)
        return keeper.adapter if keeper is not None else None

    def capabilities(self, name: str) -> Capabilities:
        """Return what a channel can; nothing where there is none, or where its adapter could not be made yet."""
        keeper = self._keepers.get(name)
        return keeper.capabilities if keeper is not None else _NOTHING

    async def made(self, name: str) -> None:
        """Return once it is known what a channel can, up or not; at once where there is no such channel.

        What comes from a channel comes after that. Who acts of their own accord after a start has to wait for it.
        """
        keeper = self._keepers.get(name)
        if keeper is not None:
            await keeper.made.wait()

    def of_platform(self, platform: str) -> tuple[str, ...]:
        """Return the channels of a platform: those that are up first, then in the configuration's order."""
        found = [keeper for keeper in self._keepers.values() if keeper.platform == platform]
        return tuple(keeper.name for keeper in sorted(found, key=lambda keeper: not keeper.up.is_set()))

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now.

        An unknown channel fails at once, and visibly (W-21). Deliveries to one that is down wait until it is up.
        """
        keeper = self._keepers.get(address.channel_type)
        return keeper is None or keeper.reachable(address)

    async def open_dm(self, name: str, handle: str) -> str | None:
        """Return the platform id of the direct chat with a person; None where they can't be reached there.

        Raises:
            NotFound: there is no such channel.
            Unavailable: it is down, failed or took too long.
        """
        found = await self._ask(name, lambda adapter: adapter.open_dm(handle))
        return found if found and is_storable(found) else None

    async def conversations(self, name: str) -> Sequence[Conversation]:
        """Return the chats that the channel's account is in; raises as :meth:`open_dm`."""
        found = await self._ask(name, lambda adapter: adapter.conversations())
        usable = (one for one in found if isinstance(one, Conversation) and is_storable(one.platform_id))
        return tuple(replace(one, name=presentable(one.name)) for one in usable)

    async def chat_name(self, name: str, platform_id: str) -> str | None:
        """Return a chat's shown name, if the platform tells it; raises as :meth:`open_dm`."""
        return presentable(await self._ask(name, lambda adapter: adapter.chat_name(platform_id)))

    async def subscribe(self, address: Address) -> None:
        """Have the platform send everything of a thread from now on; raises as :meth:`open_dm`."""
        await self._ask(address.channel_type, lambda adapter: adapter.subscribe(address))

    def _tell_came_up(self, name: str) -> None:
        self.came_up(name)

    async def _ask[Answer](self, name: str, question: Callable[[ChannelAdapter], Awaitable[Answer]]) -> Answer:
        keeper = self._keepers.get(name)
        if keeper is None:
            near = difflib.get_close_matches(name[:40], self._keepers, n=1)
            hint = f"did you mean {near[0]}?" if near else "ncl channels list"
            raise NotFound(f"there is no channel {name[:40]!r}", hint=hint)
        return await keeper.ask(question)

    def _attempts(self, name: str) -> Attempts:
        return Attempts(self._places.state / name / "events")

    async def _the_terminal(self) -> ChannelAdapter:
        return self.terminal

    async def _make(self, channel: Channel) -> ChannelAdapter:
        """Return a configured channel's adapter.

        Raises:
            InvalidName: the configuration is wrong; the message begins with file, line and key.
        """
        try:
            if channel.type in _FOR_TESTS and not self._allow_scripted:
                raise InvalidOption("type", f"{channel.type} is for tests and needs allow_scripted: true")
            return await asyncio.to_thread(self._build, channel)
        except InvalidName as error:
            option = error.option if isinstance(error, InvalidOption) else ""
            raise InvalidName(f"{channel.place(option)}: {error.message}", hint=error.hint or _AFTER_MENDING) from error

    def _build(self, channel: Channel) -> ChannelAdapter:
        factory = self._find(channel.type)
        state = self._places.state / channel.name
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return factory(channel.name, channel.options, ChannelPlaces(state, self._places.runtime))
