"""Unknown chats and unknown people: what is written down, who is asked, what leaves no trace."""

from pathlib import Path

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.config import Access
from nanoclawd.routing.decision import Action
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.store import chats, dropped, members, users
from unit.routing.house import House, open_house
from unit.routing.world import CHANNEL, event, person


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


async def _chat(house: House, platform_id: str) -> chats.Chat:
    found = await house.run(chats.by_address, CHANNEL, platform_id)
    assert found is not None
    return found
