"""All channels: the terminal, those of the configuration, and those that were added by command.

Each is kept up by itself; none can stop another.
"""

import asyncio
import difflib
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    Account,
    AdapterFactory,
    Capabilities,
    ChannelAdapter,
    ChannelPlaces,
    Conversation,
    Inbound,
    InvalidOption,
)
from nanoclawd.channels.attempts import Attempts, SetAside
from nanoclawd.channels.bounded import bounded
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
_KEYS_SECONDS: Final = 50.0
"""Many thousands of them, and a passphrase that takes its time, on a small machine."""


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
        self._configured = dict(config.channels)
        self._disabled: set[str] = set()
        self._pace = pace
        self._inbound: Inbound | None = None

    def start(self, inbound: Inbound) -> None:
        """Begin to set all channels up, side by side; returns at once and never fails."""
        self._inbound = inbound
        for keeper in self._keepers.values():
            if keeper.name not in self._disabled:
                keeper.start(inbound, self._tell_came_up)

    async def stop(self) -> None:
        """Disconnect all channels; never raises."""
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()))

    # Channels that were added by command come and go while the daemon runs.

    async def check(self, channel: Channel) -> None:
        """Return if an adapter can be made of a channel's options.

        Raises:
            InvalidName: it can't; the message names the option.
            Exception: whatever the package raises.
        """
        state = self._places.state / channel.name
        was_there = await asyncio.to_thread(state.exists)
        try:
            await bounded(self._make(channel), self._pace.setup, f"making channel {channel.name}")
        except BaseException:
            if not was_there:
                await asyncio.to_thread(shutil.rmtree, state, ignore_errors=True)
            raise

    async def add(self, channel: Channel, *, enabled: bool) -> None:
        """Keep one more channel from now on."""
        keeper = ChannelKeeper(
            channel.name, channel.type, partial(self._make, channel), self._pace, self._attempts(channel.name)
        )
        self._keepers[channel.name] = keeper
        if not enabled:
            await self.disable(channel.name)
        elif self._inbound is not None:
            keeper.start(self._inbound, self._tell_came_up)

    async def remake(self, channel: Channel) -> None:
        """Set a channel up anew with other options, unless it is disabled."""
        keeper = self._keepers[channel.name]
        await keeper.remake(partial(self._make, channel))
        if channel.name in self._disabled:
            await keeper.disable()
        elif self._inbound is not None:
            keeper.start(self._inbound, self._tell_came_up)

    async def enable(self, name: str) -> None:
        """Set a channel up that was disabled; one that is not is left alone."""
        if name in self._disabled and self._inbound is not None:
            self._disabled.discard(name)
            self._keepers[name].start(self._inbound, self._tell_came_up)

    async def disable(self, name: str) -> None:
        """Disconnect a channel; what is to be delivered there waits."""
        self._disabled.add(name)
        await self._keepers[name].disable()

    async def remove(self, name: str) -> None:
        """Disconnect a channel for good, and forget what it has kept; what was to be delivered there fails visibly."""
        keeper = self._keepers.pop(name)
        self._disabled.discard(name)
        await keeper.stop()
        if self._inbound is not None:
            keeper.give_up_waiting(self._inbound)
        await asyncio.to_thread(shutil.rmtree, self._places.state / name, ignore_errors=True)

    async def test(self, name: str) -> Account | None:
        """Return as whom a channel is connected, asked of the platform now; None: it is not up, or has no accounts.

        A channel that is being set up, or waits for the next attempt, is waited for: for one attempt.

        Raises:
            NotFound: there is no such channel.
            Unavailable: it is up, and the platform does not answer.
        """
        keeper = self._keeper(name)
        await keeper.outcome()
        return await keeper.ask(lambda adapter: adapter.account()) if keeper.up.is_set() else None

    async def set_aside(self, name: str) -> Sequence[SetAside]:
        """Return the events of a channel that were given up, the oldest first.

        Raises:
            NotFound: there is no such channel.
        """
        attempts = self._keeper(name).attempts
        return await asyncio.to_thread(attempts.all_set_aside) if attempts.set_aside_count else ()

    async def clear_set_aside(self, name: str) -> int:
        """Forget the events of a channel that were given up; return how many; raises as :meth:`set_aside`."""
        attempts = self._keeper(name).attempts
        return await asyncio.to_thread(attempts.clear) if attempts.set_aside_count else 0

    def allows(self, kind: str) -> bool:
        """Tell whether channels of a type may be here: those for tests need a word in the configuration."""
        return kind not in _FOR_TESTS or self._allow_scripted

    def configured(self, name: str) -> Channel | None:
        """Return a channel of the configuration file, or None."""
        return self._configured.get(name)

    def state(self, name: str) -> ChannelState:
        """Return how a channel is.

        Raises:
            NotFound: there is no such channel.
        """
        return self._keeper(name).state()

    # What others ask of them.

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

    async def export_keys(self, name: str, passphrase: str) -> bytes:
        """Return a channel's keys as a file; raises as :meth:`open_dm`, and Refused where it does not encrypt."""
        keeper = self._keeper(name)
        return await keeper.ask(lambda adapter: adapter.export_keys(passphrase), seconds=_KEYS_SECONDS, refusable=True)

    async def import_keys(self, name: str, content: bytes, passphrase: str) -> int:
        """Have a channel learn keys from a file; return how many were new. Raises as :meth:`export_keys`."""
        keeper = self._keeper(name)
        return await keeper.ask(
            lambda adapter: adapter.import_keys(content, passphrase), seconds=_KEYS_SECONDS, refusable=True
        )

    async def chat_name(self, name: str, platform_id: str) -> str | None:
        """Return a chat's shown name, if the platform tells it; raises as :meth:`open_dm`."""
        return presentable(await self._ask(name, lambda adapter: adapter.chat_name(platform_id)))

    async def subscribe(self, address: Address) -> None:
        """Have the platform send everything of a thread from now on; raises as :meth:`open_dm`."""
        await self._ask(address.channel_type, lambda adapter: adapter.subscribe(address))

    def _tell_came_up(self, name: str) -> None:
        self.came_up(name)

    async def _ask[Answer](self, name: str, question: Callable[[ChannelAdapter], Awaitable[Answer]]) -> Answer:
        return await self._keeper(name).ask(question)

    def _keeper(self, name: str) -> ChannelKeeper:
        keeper = self._keepers.get(name)
        if keeper is None:
            near = difflib.get_close_matches(name[:40], self._keepers, n=1)
            hint = f"did you mean {near[0]}?" if near else "ncl channels list"
            raise NotFound(f"there is no channel {name[:40]!r}", hint=hint)
        return keeper

    def _attempts(self, name: str) -> Attempts:
        return Attempts(self._places.state / name / "events")

    async def _the_terminal(self) -> ChannelAdapter:
        return self.terminal

    async def _make(self, channel: Channel) -> ChannelAdapter:
        """Return a channel's adapter.

        Raises:
            InvalidName: an option is wrong; the message begins with file, line and key where it stands in a file.
        """
        try:
            if not self.allows(channel.type):
                raise InvalidOption("type", f"{channel.type} is for tests and needs allow_scripted: true")
            return await asyncio.to_thread(self._build, channel)
        except InvalidName as error:
            option = error.option if isinstance(error, InvalidOption) else ""
            place, mending = _place(channel, option)
            raise InvalidName(f"{place}: {error.message}", hint=error.hint or mending) from error

    def _build(self, channel: Channel) -> ChannelAdapter:
        factory = self._find(channel.type)
        state = self._places.state / channel.name
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return factory(channel.name, channel.options, replace(self._places, state=state))


def _place(channel: Channel, option: str) -> tuple[str, str]:
    """Return where an option stands, and the command that mends it."""
    if channel.file:
        return channel.place(option), _AFTER_MENDING
    key = option.partition(".")[0].partition("[")[0]
    mending = f"ncl channels update {channel.name} --option {key or 'KEY'}=VALUE"
    return (f"option {option} of channel {channel.name}" if option else f"channel {channel.name}"), mending
