"""A daemon that dies at any commit: whatever was asked is decided once, and nobody waits in vain.

After each death everything is made anew over the same database, as systemd would, and the platform hands in again what
was not acknowledged.
"""

from pathlib import Path

import pytest

from nanoclawd.routing.event import Click
from nanoclawd.sessions.ports import ShownCard
from nanoclawd.store import agent_groups, approvals, chats, members
from nanoclawd.store import host_messages as host_rows
from unit.permissions.permission_stage import BUTTONS, Platform, Stage, dm, until_killed, written

OWNER, BOB = "chat:ada", "chat:bob"


async def world(path: Path) -> Stage:
    stage = Stage(path, {"chat": Platform("chat", BUTTONS)})
    await stage.start()
    group = await stage.group("helper")
    await stage.person(OWNER, "Ada", "owner")
    await stage.wire(written(), group)
    await stage.end()
    return stage


async def tell(stage: Stage) -> None:
    """The stranger's two messages; what was not acknowledged is handed in again by the platform."""
    chat = await stage.database.run(chats.by_address, "chat", "team")
    assert chat is not None
    (wiring,) = await stage.database.run(chats.wirings_of_chat, chat.id)
    for number in (1, 2):
        event = written(f"text {number}", message_id=f"m{number}")
        await stage.permissions.sender_unknown(event, chat, wiring, "helper")
    await stage.rest()


def open_card(stage: Stage) -> ShownCard:
    return stage.channels["chat"].cards("dm-ada")[-1]


@pytest.mark.parametrize("calls", range(24))
async def test_while_it_is_asked(tmp_path: Path, calls: int):
    """One approval, one card (one more at most where the death was at the delivery), both messages."""
    stage = await world(tmp_path)
    died = await until_killed(stage, calls, lambda: tell(stage))
    await stage.start()
    await tell(stage)
    assert len(await stage.pending()) == 1
    assert 1 <= len(stage.channels["chat"].cards("dm-ada")) <= 1 + died
    assert 1 <= len(stage.channels["chat"].texts("team")) <= 1 + died
    await stage.press(OWNER, open_card(stage), "allow")
    assert [one.text for one in stage.replayed] == ["text 1", "text 2"]
    await stage.end()


@pytest.mark.parametrize("value", ["allow", "deny", "deny-always"])
@pytest.mark.parametrize("calls", range(20))
async def test_while_it_is_decided(tmp_path: Path, calls: int, value: str):
    """Exactly one decision, whole; the person hears of it; what was kept is routed; the card says it."""
    stage = await world(tmp_path)
    await stage.start()
    await tell(stage)
    card = open_card(stage)
    await stage.end()
    died = await until_killed(stage, calls, lambda: stage.press(OWNER, card, value))
    await stage.start()
    await stage.rest()
    words = await stage.press(OWNER, card, value)
    (approval,) = await stage.every_approval()
    assert (approval.decision, approval.decided_by, approval.payload) == (value, OWNER, {})
    assert died or words.startswith("You have")
    known = [one.user_id for one in await stage.database.run(members.every)]
    assert known == ([BOB] if value == "allow" else [])
    texts = dict.fromkeys(one.text for one in stage.replayed)
    assert list(texts) == (["text 1", "text 2"] if value == "allow" else [])
    told = [text for text in stage.channels["chat"].texts("team") if "not let in" in text]
    assert len(told) == (0 if value == "allow" else 1) or (died and len(told) == 2)
    assert "→" in stage.channels["chat"].in_chat("dm-ada")[0].text
    assert len(await stage.database.run(members.denials)) == (1 if value == "deny-always" else 0)
    await stage.end()


@pytest.mark.parametrize("calls", range(24))
async def test_while_a_name_is_given(tmp_path: Path, calls: int):
    """One agent, one wiring, however often the name comes in."""
    stage = await world(tmp_path)
    await stage.start()
    event = written(chat="new", chat_name="New")
    chat = await stage.unknown_chat(event)
    await stage.press(OWNER, open_card(stage), "new-agent")
    (approval,) = await stage.pending()
    await stage.end()

    async def name() -> None:
        waiting = await stage.database.run(approvals.waiting_for_name, OWNER)
        if waiting is not None:
            await stage.permissions.name_given(dm("Fresh", by=OWNER), waiting.id)
        await stage.rest()

    await until_killed(stage, calls, name)
    await stage.start()
    await name()
    assert [one.folder for one in await stage.database.run(agent_groups.every)] == ["helper", "fresh"]
    assert len(await stage.database.run(chats.wirings_of_chat, chat.id)) == 1
    assert [one.text for one in stage.replayed][:1] == ["hello"]
    (decided,) = [one for one in await stage.every_approval() if one.id == approval.id]
    assert (decided.status, decided.payload) == ("approved", {})
    assert stage.channels["chat"].texts("dm-ada")[-1].startswith("Connected to fresh")
    await stage.end()


@pytest.mark.parametrize("calls", range(16))
async def test_while_it_expires(tmp_path: Path, calls: int):
    stage = await world(tmp_path)
    await stage.start()
    await tell(stage)
    card = open_card(stage)
    await stage.make_old("approvals", "expires_at")
    await stage.end()
    died = await until_killed(stage, calls, stage.rest)
    await stage.start()
    await stage.rest()
    (approval,) = await stage.every_approval()
    assert (approval.status, approval.payload) == ("expired", {})
    told = [text for text in stage.channels["chat"].texts("team") if text.startswith("Nobody decided in time whether")]
    assert 1 <= len(told) <= 1 + died
    assert stage.channels["chat"].in_chat("dm-ada")[0].text.endswith("this has expired.")
    assert "expired" in await stage.permissions.click(Click(card.card_id, "allow", OWNER, dm("", by=OWNER).address))
    assert stage.replayed == []
    rows = await stage.database.run(host_rows.due, "9999-01-01T00:00:00.000Z")
    assert rows == []
    await stage.end()
