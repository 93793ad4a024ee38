"""Counts of dropped messages: kept in memory for a moment, in the database for good (W-19)."""

import asyncio

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.routing.drops import Drops
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.store import dropped
from unit.routing.house import CHANNEL, House


def said(number: int, user: str = "loopback:eve") -> InboundEvent:
    return InboundEvent(Address(CHANNEL, "room"), f"m{number}", "hello", Sender(user, "Eve"), is_group=True)


async def commits(house: House) -> int:
    """Return how often the database's file was committed to, as SQLite counts it."""

    def version(connection: apsw.Connection) -> int:
        return int(connection.execute("SELECT total_changes()").get)

    return await house.database.run(version)


async def test_chatter_costs_no_write_a_message(house: House):
    await house.wire(await house.chat(), await house.group("main"), engage_mode="mention")
    before = await commits(house)
    for number in range(50):
        await house.router.route(said(number))
    assert await commits(house) == before
    (drop,) = await house.run(dropped.every)
    assert (drop.message_count, drop.reason, drop.user_id) == (50, "no_agent_engaged", "loopback:eve")


async def test_the_most_specific_reason_stays(house: House):
    """W-19: per chat and sender, in memory as in the database."""
    drops = Drops(house.database)
    for reason in ("no_agent_engaged", "unknown_sender_strict", "no_agent_engaged"):
        drops.count(said(1), reason)
    drops.count(said(2, "loopback:ada"), "no_agent_engaged")
    await drops.flush()
    drops.count(said(3), "no_agent_engaged")
    await drops.flush()
    found = {drop.user_id: (drop.reason, drop.message_count) for drop in await house.run(dropped.every)}
    assert found == {"loopback:eve": ("unknown_sender_strict", 4), "loopback:ada": ("no_agent_engaged", 1)}


async def test_many_senders_do_not_fill_the_memory(house: House):
    drops = Drops(house.database)
    for number in range(1500):
        drops.count(said(number, f"loopback:{number}"), "no_agent_engaged")
        if number == 1200:
            await asyncio.sleep(0)
    await drops.flush()
    rows = await house.run(lambda connection: connection.execute("SELECT count(*) FROM dropped_messages").get)
    assert rows == 1500
