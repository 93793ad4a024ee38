"""Threads in which an agent was mentioned: it hears the rest of them."""

from pathlib import Path

import pytest

from nanoclaw_runner.contract.rows import Address
from unit.routing.house import House, open_house
from unit.routing.world import CHANNEL, event


class TestStickiness:
    async def test_the_rest_of_a_thread(self, house: House):
        """F-151, F-177, W-3: a mention makes its thread sticky, and the channel is asked for all of it, once."""
        chat = await house.heard("main", engage_mode="mention-sticky")
        thread = Address(CHANNEL, chat.platform_id, "a")

        async def engages(message_id: str, thread: str | None, *, mention: bool = False) -> bool:
            said = event(chat, mention=mention, thread=thread, message_id=message_id)
            return bool((await house.router.route(said)).stored)

        assert not await engages("1", "a")
        assert await engages("2", "a", mention=True)
        assert await engages("3", "a")
        assert not await engages("4", "b")
        assert await engages("5", "a", mention=True)
        assert house.subscribed == [thread]

    async def test_only_a_wiring_that_sticks_subscribes(self, house: House):
        """F-177."""
        chat = await house.heard("main", engage_mode="mention")
        assert (await house.router.route(event(chat, mention=True, thread="a"))).stored
        assert house.subscribed == []
        assert await house.count("sticky_threads") == 0

    async def test_two_wirings_subscribe_once(self, house: House):
        chat = await house.heard("one", "two", engage_mode="mention-sticky")
        await house.router.route(event(chat, mention=True, thread="a"))
        assert len(house.subscribed) == 1
        assert await house.count("sticky_threads") == 2

    async def test_it_is_no_matter_of_sessions(self, house: House):
        """W-3: what is kept as context makes a session, and sticks to nothing; nor does the floor of a group."""
        chat = await house.heard("main", engage_mode="mention-sticky", ignored_message_policy="accumulate")
        for number in range(3):
            routed = await house.router.route(event(chat, thread="a", message_id=f"{number}"))
            assert not house.rows(routed)[-1].trigger
        assert house.rows(await house.router.route(event(chat, mention=True, message_id="floor")))[-1].trigger
        assert not house.rows(await house.router.route(event(chat, message_id="later")))[-1].trigger

    async def test_a_refused_mention_makes_nothing_sticky(self, house: House):
        chat = await house.heard("main", engage_mode="mention-sticky", sender_scope="known")
        await house.router.route(event(chat, sender="stranger", mention=True, thread="a", message_id="1"))
        assert await house.count("sticky_threads") == 0

    async def test_a_command_makes_nothing_sticky(self, house: House):
        chat = await house.heard("main", engage_mode="mention-sticky")
        await house.router.route(event(chat, "/help", mention=True, thread="a", message_id="1"))
        assert await house.count("sticky_threads") == 0

    async def test_a_subscription_that_fails(self, house: House, caplog: pytest.LogCaptureFixture):
        """What comes without it is heard; the message itself is stored anyway."""
        house.refuse_subscriptions = True
        chat = await house.heard("main", engage_mode="mention-sticky")
        assert (await house.router.route(event(chat, mention=True, thread="a", message_id="1"))).stored
        assert "the platform is away" in caplog.text
        assert (await house.router.route(event(chat, thread="a", message_id="2"))).stored

    async def test_it_survives_a_restart(self, tmp_path: Path):
        """F-152."""
        async with open_house(tmp_path) as first:
            chat = await first.heard("main", engage_mode="mention-sticky")
            await first.router.route(event(chat, mention=True, thread="a", message_id="1"))
        async with open_house(tmp_path) as second:
            assert (await second.router.route(event(chat, thread="a", message_id="2"))).stored
            assert second.subscribed == []
