"""An agent or a chat is deleted while people wait for a decision about it."""

import asyncio

import apsw

from nanoclaw_runner.contract.transaction import writing
from nanoclawd.control.values import Peer
from nanoclawd.core.backends.chats import ChatsBackend
from nanoclawd.permissions import withdrawing
from nanoclawd.store import agent_groups, host_messages
from unit.permissions.permission_stage import Stage, written

OWNER = "chat:ada"
ROOT = Peer(0, 0, 4242, "root")


async def test_nobody_waits_for_an_agent_that_has_gone(stage: Stage):
    """The group is deleted between card and click: who waits is told, the card says so, and a click is answered."""
    await stage.person(OWNER, "Ada", "owner")
    group, other = await stage.group("helper"), await stage.group("other")
    for one, chat in ((group, "team"), (other, "den")):
        await stage.wire(written(chat=chat), one)
        await stage.unknown_sender(written(chat=chat), one)
    card = stage.channels["chat"].cards("dm-ada")[0]

    def delete(connection: apsw.Connection) -> None:
        with writing(connection):
            withdrawing.withdraw_for_group(connection, group.id)
            agent_groups.delete(connection, group.id)

    await stage.database.run(delete)
    stage.outbox.nudge()
    await stage.rest()
    platform = stage.channels["chat"]
    assert platform.texts("team")[-1] == withdrawing.AGENT_GONE_TOLD
    assert withdrawing.AGENT_GONE_TOLD not in platform.texts("den")
    assert platform.texts("dm-ada")[0].endswith(f"→ {withdrawing.AGENT_GONE}")
    assert len(platform.cards("dm-ada")) == 1, "the other's is open"
    assert await stage.press(OWNER, card, "allow") == "This card is not open any more."
    assert [one.group for one in await stage.pending()] == ["other"]
    due = await stage.database.run(host_messages.due, "9999-01-01T00:00:00.000Z")
    assert due == []


async def test_nobody_waits_for_a_chat_that_has_gone(stage: Stage):
    """Neither a stranger in a chat that an agent heard, nor who wrote first in one that nobody has connected."""
    await stage.person(OWNER, "Ada", "owner")
    group = await stage.group("helper")
    await stage.wire(written(chat="team"), group)
    await stage.unknown_sender(written(chat="team"), group)
    for chat in ("lobby", "den"):
        await stage.unknown_chat(written(chat=chat))
    cards = stage.channels["chat"].cards("dm-ada")
    operators = ChatsBackend(stage.database, stage._project, stage.manager.known, stage.permissions.repost)
    for chat in ("team", "lobby"):
        await operators.delete(ROOT, f"chat:{chat}")
    await stage.rest()
    platform = stage.channels["chat"]
    told = [platform.texts(chat).count(withdrawing.CHAT_GONE_TOLD) for chat in ("team", "lobby", "den")]
    assert told == [1, 1, 0]
    assert [text.endswith(f"→ {withdrawing.CHAT_GONE}") for text in platform.texts("dm-ada")] == [True, True, False]
    assert [await stage.press(OWNER, card, card.card.options[0].value) for card in cards[:2]] == [
        "This card is not open any more."
    ] * 2
    assert [one.platform_id for one in await stage.pending()] == ["den"]


async def test_a_card_that_is_on_its_way_is_closed_when_it_has_arrived(stage: Stage):
    await stage.person(OWNER, "Ada", "owner")
    platform = stage.channels["chat"]
    platform.held = asyncio.Event()
    asking = asyncio.create_task(stage.unknown_chat(written(chat="lobby")))
    await platform.until(lambda: platform.attempts == 2)
    operators = ChatsBackend(stage.database, stage._project, stage.manager.known, stage.permissions.repost)
    await operators.delete(ROOT, "chat:lobby")
    platform.held.set()
    await asking
    await stage.rest()
    assert [text.endswith(f"→ {withdrawing.CHAT_GONE}") for text in platform.texts("dm-ada")] == [True]
    assert platform.texts("lobby")[-1] == withdrawing.CHAT_GONE_TOLD
