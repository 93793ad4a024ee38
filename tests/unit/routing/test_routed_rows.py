"""What a message becomes in the sessions of the agents that hear it: real databases (see house.py)."""

import asyncio

import pytest

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES, Address
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.errors import TooLarge
from nanoclawd.routing.event import InboundEvent, Quote, Sender
from nanoclawd.store import sessions as session_rows
from unit.routing.house import House
from unit.routing.world import CHANNEL, event


class TestRows:
    async def test_a_message_is_stored_with_who_said_it(self, house: House):
        chat = await house.heard("main")
        routed = await house.router.route(event(chat, "größer <b> \U0001f980\n", "ada", message_id="$1"))
        assert [one.stored for one in routed.stored] == [True]
        assert routed.message_id == "$1:main"
        (row,) = house.rows(routed)
        assert (row.id, row.kind, row.trigger, row.platform_message_id) == ("$1:main", "chat", True, "$1")
        assert row.address == Address(CHANNEL, chat.platform_id)
        assert row.content == {
            "text": "größer <b> \U0001f980\n",
            "sender": "ada",
            "senderId": "loopback:ada",
            "isMention": False,
        }

    async def test_what_a_message_answers_comes_along(self, house: House):
        chat = await house.heard("main")
        said = InboundEvent(
            Address(CHANNEL, chat.platform_id),
            "2",
            "yes",
            Sender(None, "Ada"),
            is_mention=True,
            is_group=True,
            quote=Quote("really?", "Bob", "1"),
        )
        (row,) = house.rows(await house.router.route(said))
        assert row.content == {
            "text": "yes",
            "sender": "Ada",
            "senderId": "",
            "isMention": True,
            "replyTo": {"id": "1", "text": "really?", "sender": "Bob"},
        }

    async def test_two_agents_of_a_chat(self, house: House):
        """F-162, F-165, F-166: each has a session and a row of its own, with an id of its own; the higher priority
        first; the platform's id unchanged in both."""
        chat = await house.chat()
        await house.wire(chat, await house.group("second"), priority=1)
        await house.wire(chat, await house.group("first"), priority=2)
        routed = await house.router.route(event(chat, message_id="$1"))
        assert [one.session.group for one in routed.stored] == ["first", "second"]
        assert [one.message_id for one in routed.stored] == ["$1:first", "$1:second"]
        for number in range(2):
            (row,) = house.rows(routed, number)
            assert (row.trigger, row.platform_message_id) == (True, "$1")
        again = await house.router.route(event(chat, message_id="$2"))
        assert [one.session.id for one in again.stored] == [one.session.id for one in routed.stored]

    async def test_each_agent_decides_for_itself(self, house: House):
        """F-163, F-164, F-157, F-158: one engages, one keeps it as context, one drops it."""
        chat = await house.heard("hears")
        await house.wire(chat, await house.group("keeps"), engage_mode="mention", ignored_message_policy="accumulate")
        await house.wire(chat, await house.group("drops"), engage_mode="mention")
        routed = await house.router.route(event(chat, message_id="1"))
        assert [one.session.group for one in routed.stored] == ["hears", "keeps"]
        assert [house.rows(routed, number)[0].trigger for number in range(2)] == [True, False]
        assert routed.message_id == "1:hears"
        assert house.directories() == 2
        assert await house.count("dropped_messages") == 0

    async def test_context_rides_along(self, house: House):
        """F-159, F-160: what was overheard waits without being due, and lies before the mention, in its order."""
        chat = await house.heard("main", engage_mode="mention", ignored_message_policy="accumulate")
        for number in range(3):
            routed = await house.router.route(event(chat, f"overheard {number}", message_id=f"{number}"))
        actor = await house.sessions.actor(routed.stored[0].session)
        assert await actor.files.read(lambda inbound: inbound.next_due("")) is None
        routed = await house.router.route(event(chat, "you there?", mention=True, message_id="3"))
        assert [(row.text, row.trigger) for row in house.rows(routed)] == [
            ("overheard 0", False),
            ("overheard 1", False),
            ("overheard 2", False),
            ("you there?", True),
        ]
        assert await actor.files.read(lambda inbound: inbound.next_due("")) is not None

    async def test_nothing_has_to_be_installed_for_gates(self, house: House):
        """F-155: a public chat with the scope ``all`` hears everybody, people without an identity too."""
        chat = await house.heard("main")
        for number, sender in enumerate(["stranger", None]):
            assert (await house.router.route(event(chat, sender=sender, message_id=f"{number}"))).stored

    async def test_an_event_told_twice(self, house: House):
        """F-167: one row, also when it is told three times at once; later ones are not stored."""
        chat = await house.heard("main")
        said = event(chat, message_id="$1")
        results = await asyncio.gather(*(house.router.route(said) for _ in range(3)))
        later = await house.router.route(event(chat, "changed", message_id="$1"))
        assert sorted(one.stored[0].stored for one in results) == [False, False, True]
        assert not later.stored[0].stored
        assert [row.text for row in house.rows(later)] == ["hello"]

    async def test_equal_ids_of_two_chats(self, house: House):
        """W-22, F-166: ids are unique in their chat only; an agent's one session for all its chats has two rows."""
        group = await house.group("main")
        rooms = [await house.chat(name) for name in ("one", "two")]
        for room in rooms:
            await house.wire(room, group, session_mode="agent-shared")
        first, second = [await house.router.route(event(room, room.platform_id, message_id="7")) for room in rooms]
        assert first.stored[0].session.id == second.stored[0].session.id
        assert [(row.text, row.platform_message_id) for row in house.rows(second)] == [("one", "7"), ("two", "7")]
        assert [row.id for row in house.rows(second)] == [f"{room.id}/7:main" for room in rooms]
        assert [row.address.platform_id for row in house.rows(second)] == ["one", "two"]

    async def test_an_agent_shared_session_is_its_own(self, house: House):
        """W-22, F-124: never the newest of the agent's others; threads meet in it; it belongs to no chat."""
        group = await house.group("main")
        shared, private = await house.chat("shared"), await house.chat("private", is_group=False)
        await house.wire(shared, group, session_mode="agent-shared")
        await house.wire(private, group)
        alone = await house.router.route(event(private, "a secret"))
        threads = [await house.router.route(event(shared, thread=name, message_id=name)) for name in ("a", "b")]
        assert len({one.stored[0].session.id for one in threads}) == 1
        session = threads[0].stored[0].session
        assert session.id != alone.stored[0].session.id
        assert (session.mode, session.messaging_group_id) == ("agent-shared", None)
        assert [row.address.thread_id for row in house.rows(threads[0])] == ["a", "b"]
        assert [row.text for row in house.rows(alone)] == ["a secret"]

    async def test_threads_are_sessions_of_their_own(self, house: House):
        """F-123: where threads are conversations, also for a wiring that says shared."""
        chat = await house.heard("main")
        ids = [
            (await house.router.route(event(chat, thread=thread, message_id=f"{number}"))).stored[0].session.id
            for number, thread in enumerate([None, "a", "b"] * 2)
        ]
        assert len(set(ids)) == 3
        assert ids[:3] == ids[3:]

    async def test_a_thread_that_does_not_count(self, house: House):
        """F-122: on a channel without threads it is stored without one, in the chat's session."""
        house.abilities[CHANNEL] = Capabilities(threads=False)
        chat = await house.heard("main")
        first = await house.router.route(event(chat, thread="a", message_id="1"))
        second = await house.router.route(event(chat, message_id="2"))
        assert first.stored[0].session.id == second.stored[0].session.id
        assert [row.address.thread_id for row in house.rows(second)] == [None, None]

    async def test_threads_in_a_chat_of_two(self, house: House):
        """F-123: are no sessions of their own there, unless the wiring says so; the answer goes to the thread."""
        group = await house.group("main")
        shared, apart = await house.chat("shared", is_group=False), await house.chat("apart", is_group=False)
        await house.wire(shared, group)
        await house.wire(apart, group, session_mode="per-thread")
        together = [await house.router.route(event(shared, thread=name, message_id=name)) for name in "ab"]
        assert len({one.stored[0].session.id for one in together}) == 1
        assert [row.address.thread_id for row in house.rows(together[0])] == ["a", "b"]
        own = [await house.router.route(event(apart, thread=name, message_id=name)) for name in "ab"]
        assert len({one.stored[0].session.id for one in own}) == 2

    async def test_a_new_chat_gets_one_session(self, house: House):
        """However many events of it come at once; and no directory is left over."""
        chat = await house.heard("main")
        results = await asyncio.gather(*(house.router.route(event(chat, message_id=f"{n}")) for n in range(20)))
        assert len({one.stored[0].session.id for one in results}) == 1
        assert len(house.rows(results[0])) == 20
        assert house.directories() == 1

    async def test_messages_of_a_chat_keep_their_order(self, house: House):
        """Also when all come at once and deciding takes longer for some."""
        chat = await house.heard("main", engage_pattern="x|[0-9]")
        texts = [f"{number} {'word ' * (20_000 if number % 3 else 0)}" for number in range(15)]
        results = await asyncio.gather(
            *(house.router.route(event(chat, text, message_id=f"{number}")) for number, text in enumerate(texts))
        )
        assert [row.text for row in house.rows(results[0])] == texts

    async def test_a_closed_session_gets_no_message(self, house: House):
        chat = await house.heard("main")
        first = await house.router.route(event(chat, message_id="1"))
        await house.run(session_rows.close, first.stored[0].session.id)
        second = await house.router.route(event(chat, message_id="2"))
        assert second.stored[0].session.id != first.stored[0].session.id
        assert [row.id for row in house.rows(second)] == ["2:main"]

    @pytest.mark.parametrize("text", ["x" * MAX_MESSAGE_BYTES, "ä" * (MAX_MESSAGE_BYTES // 2), "\0" * 80_000])
    async def test_the_longest_message(self, house: House, text: str):
        chat = await house.heard("main")
        (row,) = house.rows(await house.router.route(event(chat, text)))
        assert row.text == text

    @pytest.mark.parametrize("text", ["x" * (MAX_MESSAGE_BYTES + 1), "ä" * (MAX_MESSAGE_BYTES // 2) + "x"])
    async def test_a_message_that_is_too_long(self, house: House, text: str):
        chat = await house.heard("main")
        with pytest.raises(TooLarge, match="256 KiB"):
            await house.router.route(event(chat, text))
        assert house.directories() == 0

    async def test_half_a_character(self, house: House):
        """JSON can carry lone surrogates, UTF-8 can't: what else was said is worth storing."""
        chat = await house.heard("main")
        (row,) = house.rows(await house.router.route(event(chat, "a\ud83eb", message_id="\ud83e")))
        assert row.text == "a?b"
        assert row.id.startswith("h-")

    async def test_an_id_that_is_no_key(self, house: House):
        """One event is one row, whatever its platform calls it; different ones stay different."""
        chat = await house.heard("main")
        ids = ["x" * 600, "x" * 601, "a\nb", "a\0b", "a\u2028b", "\x1b[31m"]
        for message_id in ids * 2:
            routed = await house.router.route(event(chat, message_id=message_id))
        rows = house.rows(routed)
        assert [row.platform_message_id for row in rows] == ids
        assert all(row.id.isprintable() and len(row.id) < 100 for row in rows)
