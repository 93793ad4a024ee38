"""What agents learn of messages that were edited, deleted or reacted to, and of what programs send."""

from dataclasses import replace

import pytest

from nanoclawd.errors import InvalidName
from nanoclawd.routing.decision import Action
from nanoclawd.routing.event import Change, Hook, InboundEvent, Sender
from nanoclawd.sessions.inbound import Delivery
from nanoclawd.store import chats
from nanoclawd.store.chats import Chat
from unit.routing.house import House
from unit.routing.world import World, event


def changed(chat: Chat, change: Change, about: str, text: str = "", sender: str | None = "owner") -> InboundEvent:
    said = event(chat, text, sender, message_id=f"{about}~{change}~1")
    return replace(said, change=change, about=about)


class TestChanges:
    @pytest.mark.parametrize(
        ("change", "text"), [(Change.EDITED, "half past nine"), (Change.DELETED, ""), (Change.REACTED, "👍")]
    )
    async def test_who_has_the_message_is_told_and_not_woken(self, house: House, change: Change, text: str):
        chat = await house.heard("main")
        routed = await house.router.route(event(chat, "at nine", "ada", message_id="7"))
        again = await house.router.route(changed(chat, change, "7", text, "ada"))
        rows = house.rows(routed)
        assert [(row.trigger, row.text) for row in rows] == [(True, "at nine"), (False, text)]
        assert rows[1].content["change"] == {"kind": change.value, "id": "7"}
        assert [one.stored for one in again.stored] == [True]
        (twice,) = (await house.router.route(changed(chat, change, "7", text, "ada"))).stored
        assert not twice.stored

    async def test_a_message_of_the_agent_counts_as_known(self, house: House):
        chat = await house.heard("main")
        routed = await house.router.route(event(chat, message_id="1"))
        actor = await house.sessions.actor(routed.stored[0].session)
        sent = Delivery("out-1", "delivered", platform_message_id="99", chat=(chat.channel_type, chat.platform_id))
        await actor.files.write(lambda inbound: inbound.record([sent]))
        await house.router.route(changed(chat, Change.REACTED, "99", "❤"))
        assert [row.text for row in house.rows(routed)] == ["hello", "❤"]

    async def test_what_is_about_a_message_that_nobody_has_is_dropped(self, house: House):
        chat = await house.heard("main")
        routed = await house.router.route(event(chat, message_id="1"))
        (told,) = (await house.router.route(changed(chat, Change.EDITED, "2", "other"))).stored
        assert not told.stored
        assert len(house.rows(routed)) == 1

    async def test_no_conversation_begins_by_a_change(self, house: House):
        chat = await house.heard("main")
        routed = await house.router.route(changed(chat, Change.EDITED, "2", "other"))
        assert not routed.stored
        assert house.directories() == 0
        assert await house.count("dropped_messages") == 0

    async def test_a_chat_that_nobody_hears_is_not_written_down(self, house: House):
        await house.router.route(replace(event(await house.chat(), message_id="x"), change=Change.DELETED, about="1"))
        assert await house.count("dropped_messages") == 0
        assert not house.asked.chats

    async def test_an_edit_is_no_command_and_no_answer(self, house: House):
        chat = await house.heard("main")
        routed = await house.router.route(event(chat, "hm", message_id="1"))
        await house.router.route(changed(chat, Change.EDITED, "1", "/clear"))
        assert [(row.kind, row.text) for row in house.rows(routed)] == [("chat", "hm"), ("chat", "/clear")]
        assert await house.words() == []

    async def test_who_is_not_heard_changes_nothing(self, house: House):
        """A stranger's edit does not get past the gate that his message would not get past."""
        chat = await house.heard("main")
        routed = await house.router.route(event(chat, message_id="1"))
        await house.run(lambda connection: chats.update(connection, chat.id, unknown_sender_policy="strict"))
        await house.router.route(changed(chat, Change.EDITED, "1", "obey me", "stranger"))
        assert [row.text for row in house.rows(routed)] == ["hello"]

    def test_a_change_says_of_what(self, world: World):
        chat = world.chat()
        for said in (
            replace(event(chat), change=Change.EDITED),
            replace(event(chat), about="1"),
            replace(event(chat), change=Change.EDITED, about="1", hook=Hook("ci")),
        ):
            with pytest.raises(InvalidName):
                world.decide(said)


class TestHooks:
    def hooked(self, chat: Chat, text: str, group: str = "main") -> InboundEvent:
        return replace(event(chat, text, None, message_id="d-1"), sender=Sender(None), hook=Hook("ci", "push", group))

    async def test_what_a_program_sends_is_a_row_of_its_kind(self, house: House):
        chat = await house.heard("main")
        routed = await house.router.route(self.hooked(chat, '{"ok": false}'))
        (row,) = house.rows(routed)
        assert (row.kind, row.trigger, row.platform_message_id) == ("webhook", True, None)
        assert row.content == {"source": "ci", "event": "push", "payload": '{"ok": false}'}

    async def test_it_is_for_its_agent_only(self, house: House):
        chat = await house.heard("main")
        await house.wire(chat, await house.group("other"))
        routed = await house.router.route(self.hooked(chat, "x"))
        assert [one.session.group for one in routed.stored] == ["main"]

    async def test_no_sender_is_asked_about(self, house: House):
        """The secret was right: the chat's policy about strangers, and the wiring's mode, are about people."""
        chat = await house.heard("main", engage_mode="mention")
        await house.run(lambda connection: chats.update(connection, chat.id, unknown_sender_policy="strict"))
        assert (await house.router.route(self.hooked(chat, "x"))).stored

    @pytest.mark.parametrize("text", ["/clear", "/stop", "yes", "1"])
    async def test_it_is_no_command_and_no_answer(self, house: House, text: str):
        chat = await house.heard("main")
        routed = await house.router.route(self.hooked(chat, text))
        assert [row.kind for row in house.rows(routed)] == ["webhook"]
        assert await house.words() == []

    def test_a_chat_without_agents_gets_none(self, world: World):
        assert world.decide(self.hooked(world.chat(), "x")).action is Action.IGNORE
