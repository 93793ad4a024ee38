"""A platform that is away costs no attempts, and what waits is due when it is back (F-177; W-11)."""

import asyncio

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.reach import Reach, ReachPace

HERE, THERE = Address("x", "1", None), Address("x", "2", None)


class Platform:
    """Answers, or not."""

    def __init__(self) -> None:
        self.is_there = False
        self.asked = 0
        self.told: list[Address] = []
        self.was_told = asyncio.Event()
        self.was_asked = asyncio.Event()

    async def ask(self) -> None:
        self.asked += 1
        self.was_asked.set()
        if not self.is_there:
            raise OSError

    async def never(self) -> None:
        self.asked += 1
        self.was_asked.set()
        await asyncio.Event().wait()

    async def asked_often(self, times: int) -> None:
        async with asyncio.timeout(10):
            while self.asked < times:
                self.was_asked.clear()
                await self.was_asked.wait()

    def again(self, address: Address) -> None:
        self.told.append(address)
        self.was_told.set()


async def test_what_waits_is_due_when_the_platform_answers():
    platform, reach = Platform(), Reach("x", ReachPace(first=0.001, longest=0.002))
    reach.open(platform.ask, platform.again)
    assert reach.is_there(HERE)
    reach.failed()
    reach.failed()
    assert not reach.is_there(HERE)
    assert not reach.is_there(THERE)
    assert not reach.is_there(HERE)
    await platform.asked_often(3)
    assert platform.told == []
    platform.is_there = True
    async with asyncio.timeout(10):
        await platform.was_told.wait()
    assert platform.told == [HERE, THERE]
    assert reach.is_there(HERE)
    await reach.close()


async def test_a_question_that_is_never_answered_is_asked_again():
    platform, reach = Platform(), Reach("x", ReachPace(first=0.001, longest=0.002, answer=0.01))
    reach.open(platform.never, platform.again)
    reach.failed()
    await platform.asked_often(3)
    await reach.close()


async def test_what_waited_at_the_end_is_told_at_the_next_beginning():
    platform, reach = Platform(), Reach("x")
    reach.open(platform.ask, platform.again)
    reach.failed()
    assert not reach.is_there(HERE)
    await reach.close()
    reach.failed()
    assert reach.is_there(THERE), "between a teardown and a setup the keeper says so"
    reach.open(platform.ask, platform.again)
    assert platform.told == [HERE]
    await reach.close()


async def test_news_of_the_platform_have_it_asked_at_once():
    platform, reach = Platform(), Reach("x", ReachPace(first=1000))
    reach.open(platform.ask, platform.again)
    reach.failed()
    assert not reach.is_there(HERE)
    await platform.asked_often(1)
    platform.is_there = True
    await asyncio.sleep(0)
    reach.tell()
    async with asyncio.timeout(10):
        await platform.was_told.wait()
    assert platform.told == [HERE]
    await reach.close()
