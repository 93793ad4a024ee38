"""An agent that has used up its day: the message is answered at once and does not reach it."""

from unit.routing.house import House
from unit.routing.world import event

WORDS = "This agent has used up what it may use in a day."


def full(*folders: str) -> object:
    return lambda _group_id, group: WORDS if group in folders else None


async def test_the_message_is_answered_and_no_session_is_made(house: House):
    chat = await house.heard("main")
    house.router.refusal = full("main")  # type: ignore[assignment]  # a test's own
    for _ in range(2):
        routed = await house.router.route(event(chat, "hello", "ada", message_id="1"))
        assert (routed.stored, routed.answered, routed.message_id) == ((), True, "1:main")
    ((_id, address, text, reply_to),) = await house.words()
    assert (address.platform_id, text, reply_to) == (chat.platform_id, WORDS, "1:main")
    assert house.directories() == 0
    (decided, _again) = house.router.recent("1")
    assert decided.wirings[0].deciding.name == "limit"


async def test_the_other_agents_of_a_chat_hear_it_all_the_same(house: House):
    chat = await house.heard("main", "other")
    house.router.refusal = full("main")  # type: ignore[assignment]  # a test's own
    routed = await house.router.route(event(chat, "hello", "ada", message_id="1"))
    assert [stored.session.group for stored in routed.stored] == ["other"]
    assert [text for _id, _address, text, _reply_to in await house.words()] == [WORDS]


async def test_context_for_later_is_still_kept(house: House):
    chat = await house.heard("main", engage_mode="mention", ignored_message_policy="accumulate")
    house.router.refusal = full("main")  # type: ignore[assignment]  # a test's own
    routed = await house.router.route(event(chat, "by the way", "ada", message_id="1"))
    assert len(routed.stored) == 1
    assert not await house.words()
