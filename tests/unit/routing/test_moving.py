"""A chat that its platform replaces by another keeps its agents, conversations, cards and tasks."""

from dataclasses import replace

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import InvalidName
from nanoclawd.routing.moving import MovedChats
from nanoclawd.store import chats, host_messages
from nanoclawd.store.host_messages import HostMessage
from unit.routing.house import House
from unit.routing.world import CHANNEL, event

NEW = "-1001"


@pytest.fixture
async def moved(house: House) -> MovedChats:
    found = MovedChats(house.database, house.sessions)
    await found.load()
    return found


async def test_the_conversation_goes_on(house: House, moved: MovedChats):
    """Also where the platform counts its messages from one again: none is taken for one told twice."""
    chat = await house.heard("main")
    old = Address(CHANNEL, chat.platform_id)
    first = await house.router.route(event(chat, "before", message_id="1"))
    await moved.move(old, NEW)
    there = replace(event(chat, "after", message_id="1"), address=Address(CHANNEL, NEW))
    second = await house.router.route(there)
    assert second.stored[0].session.id == first.stored[0].session.id
    assert [row.text for row in house.rows(second)] == ["before", "after"]
    assert moved.current(old) == Address(CHANNEL, NEW)
    assert moved.current(replace(old, thread_id="t")) == Address(CHANNEL, NEW, "t")


async def test_again_does_nothing(house: House, moved: MovedChats):
    chat = await house.heard("main")
    for _ in range(3):
        await moved.move(Address(CHANNEL, chat.platform_id), NEW)
    found = await house.run(lambda connection: chats.by_address(connection, CHANNEL, NEW))
    assert found is not None
    assert (found.id, found.moves) == (chat.id, 1)


async def test_it_is_known_after_a_restart(house: House, moved: MovedChats):
    chat = await house.heard("main")
    await moved.move(Address(CHANNEL, chat.platform_id), NEW)
    await moved.move(Address(CHANNEL, NEW), "-1002")
    later = MovedChats(house.database, house.sessions)
    await later.load()
    for old in (chat.platform_id, NEW):
        assert later.current(Address(CHANNEL, old)).platform_id == "-1002"


async def test_back_and_forth_is_no_circle(house: House, moved: MovedChats):
    chat = await house.heard("main")
    await moved.move(Address(CHANNEL, chat.platform_id), NEW)
    await moved.move(Address(CHANNEL, NEW), chat.platform_id)
    assert moved.current(Address(CHANNEL, NEW)).platform_id == chat.platform_id
    assert moved.current(Address(CHANNEL, chat.platform_id)).platform_id == chat.platform_id


async def test_somebody_spoke_in_the_new_one_before(house: House, moved: MovedChats):
    chat = await house.heard("main")
    await house.run(lambda connection: chats.create(connection, CHANNEL, NEW, is_group=True))
    await moved.move(Address(CHANNEL, chat.platform_id), NEW)
    found = await house.run(lambda connection: chats.by_address(connection, CHANNEL, NEW))
    assert found is not None
    assert found.id == chat.id


async def test_two_chats_with_agents_do_not_become_one(house: House, moved: MovedChats):
    chat, other = await house.heard("main"), await house.chat("another")
    await house.wire(other, await house.group("second"))
    await moved.move(Address(CHANNEL, chat.platform_id), other.platform_id)
    assert moved.current(Address(CHANNEL, chat.platform_id)).platform_id == chat.platform_id
    assert await house.run(lambda connection: len(chats.every_wiring(connection))) == 2


async def test_words_that_wait_follow(house: House, moved: MovedChats):
    chat = await house.heard("main")
    waiting = HostMessage("w-1", CHANNEL, chat.platform_id, None, '{"text": "Denied."}')
    await house.run(lambda connection: host_messages.post(connection, waiting))
    await moved.move(Address(CHANNEL, chat.platform_id), NEW)
    assert [address for _, address, _, _ in await house.words()] == [Address(CHANNEL, NEW)]


@pytest.mark.parametrize("wrong", ["", "a\nb", "x" * 2000])
async def test_an_id_that_none_has_is_refused(house: House, moved: MovedChats, wrong: str):
    chat = await house.heard("main")
    with pytest.raises(InvalidName):
        await moved.move(Address(CHANNEL, chat.platform_id), wrong)
