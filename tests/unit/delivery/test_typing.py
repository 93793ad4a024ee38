"""The sign that an agent is at work."""

import asyncio
from dataclasses import replace
from typing import Any

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.delivery.typing import TypingService

CHAT = Address("loop", "1")
LASTS_SECONDS = 0.4


class Channel:
    """One channel whose sign of typing lasts for a moment."""

    name = "loop"

    def __init__(self) -> None:
        self.capabilities = replace(Capabilities(), typing_seconds=LASTS_SECONDS)
        self.given: list[float] = []
        self.again = asyncio.Event()

    async def set_typing(self, _address: Address) -> None:
        self.given.append(asyncio.get_running_loop().time())
        self.again.set()


class Channels:
    """A set of that channel alone."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.is_up = True
        self.asked = asyncio.Event()

    def adapter(self, _name: str) -> Any:
        self.asked.set()
        return self._channel if self.is_up else None

    def capabilities(self, _name: str) -> Capabilities:
        return self._channel.capabilities


async def test_it_goes_on_while_an_agent_is_at_work_however_silent():
    """W-61: nothing is heard of a long tool; the sign is given again before it ends, until the work does."""
    channel = Channel()
    typing = TypingService(Channels(channel))
    typing.working("s1", CHAT)
    for _ in range(5):
        channel.again.clear()
        await asyncio.wait_for(channel.again.wait(), 10)
    assert all(
        later - earlier < LASTS_SECONDS for earlier, later in zip(channel.given, channel.given[1:], strict=False)
    )
    typing.rested("s1")
    given = len(channel.given)
    await asyncio.sleep(2 * LASTS_SECONDS)  # nothing is to happen
    assert len(channel.given) == given
    typing.close()


async def test_a_channel_that_comes_up_shows_who_is_at_work_already():
    """F-129: work that began while a channel was down, or went on meanwhile, is shown as soon as it is up."""
    channel = Channel()
    channels = Channels(channel)
    channels.is_up = False
    typing = TypingService(channels)
    typing.working("s1", CHAT)
    await asyncio.wait_for(channels.asked.wait(), 10)
    for _ in range(2):
        typing.came_up("another")
        assert channel.given == []
        channels.is_up = True
        typing.came_up(channel.name)
        await asyncio.wait_for(channel.again.wait(), 10)
        channels.is_up = False
        channels.asked.clear()
        await asyncio.wait_for(channels.asked.wait(), 10)
        channel.again.clear()
        channel.given.clear()
    typing.rested("s1")
    channels.is_up = True
    typing.came_up(channel.name)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "typing"]
    typing.close()
