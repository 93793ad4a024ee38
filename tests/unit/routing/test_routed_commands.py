"""Commands on their way: rows for the runner, answers of the appliance, denials."""

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.store import chats, roles
from nanoclawd.store.sessions import Session
from unit.routing.house import House
from unit.routing.world import CHANNEL, event, person


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
