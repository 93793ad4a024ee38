"""Unknown chats: the card, the wiring that comes of it, a new agent's name, and what is remembered."""

import asyncio

import pytest

from nanoclaw_runner.contract.cards import MAX_OPTIONS
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.permissions import wording
from nanoclawd.sessions.ports import ShownCard
from nanoclawd.store import agent_groups, approvals, chats, destinations, members, roles
from nanoclawd.store.chats import Chat, Wiring
from unit.permissions.permission_stage import PLAIN, MakeStage, Platform, Stage, dm, written

OWNER, BOB = "chat:ada", "chat:bob"
THREADED = Capabilities(threads=True, buttons=True, edits=True)


@pytest.fixture(autouse=True)
async def owner(stage: Stage) -> None:
    await stage.person(OWNER, "Ada", "owner")


async def wirings(stage: Stage, chat: Chat) -> list[Wiring]:
    return await stage.database.run(chats.wirings_of_chat, chat.id)


def the_card(stage: Stage) -> ShownCard:
    (card,) = stage.channels["chat"].cards("dm-ada")
    return card


async def test_a_mention_in_an_unwired_group(stage: Stage):
    """One card in the owner's direct chat with an option that names each agent; one pending row."""
    for folder in ("helper", "other"):
        await stage.group(folder)
    await stage.unknown_chat(written("hello there"))
    card = the_card(stage)
    assert card.card.title == "Connect the chat “The Team”?"
    assert "> hello there" in card.card.text
    assert "“Bob” (chat:bob) wrote in the group chat “The Team” (chat: team)" in card.card.text
    values = [one.value for one in card.card.options]
    assert values == ["connect:helper", "connect:other", "new-agent", "deny", "deny-always"]
    assert stage.channels["chat"].texts("team") == [wording.ASKED]
    await stage.unknown_chat(written("again", message_id="m2"))
    assert len(await stage.pending()) == 1
    the_card(stage)


async def test_connect_a_group(make_stage: MakeStage, stage: Stage):
    """Connect (group, thread present): mention-sticky, scope known, accumulate; the sender is a member; replayed."""
    await stage.end()
    stage.channels["chat"].capabilities = THREADED
    await stage.start()
    group = await stage.group("helper")
    chat = await stage.unknown_chat(written(thread="t1"))
    await stage.unknown_chat(written("more", thread="t1", message_id="m2"))
    await stage.unknown_chat(written("somebody else", by="chat:eve", message_id="m3"))
    words = await stage.press(OWNER, the_card(stage), "connect:helper")
    assert words == "Connected to helper by Ada. Bob may talk to it."
    (wiring,) = await wirings(stage, chat)
    rules = (wiring.engage_mode, wiring.engage_pattern, wiring.sender_scope, wiring.ignored_message_policy)
    assert rules == ("mention-sticky", None, "known", "accumulate")
    assert [one.user_id for one in await stage.database.run(members.every, group.id)] == [BOB]
    assert [one.text for one in stage.replayed] == ["hello", "more"]
    assert stage.projected == [group.id]
    assert await stage.database.run(destinations.may_write_to, group.id, "chat", "team")


async def test_a_group_without_threads_is_no_thread(stage: Stage):
    """W-20: is_group decides, never a thread's id."""
    await stage.group("helper")
    chat = await stage.unknown_chat(written())
    await stage.press(OWNER, the_card(stage), "connect:helper")
    (wiring,) = await wirings(stage, chat)
    assert wiring.engage_mode == "mention"


async def test_connect_a_direct_chat(stage: Stage):
    """Connect (DM): pattern '.'; in a thread of it too."""
    await stage.group("helper")
    chat = await stage.unknown_chat(written(chat="dm-bob", is_group=False, chat_name=None, thread="t"))
    assert the_card(stage).card.title == "Connect the direct chat with “Bob”?"
    await stage.press(OWNER, the_card(stage), "connect:helper")
    (wiring,) = await wirings(stage, chat)
    assert (wiring.engage_mode, wiring.engage_pattern) == ("pattern", ".")


async def test_not_now_and_never(stage: Stage):
    """Not now: asked again by the next message. Reject: denied_at is set; later neither card nor row nor word."""
    await stage.group("helper")
    chat = await stage.unknown_chat(written())
    assert await stage.press(OWNER, the_card(stage), "deny") == "Turned down by Ada."
    assert stage.channels["chat"].texts("team")[-1] == "This chat was not connected to an agent."
    await stage.unknown_chat(written(message_id="m2"))
    await stage.press(OWNER, the_card(stage), "deny-always")
    denied = await stage.database.run(chats.by_id, chat.id)
    assert denied.denied_at is not None
    assert denied.denied_by == OWNER
    before = len(stage.channels["chat"].messages)
    await stage.unknown_chat(written(message_id="m3"))
    assert len(stage.channels["chat"].messages) == before
    assert await stage.pending() == []
    assert await wirings(stage, chat) == []


async def test_a_bystander(stage: Stage):
    """W-27, W-58: neither a stranger nor the admin of another group connects a chat, whatever the option."""
    helper, other = await stage.group("helper"), await stage.group("other")
    await stage.person("chat:carol", "Carol", "admin", other)
    chat = await stage.unknown_chat(written())
    card = the_card(stage)
    for wrong, values in ((BOB, ["connect:helper", "deny"]), ("chat:carol", ["connect:helper", "new-agent", "deny"])):
        for value in values:
            assert "may not decide" in await stage.press(wrong, card, value)
    assert await wirings(stage, chat) == []
    assert "Connected to other by Carol" in await stage.press("chat:carol", card, "connect:other")
    assert [one.agent_group_id for one in await wirings(stage, chat)] == [other.id]
    assert helper.id != other.id


async def test_many_agents_have_more_than_one_card(stage: Stage):
    """Six on the first; all others are reached; a click on the card before is told that there is a newer one."""
    folders = [f"agent-{number:02}" for number in range(20)]
    for folder in folders:
        await stage.group(folder)
    chat = await stage.unknown_chat(written())
    platform = stage.channels["chat"]
    seen: list[str] = []
    first = card = the_card(stage)
    while True:
        values = [one.value for one in card.card.options]
        assert len(values) <= MAX_OPTIONS
        seen += [value.removeprefix("connect:") for value in values if value.startswith("connect:")]
        more = next((value for value in values if value.startswith("choose:")), None)
        if more is None:
            break
        await stage.press(OWNER, card, more)
        assert "out of date" in await stage.press(OWNER, card, "deny")
        card = the_card(stage)
    assert seen == folders
    await stage.restart()
    assert "out of date" in await stage.press(OWNER, first, "connect:agent-00")
    number = next(n for n, one in enumerate(card.card.options, 1) if one.value == "connect:agent-19")
    assert "Connected to agent-19" in await stage.press(OWNER, card, f"#{number}")
    assert len(await wirings(stage, chat)) == 1
    assert platform.cards("dm-ada") == []


async def test_a_new_agent_is_made_and_named(stage: Stage):
    """The next message of the approver is its name; folder by the normaliser, with a number where it is taken."""
    await stage.group("my-helper")
    chat = await stage.unknown_chat(written())
    words = await stage.press(OWNER, the_card(stage), "new-agent")
    assert "Write the new agent's name" in words
    (approval,) = await stage.pending()
    assert (approval.stage, approval.name_from) == ("name", OWNER)
    await stage.permissions.name_given(dm("My  Helper!", by=OWNER), approval.id)
    await stage.rest()
    group = await stage.database.run(agent_groups.by_folder, "my-helper-2")
    assert [one.agent_group_id for one in await wirings(stage, chat)] == [group.id]
    assert stage.channels["chat"].texts("dm-ada")[-1] == "Connected to my-helper-2 by Ada. Bob may talk to it."
    assert (
        stage.channels["chat"]
        .in_chat("dm-ada")[0]
        .text.endswith("→ Connected to my-helper-2 by Ada. Bob may talk to it.")
    )
    assert [one.text for one in stage.replayed] == ["hello"]
    assert stage.channels["chat"].ended[-1] == ("d1", True)
    assert await stage.database.run(approvals.waiting_for_name, OWNER) is None


async def test_a_name_survives_a_restart(stage: Stage):
    """A registration that waits for a name is there after a restart, at any point."""
    chat = await stage.unknown_chat(written())
    await stage.restart()
    await stage.press(OWNER, the_card(stage), "new-agent")
    await stage.restart()
    waiting = await stage.database.run(approvals.waiting_for_name, OWNER)
    assert waiting is not None
    await stage.permissions.name_given(dm("Helper", by=OWNER), waiting.id)
    await stage.rest()
    assert len(await wirings(stage, chat)) == 1


@pytest.mark.parametrize("text", ["", "   ", "/help", "x" * 61, "a name\n" * 20])
async def test_what_is_no_name(stage: Stage, text: str):
    await stage.unknown_chat(written())
    await stage.press(OWNER, the_card(stage), "new-agent")
    (approval,) = await stage.pending()
    await stage.permissions.name_given(dm(text, by=OWNER), approval.id)
    await stage.rest()
    assert stage.channels["chat"].texts("dm-ada")[-1].endswith("Write another name, or `cancel`.")
    assert (await stage.pending())[0].stage == "name"
    assert await stage.database.run(agent_groups.every) == []


@pytest.mark.parametrize(("text", "folder"), [("Помощник", "agent"), ("model", "model-2"), ("é" * 60, "agent")])
async def test_names_that_folders_cannot_have(stage: Stage, text: str, folder: str):
    await stage.unknown_chat(written())
    await stage.press(OWNER, the_card(stage), "new-agent")
    (approval,) = await stage.pending()
    await stage.permissions.name_given(dm(text, by=OWNER), approval.id)
    await stage.rest()
    assert [one.folder for one in await stage.database.run(agent_groups.every)] == [folder]


@pytest.mark.parametrize("text", ["cancel", "Cancel.", "`cancel`", "/cancel"])
async def test_cancel(stage: Stage, text: str):
    """The question is open again, on a card of its own."""
    await stage.group("helper")
    chat = await stage.unknown_chat(written())
    old = the_card(stage)
    await stage.press(OWNER, old, "new-agent")
    (approval,) = await stage.pending()
    await stage.permissions.name_given(dm(text, by=OWNER), approval.id)
    await stage.rest()
    card = the_card(stage)
    assert card.card_id == f"{approval.id}.2"
    assert "open again" in stage.channels["chat"].texts("dm-ada")[-1]
    await stage.press(OWNER, card, "connect:helper")
    assert len(await wirings(stage, chat)) == 1


async def test_the_right_is_judged_again_with_the_name(stage: Stage):
    """Who is no owner any more makes no agent, and nobody else's message is taken for the name."""
    await stage.person("chat:gina", "Gina", "owner")
    await stage.unknown_chat(written())
    card = the_card(stage)
    await stage.press(OWNER, card, "new-agent")
    (approval,) = await stage.pending()
    await stage.permissions.name_given(dm("Gina's", by="chat:gina"), approval.id)
    await stage.rest()
    await stage.database.run(roles.revoke, OWNER, "owner")
    await stage.permissions.name_given(dm("Helper", by=OWNER), approval.id)
    await stage.rest()
    assert stage.channels["chat"].texts("dm-gina")[0] == "Nobody waits for a name from you."
    assert len(stage.channels["chat"].cards("dm-gina")) == 1, "the question is hers now"
    assert stage.channels["chat"].texts("dm-ada")[-1].startswith("You may not decide this any more")
    assert await stage.database.run(agent_groups.every) == []


async def test_an_agent_that_cannot_be_made(stage: Stage):
    """The person is told why and may try again; nothing is half done."""
    await stage.unknown_chat(written())
    await stage.press(OWNER, the_card(stage), "new-agent")
    (approval,) = await stage.pending()
    stage.create_fails.append(Unavailable("the disk is full"))
    await stage.permissions.name_given(dm("Helper", by=OWNER), approval.id)
    await stage.rest()
    assert "could not be made: the disk is full." in stage.channels["chat"].texts("dm-ada")[-1]
    await stage.permissions.name_given(dm("Helper", by=OWNER, message_id="d2"), approval.id)
    await stage.rest()
    assert [one.folder for one in await stage.database.run(agent_groups.every)] == ["helper"]


async def test_decided_by_another_while_a_name_is_awaited(stage: Stage):
    await stage.person("chat:gina", "Gina", "owner")
    await stage.unknown_chat(written())
    card = the_card(stage)
    await stage.press(OWNER, card, "new-agent")
    (approval,) = await stage.pending()
    assert await stage.press("chat:gina", card, "deny") == "Turned down by Gina."
    await stage.permissions.name_given(dm("Helper", by=OWNER), approval.id)
    await stage.rest()
    assert stage.channels["chat"].texts("dm-ada")[-1] == "Gina has refused this already."
    assert await stage.database.run(agent_groups.every) == []


async def test_operators(stage: Stage):
    """By ncl a chat is connected or refused; an agent is made there by its own command."""
    await stage.group("helper")
    chat = await stage.unknown_chat(written())
    (approval,) = await stage.pending()
    with pytest.raises(Refused, match="ncl groups create NAME"):
        await stage.permissions.approvals.decide(approval.id, "new-agent", "root")
    _, words = await stage.permissions.approvals.decide(approval.id, "Connect to helper", "root")
    await stage.rest()
    assert words == "Connected to helper by root. Bob may talk to it."
    assert len(await wirings(stage, chat)) == 1


async def test_an_agent_that_was_deleted_meanwhile(stage: Stage):
    group = await stage.group("helper")
    await stage.unknown_chat(written())
    await stage.database.run(agent_groups.delete, group.id)
    assert "no group 'helper'" in await stage.press(OWNER, the_card(stage), "connect:helper")
    assert len(await stage.pending()) == 1


async def test_a_chat_without_a_name_is_asked_for_it(stage: Stage):
    await stage.group("helper")
    stage.channels["chat"].names["team"] = "Looked up"
    chat = await stage.unknown_chat(written(chat_name=None))
    assert "“Looked up”" in the_card(stage).card.title
    assert (await stage.database.run(chats.by_id, chat.id)).name == "Looked up"


async def test_somebody_unidentified_makes_nobody_a_member(stage: Stage):
    group = await stage.group("helper")
    chat = await stage.unknown_chat(written(by=None))
    assert "somebody whom the channel doesn't identify (“Bob”)" in the_card(stage).card.text
    assert await stage.press(OWNER, the_card(stage), "connect:helper") == "Connected to helper by Ada."
    assert await stage.database.run(members.every, group.id) == []
    assert len(await wirings(stage, chat)) == 1


async def test_expiry(stage: Stage):
    """W-60: also while a name is awaited."""
    await stage.unknown_chat(written())
    await stage.press(OWNER, the_card(stage), "new-agent")
    (approval,) = await stage.pending()
    await stage.expire()
    assert stage.channels["chat"].in_chat("dm-ada")[0].text.endswith("→ Nobody decided in time: this has expired.")
    assert stage.channels["chat"].texts("team")[-1].startswith("Nobody decided in time")
    await stage.permissions.name_given(dm("Helper", by=OWNER), approval.id)
    await stage.rest()
    assert "expired" in stage.channels["chat"].texts("dm-ada")[-1]


async def test_direct_chats_are_found_once_and_remembered(stage: Stage):
    """DM resolution: the adapter's answer is used and cached; None, an exception and no such channel are nobody."""
    messages = stage.permissions.direct_messages
    chat = stage.channels["chat"]
    first = await messages.of(OWNER)
    assert first is not None
    assert (first.channel_type, first.platform_id) == ("chat", "dm-ada")
    await stage.restart()
    assert await stage.permissions.direct_messages.of(OWNER) == first
    assert chat.opened == ["ada"]
    chat.without_dm.add("hidden")
    for unreachable in ("chat:hidden", "chat:broken", "nowhere:ada", "chat:", "plain"):
        assert await stage.permissions.direct_messages.of(unreachable) is None
    before = await stage.chat(dm("", by="chat:known"))
    await stage.person("chat:known", "Known")
    found = await stage.permissions.direct_messages.of("chat:known")
    assert found is not None
    assert found.platform_id == before.platform_id
    assert len([one for one in await stage.database.run(chats.every) if one.platform_id == "dm-known"]) == 1


async def test_a_second_account_of_a_platform(make_stage: MakeStage, stage: Stage):
    """The account on which it was written is the one that asks."""
    await stage.end()
    second = Platform("chat", stage.channels["chat"].capabilities)
    stage.channels["chat-work"] = second
    await stage.start()
    await stage.group("helper")
    await stage.unknown_chat(written(channel="chat-work"))
    assert len(second.cards("dm-ada")) == 1
    assert stage.channels["chat"].messages == []


async def test_a_platform_that_hangs_does_not_hold_the_router(stage: Stage):
    """Who asks never waits for a card's delivery."""
    await stage.group("helper")
    platform = stage.channels["chat"]
    platform.held = asyncio.Event()
    async with asyncio.timeout(10):
        await stage.permissions.chat_unknown(written(), await stage.chat(written()))
    assert len(await stage.pending()) == 1
    platform.held.set()
    await stage.rest()
    the_card(stage)


async def test_a_text_as_an_answer_on_a_plain_channel(make_stage: MakeStage, stage: Stage):
    """New agent by text only: number, then name, each answered once in words."""
    assert stage.channels["plain"].capabilities == PLAIN
    await stage.person("plain:ada", "Ada", "owner")
    chat = await stage.unknown_chat(written(channel="plain", by="plain:bob"))
    (approval,) = await stage.pending()
    plain = stage.channels["plain"]
    assert "1. Make a new agent" in plain.texts("dm-ada")[0]
    await stage.write_answer(dm("1", by="plain:ada", channel="plain"), approval, "new-agent")
    await stage.permissions.name_given(dm("Hans", by="plain:ada", channel="plain", message_id="d2"), approval.id)
    await stage.rest()
    said = plain.texts("dm-ada")[1:]
    assert said[0].startswith("Write the new agent's name")
    assert said[-1] == "Connected to hans by Ada. Bob may talk to it."
    assert len(await wirings(stage, chat)) == 1
