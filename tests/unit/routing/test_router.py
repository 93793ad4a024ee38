"""From an event to the sessions of the agents that hear it: real databases, sessions and outbox (see house.py)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES, Address
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.config import Access
from nanoclawd.errors import InvalidName, TooLarge, Unavailable
from nanoclawd.routing.decision import Action
from nanoclawd.routing.event import InboundEvent, Quote, Sender
from nanoclawd.store import agent_groups, chats, dropped, members, roles, users
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.sessions import Session
from unit.routing.house import House, open_house
from unit.routing.world import CHANNEL, event, person


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


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


class TestCommands:
    async def test_a_denial(self, house: House):
        """F-195, F-196, W-1: no row, no wake; a denial that names the command, to the same chat and thread, once."""
        chat = await house.heard("main")
        await house.run(roles.grant, person("ada"), "admin", (await house.group("other")).id)
        said = event(chat, "/clear", "ada", thread="a", message_id="1")
        for _ in range(2):
            routed = await house.router.route(said)
            assert (routed.stored, routed.answered, routed.message_id) == ((), True, "1:main")
        ((words_id, address, text, reply_to),) = await house.words()
        assert words_id == f"cmd-{chat.id}/1"
        assert address == Address(CHANNEL, chat.platform_id, "a")
        assert "`/clear`" in text
        assert "admin of main" in text
        assert reply_to == "1:main"
        assert house.directories() == 0

    async def test_a_command_of_an_admin(self, house: House):
        """F-194, W-4: it reaches the runner as a row of its own kind, and never as a text."""
        chat = await house.heard("main")
        await house.run(roles.grant, person("ada"), "owner")
        routed = await house.router.route(event(chat, "／ＣＬＥＡＲ all of it", "ada", message_id="1"))  # noqa: RUF001
        (row,) = house.rows(routed)
        assert (row.id, row.kind, row.trigger) == ("1:main", "system", True)
        assert row.content == {
            "type": "command",
            "name": "clear",
            "args": "all of it",
            "sender": "ada",
            "senderId": "loopback:ada",
        }
        assert await house.words() == []

    async def test_two_agents_and_one_admin(self, house: House):
        """W-1: a denial by one changes nothing for the other; each judges by its own admins."""
        chat = await house.chat()
        mine, theirs = await house.group("mine"), await house.group("theirs")
        for group in (theirs, mine):
            await house.wire(chat, group)
        await house.run(roles.grant, person("ada"), "admin", mine.id)
        routed = await house.router.route(event(chat, "/compact", "ada", message_id="1"))
        assert [one.message_id for one in routed.stored] == ["1:mine"]
        ((_, _, text, reply_to),) = await house.words()
        assert "admin of theirs" in text
        assert reply_to == "1:theirs"
        assert routed.message_id == "1:mine"

    async def test_filtered_commands(self, house: House):
        """F-193: no row and no wake, whoever says it; a word instead of silence."""
        chat = await house.heard("main")
        await house.run(roles.grant, person("ada"), "owner")
        routed = await house.router.route(event(chat, "/LOGIN now", "ada"))
        assert routed.stored == ()
        ((_, _, text, _),) = await house.words()
        assert text == "`/login` is not available in chats. /help shows what is."

    async def test_other_slashes_are_texts(self, house: House):
        """F-197: unchanged."""
        chat = await house.heard("main")
        (row,) = house.rows(await house.router.route(event(chat, " /foo bar", "stranger")))
        assert (row.kind, row.text) == ("chat", " /foo bar")

    async def test_lookalikes_are_texts(self, house: House):
        """F-198, W-4: what is not exactly a command is never one; and no row of kind system comes of it."""
        chat = await house.heard("main")
        for number, text in enumerate(["/clearall", "/clear-all", "/clearx now", "//clear"]):
            routed = await house.router.route(event(chat, text, "stranger", message_id=f"{number}"))
        assert {row.kind for row in house.rows(routed)} == {"chat"}
        for number, text in enumerate(["/CLEAR", " /clear ", "/clear@bot", "/cl\u200bear"]):
            assert (await house.router.route(event(chat, text, "stranger", message_id=f"c{number}"))).stored == ()
        assert len(await house.words()) == 4

    async def test_help_and_whoami(self, house: House):
        """One answer for all agents of a chat."""
        chat = await house.heard("main", "spare")
        await house.run(roles.grant, person("ada"), "owner")
        for number, command in enumerate(["/help", "/start payload", "/whoami"]):
            assert (await house.router.route(event(chat, command, "ada", message_id=f"{number}"))).answered
        texts = [text for _, _, text, _ in await house.words()]
        assert texts[0] == texts[1]
        assert "main is an agent. It hears everything" in texts[0]
        assert "spare is an agent" in texts[0]
        assert "/stop" in texts[0]
        assert "/clear" in texts[0]
        assert "loopback:ada" in texts[2]
        assert "To main you are: owner." in texts[2]

    async def test_help_tells_only_what_one_may(self, house: House):
        chat = await house.heard("main")
        await house.router.route(event(chat, "/help", "stranger"))
        ((_, _, text, _),) = await house.words()
        assert "/clear" not in text
        assert "/stop" not in text

    async def test_status(self, house: House):
        chat = await house.heard("main")
        await house.router.route(event(chat, "/status", message_id="1"))
        await house.router.route(event(chat, "hello", message_id="2"))
        await house.router.route(event(chat, "/status", message_id="3"))
        (before, after) = [text for _, _, text, _ in await house.words()]
        assert before == "main: no conversation here yet."
        assert after.startswith("main: ")
        assert after != before

    async def test_stop(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """Ends what runs; told again, it does not end what runs by then. (How a turn ends is tested with sessions.)"""
        stopped = []

        async def stop_turn(session: Session) -> bool:
            stopped.append(session.group)
            return True

        monkeypatch.setattr(house.sessions, "stop_turn", stop_turn)
        chat = await house.heard("main", "spare")
        await house.run(roles.grant, person("ada"), "owner")
        await house.router.route(event(chat, "/stop", "ada", message_id="1"))
        await house.router.route(event(chat, "count to a million", "ada", message_id="2"))
        for _ in range(2):
            routed = await house.router.route(event(chat, "/stop", "ada", message_id="3"))
            assert (routed.answered, routed.message_id) == (True, "3:main")
        texts = [text for _, _, text, _ in await house.words()]
        assert texts == ["Nothing is running that could be stopped.", "Stopped: main, spare."]
        assert stopped == ["main", "spare"]

    async def test_stop_by_somebody_unknown(self, house: House):
        chat = await house.heard("main")
        await house.router.route(event(chat, "/stop", "stranger"))
        ((_, _, text, _),) = await house.words()
        assert text == "You may not use `/stop`: where others talk to it too, it takes a member of main."

    async def test_stop_of_a_conversation_that_many_share(self, house: House):
        """Who writes to a public account directly may not end what the agent does for its other chats."""
        group = await house.group("main")
        for name, columns in (("together", {"session_mode": "agent-shared"}), ("alone", {})):
            chat = await house.run(chats.create, CHANNEL, name, None, False, "public")
            await house.wire(chat, group, **columns)
            await house.router.route(event(chat, "/stop", "stranger", is_group=False))
        shared, own = [text for _, _, text, _ in await house.words()]
        assert shared == "You may not use `/stop`: where others talk to it too, it takes a member of main."
        assert own == "Nothing is running that could be stopped."

    async def test_a_command_is_no_context(self, house: House):
        """Also where everything else is kept."""
        chat = await house.heard("main", engage_mode="mention", ignored_message_policy="accumulate")
        routed = await house.router.route(event(chat, "/clear"))
        assert routed.stored == ()
        assert await house.words() == []


class TestStrangers:
    async def test_plain_chatter_writes_nothing(self, house: House):
        """W-18: in a chat that no agent hears, nothing at all is written: no chat, no user, no drop."""
        await house.router.route(event(Address(CHANNEL, "elsewhere"), sender="x", is_group=True))
        chat = await house.chat()
        await house.router.route(event(chat, sender="x"))
        for table in ("users", "dropped_messages", "sessions", "host_messages"):
            assert await house.count(table) == 0
        assert await house.count("messaging_groups") == 1

    async def test_chatter_writes_no_user(self, house: House):
        """W-18: also where an agent hears it; people are written when something is said about them."""
        chat = await house.heard("main")
        await house.router.route(event(chat, sender="x"))
        assert await house.count("users") == 0

    @pytest.mark.parametrize(
        ("policy", "action", "reason"),
        [("strict", Action.DROP, "chat_strict"), ("request_approval", Action.ASK, "chat_pending")],
    )
    async def test_an_unknown_chat(self, tmp_path: Path, policy: str, action: Action, reason: str):
        """Is written down when somebody speaks to the account in it; somebody is asked where that is the policy."""
        async with open_house(tmp_path, Access(unknown_chats=policy, unknown_senders="strict")) as house:
            said = event(Address(CHANNEL, "new"), sender="x", mention=True, is_group=True, thread="t")
            routed = await house.router.route(said)
            assert routed.decision.action is action
            chat = await house.run(chats.by_address, CHANNEL, "new")
            assert chat is not None
            assert (chat.is_group, chat.unknown_sender_policy) == (True, "strict")
            assert house.asked.chats == ([("1", chat.id)] if action is Action.ASK else [])
            (drop,) = await house.run(dropped.every)
            assert (drop.reason, drop.user_id, drop.message_count) == (reason, person("x"), 1)
            await house.router.route(said, replay=True)
            assert len(house.asked.chats) <= 1
            await house.run(chats.deny, chat.id, "owner")
            assert (await house.router.route(said)).decision.reason == "chat_denied"
            assert len(house.asked.chats) <= 1

    async def test_a_public_unknown_chat(self, tmp_path: Path):
        """F-178, F-180, W-20: it gets the default agent by the default rules, and the message is heard; ``is_group``
        decides about the rules, not the thread."""
        async with open_house(tmp_path, Access(unknown_chats="public", default_group="main")) as house:
            said = event(Address(CHANNEL, "dm"), sender="x", is_group=False, thread="t")
            assert (await house.router.route(said)).decision.deciding.reason.endswith("no default agent to wire it to")
            await house.group("main")
            await house.run(chats.update, (await _chat(house, "dm")).id, None, None, "public")
            routed = await house.router.route(said)
            assert [one.message_id for one in routed.stored] == ["1:main"]
            (wiring,) = await house.run(chats.every_wiring)
            assert (wiring.engage_mode, wiring.engage_pattern) == ("pattern", ".")
            assert await house.count("agent_destinations") == 1
            await house.router.route(event(Address(CHANNEL, "group"), sender="x", is_group=True, mention=True))
            assert [one.engage_mode for one in await house.run(chats.every_wiring)] == ["pattern", "mention-sticky"]
            house.abilities[CHANNEL] = Capabilities(threads=False)
            await house.router.route(event(Address(CHANNEL, "flat"), sender="x", is_group=True, mention=True))
            assert [one.engage_mode for one in await house.run(chats.every_wiring)][2] == "mention"

    async def test_an_unknown_sender(self, house: House):
        """Somebody is asked, once for each agent that it was said to; a message that is told again asks nobody."""
        chat = await house.chat(policy="request_approval")
        for folder in ("one", "two"):
            await house.wire(chat, await house.group(folder))
        await house.wire(chat, await house.group("three"), engage_mode="mention")
        routed = await house.router.route(event(chat, sender="x"))
        assert [group for _, _, group in house.asked.senders] == ["one", "two"]
        assert routed.stored == ()
        (drop,) = await house.run(dropped.every)
        assert (drop.reason, drop.group) == ("unknown_sender_pending", "one")
        await house.router.route(event(chat, sender="x"), replay=True)
        assert len(house.asked.senders) == 2

    async def test_a_refused_sender_leaves_nothing(self, house: House):
        """F-161, F-156: no session, no row, also under accumulate and with the scope ``all``."""
        chat = await house.chat(policy="strict")
        await house.wire(chat, await house.group("main"), ignored_message_policy="accumulate")
        await house.router.route(event(chat, sender="x"))
        await house.router.route(event(chat, sender=None))
        assert house.directories() == 0
        assert {(drop.user_id, drop.reason) for drop in await house.run(dropped.every)} == {
            (person("x"), "unknown_sender_strict"),
            ("", "no_identity"),
        }

    async def test_an_identity_is_never_a_name(self, house: House):
        """W-59: somebody whom the channel gives no id is nobody, whatever they are called; so is a made-up id."""
        group = await house.group("main")
        chat = await house.chat(policy="strict")
        await house.wire(chat, group)
        await house.run(members.add, person("ada"), group.id)
        for number, sender in enumerate(
            [Sender(None, "loopback:ada"), Sender("ada", "ada"), Sender("", "x"), Sender("loopback:ada\u200b")]
        ):
            said = InboundEvent(Address(CHANNEL, chat.platform_id), f"{number}", "hi", sender, is_group=True)
            routed = await house.router.route(said)
            assert routed.stored == ()
            assert routed.decision.wirings[0].reason == "no_identity"
        assert (await house.router.route(event(chat, sender="ada"))).stored

    async def test_the_most_specific_reason_is_recorded(self, house: House):
        """Once for an event, with whose gate gave it; that another heard it is no reason to hide a refusal."""
        chat = await house.heard("hears")
        await house.wire(chat, await house.group("deaf"), engage_mode="mention")
        await house.wire(chat, await house.group("picky"), sender_scope="known")
        await house.router.route(event(chat, sender="x"))
        (drop,) = await house.run(dropped.every)
        assert (drop.reason, drop.group, drop.message_count) == ("sender_scope", "picky", 1)

    async def test_names_that_change(self, house: House):
        """A known person's and a chat's; W-55. Unknown people stay unwritten."""
        chat = await house.heard("main")
        await house.run(users.ensure, person("ada"), "Ada")
        said = InboundEvent(
            Address(CHANNEL, chat.platform_id),
            "1",
            "hi",
            Sender(person("ada"), "Ada L."),
            is_group=True,
            chat_name="Renamed\x1b[31m",
        )
        await house.router.route(said)
        assert (await house.run(users.by_id, person("ada"))).display_name == "Ada L."
        assert (await house.run(chats.by_id, chat.id)).name == "Renamed [31m"


class TestFailures:
    async def test_one_wirings_failure_is_its_own(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """F-162: what is not foreseen is logged and told in a word; the others have their rows; nothing is raised."""
        chat = await house.heard("bad", "good")
        create = house.sessions.create

        async def fails_for_bad(*arguments: str) -> Session:
            if "bad" in arguments:
                raise ZeroDivisionError
            return await create(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(house.sessions, "create", fails_for_bad)
        routed = await house.router.route(event(chat))
        assert [one.session.group for one in routed.stored] == ["good"]
        assert len(house.rows(routed)) == 1
        ((_, _, text, _),) = await house.words()
        assert "went wrong" in text

    async def test_what_can_be_told_again_is_told_again(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """The others store it at once; told again, each has one row."""
        chat = await house.heard("full", "good")
        create = house.sessions.create
        fails = True

        async def sometimes(*arguments: str) -> Session:
            if fails and "full" in arguments:
                raise Unavailable("the disk is full")
            return await create(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(house.sessions, "create", sometimes)
        with pytest.raises(Unavailable):
            await house.router.route(event(chat))
        assert house.directories() == 1
        fails = False
        routed = await house.router.route(event(chat))
        assert [(one.session.group, one.stored) for one in routed.stored] == [("full", True), ("good", False)]
        assert [len(house.rows(routed, number)) for number in range(2)] == [1, 1]
        assert await house.words() == []

    async def test_an_agent_that_has_gone_meanwhile(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """Between finding who hears a chat and making a session: nothing is left of it, nothing is raised."""
        chat = await house.heard("main", "stays")
        group = await house.run(agent_groups.by_folder, "main")
        create = house.sessions.create

        async def deleted_first(*arguments: str) -> Session:
            if group.id in arguments:
                await house.run(agent_groups.delete, group.id)
            return await create(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(house.sessions, "create", deleted_first)
        routed = await house.router.route(event(chat))
        assert [one.session.group for one in routed.stored] == ["stays"]
        assert house.directories() == 1

    async def test_asking_that_fails(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """What is not foreseen is told and not raised; what can be told again is raised, and told again it works."""
        chat = await house.chat(policy="request_approval")
        await house.wire(chat, await house.group("main"))
        unknown = event(Address(CHANNEL, "new"), sender="x", is_group=True, mention=True)
        for error in (ZeroDivisionError(), Unavailable("later")):

            async def fails(*_: object, error: Exception = error) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(house.asked, "sender_unknown", fails)
                patch.setattr(house.asked, "chat_unknown", fails)
                for said in (event(chat, sender="x"), unknown):
                    if isinstance(error, Unavailable):
                        with pytest.raises(Unavailable):
                            await house.router.route(said)
                    else:
                        assert (await house.router.route(said)).stored == ()
        assert [text for _, _, text, _ in await house.words()] == [_wrong()] * 2
        await house.router.route(event(chat, sender="x"))
        await house.router.route(unknown)
        assert (len(house.asked.senders), len(house.asked.chats)) == (1, 1)

    async def test_a_field_of_a_wrong_type(self, house: House):
        chat = await house.heard("main")
        for wrong in (None, 7, b"text", ["x"]):
            with pytest.raises(InvalidName, match="text is a text"):
                await house.router.route(event(chat, wrong))  # type: ignore[arg-type]


class TestExplaining:
    async def test_a_past_message(self, house: House):
        """By the platform's id and by a row's, newest first; what was said is not kept."""
        chat = await house.heard("main")
        await house.router.route(event(chat, "a secret", message_id="1"))
        await house.router.route(event(chat, "/clear my secret", message_id="1"))
        for known in ("1", "1:main"):
            newest, oldest = house.router.recent(known)
            assert oldest.wirings[0].action is Action.ENGAGE
            assert newest.wirings[0].action is Action.REPLY
            assert "secret" not in repr((newest, oldest))
        assert house.router.recent("2") == []

    async def test_only_so_many_are_kept(self, house: House):
        said = event(Address(CHANNEL, "quiet"), is_group=True)
        for _ in range(2010):
            await house.router.route(said)
        assert len(house.router.recent("1")) == 2000

    async def test_asking_changes_nothing(self, house: House):
        chat = await house.chat(policy="request_approval")
        await house.wire(chat, await house.group("main"))
        before = await house.run(lambda connection: connection.total_changes())
        for said in (event(chat, sender="x"), event(chat, "/clear", "x"), event(Address(CHANNEL, "new"), "hi")):
            assert (await house.router.explain(said)).deciding.reason
        assert await house.run(lambda connection: connection.total_changes()) == before
        assert house.asked.senders == []
        assert house.router.recent("1") == []


async def _chat(house: House, platform_id: str) -> chats.Chat:
    found = await house.run(chats.by_address, CHANNEL, platform_id)
    assert found is not None
    return found


def _wrong() -> str:
    return "Something went wrong with this message here. The journal of the appliance has the details."


async def test_a_database_that_somebody_holds_loses_no_message(house: House):
    """The channel is told to tell it again, and then it is one row; nobody is told that something went wrong."""
    chat = await house.heard("main")
    first = await house.router.route(event(chat, message_id="0"))
    await house.run(lambda connection: connection.set_busy_timeout(10))
    other = apsw.Connection(str(house.root / "central.db"))
    other.execute("BEGIN IMMEDIATE")
    house.sessions.drop(first.stored[0].session.id)
    with pytest.raises(Unavailable):
        await house.router.route(event(chat, message_id="1"))
    other.execute("ROLLBACK")
    other.close()
    routed = await house.router.route(event(chat, message_id="1"))
    assert [row.id for row in house.rows(routed)] == ["0:main", "1:main"]
    assert await house.words() == []
