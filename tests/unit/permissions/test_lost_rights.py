"""Who was asked and may not decide any more: somebody else is asked, and nobody's messages are taken for a name."""

import pytest

from nanoclawd.permissions import wording
from nanoclawd.store import approvals, chats, roles, user_dms, users
from unit.permissions.permission_stage import Platform, Stage, written

OWNER, GINA, BOB = "chat:ada", "chat:gina", "chat:bob"


@pytest.fixture(autouse=True)
async def owners(stage: Stage) -> None:
    await stage.person(OWNER, "Ada", "owner")
    await stage.person(GINA, "Gina", "owner")


async def look(stage: Stage) -> None:
    stage.permissions.repost()
    await stage.rest()


@pytest.mark.parametrize("how", ["revoked", "deleted"])
async def test_a_card_of_somebody_without_the_right_reaches_the_next(stage: Stage, how: str):
    """The one approver who had the card may not decide any more: the next one is asked, once."""
    group = await stage.group("helper")
    await stage.wire(written(), group)
    await stage.unknown_sender(written(), group)
    platform = stage.channels["chat"]
    assert len(platform.cards("dm-ada")) == 1
    assert platform.cards("dm-gina") == []
    if how == "revoked":
        await stage.database.run(roles.revoke, OWNER, "owner")
    else:
        await stage.database.run(users.delete, OWNER)
    await look(stage)
    await look(stage)
    (card,) = platform.cards("dm-gina")
    assert "may not decide" in await stage.press(OWNER, card, "allow")
    assert (await stage.press(GINA, card, "allow")).startswith("Allowed by Gina")
    assert [one.text for one in stage.replayed] == ["hello"]


async def test_an_admin_of_another_group_is_no_approver(stage: Stage):
    """An admin who is put in charge of another group instead does not hold the card back."""
    helper, other = await stage.group("helper"), await stage.group("other")
    await stage.person("chat:carol", "Carol", "admin", helper)
    await stage.wire(written(), helper)
    await stage.unknown_sender(written(), helper)
    assert len(stage.channels["chat"].cards("dm-carol")) == 1
    await stage.database.run(roles.revoke, "chat:carol", "admin", helper.id)
    await stage.person("chat:carol", "Carol", "admin", other)
    await look(stage)
    assert len(stage.channels["chat"].cards("dm-ada")) == 1


async def test_a_card_on_its_way_to_somebody_without_the_right_is_not_waited_for(stage: Stage):
    group = await stage.group("helper")
    await stage.wire(written(), group)
    platform: Platform = stage.channels["chat"]
    platform.unreachable.update({"dm-ada", "dm-gina"})
    await stage.unknown_sender(written(), group)
    await stage.database.run(roles.revoke, OWNER, "owner")
    platform.unreachable.clear()
    await look(stage)
    (card,) = platform.cards("dm-gina")
    assert (await stage.press(GINA, card, "deny")).startswith("Denied by Gina")


@pytest.mark.parametrize("how", ["revoked", "deleted"])
async def test_a_name_that_will_not_come_is_not_waited_for(stage: Stage, how: str):
    """W-58: who chose to make a new agent may not decide any more: the question is open again, to others."""
    await stage.group("helper")
    await stage.unknown_chat(written())
    platform = stage.channels["chat"]
    (card,) = platform.cards("dm-ada")
    await stage.press(OWNER, card, "new-agent")
    if how == "revoked":
        await stage.database.run(roles.revoke, OWNER, "owner")
    else:
        await stage.database.run(users.delete, OWNER)
    await look(stage)
    (approval,) = await stage.pending()
    assert (approval.stage, approval.name_from) == ("decision", None)
    assert await stage.database.run(approvals.waiting_for_name, OWNER) is None
    assert platform.cards("dm-ada") == [], "what was hers is closed, and she is not asked anew"
    (again,) = platform.cards("dm-gina")
    assert (await stage.press(GINA, again, "connect:helper")).startswith("Connected to helper by Gina")


async def test_cards_do_not_go_to_what_has_become_a_group(stage: Stage):
    """A direct chat that was made a group of several people is no place for a card any more."""
    group = await stage.group("helper")
    await stage.wire(written(), group)
    await stage.unknown_sender(written(), group)
    known = await stage.database.run(user_dms.find, OWNER, "chat")
    assert known is not None
    await stage.database.run(chats.update, known.messaging_group_id, None, True)
    assert await stage.database.run(user_dms.find, OWNER, "chat") is None


@pytest.mark.parametrize("heard", [True, False])
async def test_a_message_that_nobody_hears_any_more_is_not_lost_in_silence(stage: Stage, heard: bool):
    """The chat was unwired while somebody was asked: who waits is told so, once, and not when the agent has it."""
    group = await stage.group("helper")
    await stage.wire(written(), group)
    await stage.unknown_sender(written(), group)
    stage.heard = heard
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.press(OWNER, card, "allow")
    await stage.rest()
    assert stage.channels["chat"].texts("team").count(wording.LET_IN) == (not heard)


async def test_a_connected_chat_whose_message_is_not_heard(stage: Stage):
    """The same with a chat, here one whose message was too long to be kept."""
    await stage.group("helper")
    await stage.unknown_chat(written("x" * 70_000))
    stage.heard = False
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.press(OWNER, card, "connect:helper")
    await stage.rest()
    assert stage.channels["chat"].texts("team")[-1] == wording.CONNECTED
