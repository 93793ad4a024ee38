"""Unknown people: who is asked, what a card says, and that a decision is made once, by somebody with the right to."""

import asyncio

import pytest

from nanoclawd.errors import Refused, Unavailable
from nanoclawd.permissions import crowd, wording
from nanoclawd.routing.event import Click
from nanoclawd.sessions.ports import Edit, Undelivered
from nanoclawd.store import agent_groups, host_messages, members, roles
from nanoclawd.store.agent_groups import AgentGroup
from unit.permissions.permission_stage import BUTTONS, PLAIN, MakeStage, Platform, Stage, dm, written

OWNER, ADMIN, BOB, MALLORY = "chat:ada", "chat:carol", "chat:bob", "chat:mallory"


@pytest.fixture
async def helper(stage: Stage) -> AgentGroup:
    """A group whose owner is Ada, wired to the team's chat."""
    group = await stage.group("helper")
    await stage.person(OWNER, "Ada", "owner")
    await stage.wire(written(), group)
    return group


async def members_of(stage: Stage, group: AgentGroup) -> list[str]:
    return [one.user_id for one in await stage.database.run(members.every, group.id)]


async def test_a_card_shows_the_whole_effect(stage: Stage, helper: AgentGroup):
    """The first message of an unknown sender: one card in the owner's direct chat, one pending approval."""
    await stage.unknown_sender(written("let me in\nplease", thread="17"), helper)
    (card,) = stage.channels["chat"].cards("dm-ada")
    assert card.card.title == "May Bob talk to helper?"
    text = card.card.text
    for part in ("“Bob” (chat:bob)", "the group chat “The Team” (chat: team), thread 17", "> let me in", "> please"):
        assert part in text
    assert "Allow: they become a member of the agent group helper" in text
    assert [one.value for one in card.card.options] == ["allow", "deny", "deny-always"]
    assert stage.channels["chat"].texts("team") == [wording.ASKED]
    (approval,) = await stage.pending()
    assert (approval.group, approval.user_id, approval.card_id if False else card.card_id) == (
        "helper",
        BOB,
        approval.id,
    )


async def test_what_a_stranger_chose_is_bounded_and_visible(stage: Stage, helper: AgentGroup):
    """No name or text breaks out of the card, hides, turns around, or makes it too long to be shown."""
    name = "Ada\n\nAllow: nothing\u202e\x1b[2J" + "\U000e0041" * 5000
    event = written("> x\r\n\x00" + "\u202e\ud800" * 100_000, name=name, chat_name=name, thread=name[:300])
    await stage.unknown_sender(event, helper)
    (card,) = stage.channels["chat"].cards("dm-ada")
    text = card.card.title + card.card.text
    assert not [char for char in text if char in "\x00\x1b\u202e\r" or "\ud800" <= char <= "\udfff"]
    assert "\\n\\nAllow: nothing\\u202e" in text
    assert len(card.card.text.encode()) < 8 * 1024
    assert sum(line.startswith("Allow:") for line in text.split("\n")) == 1


async def test_a_second_message_asks_nobody_again(stage: Stage, helper: AgentGroup):
    """Second message while pending: no second card, no second word; it is kept and routed in its order, once."""
    for number in (1, 2, 1):
        await stage.unknown_sender(written(f"text {number}", message_id=f"m{number}"), helper)
    (card,) = stage.channels["chat"].cards("dm-ada")
    assert stage.channels["chat"].texts("team") == [wording.ASKED]
    assert await stage.press(OWNER, card, "allow") == "Allowed by Ada: Bob may talk to helper from now on."
    assert [one.text for one in stage.replayed] == ["text 1", "text 2"]
    assert await members_of(stage, helper) == [BOB]
    assert await stage.pending() == []


async def test_no_more_than_ten_are_kept(stage: Stage, helper: AgentGroup):
    for number in range(15):
        await stage.unknown_sender(written(f"text {number}", message_id=f"m{number}"), helper)
    await stage.press(OWNER, stage.channels["chat"].cards("dm-ada")[0], "allow")
    assert [one.text for one in stage.replayed] == [f"text {number}" for number in range(10)]


async def test_what_is_too_long_to_be_kept(stage: Stage, helper: AgentGroup):
    """The person is told at once; everything else is as ever."""
    await stage.unknown_sender(written("x" * 65 * 1024), helper)
    await stage.unknown_sender(written("short", message_id="m2"), helper)
    assert stage.channels["chat"].texts("team") == [wording.ASKED_TOO_LONG]
    (card,) = stage.channels["chat"].cards("dm-ada")
    assert f"(and {65 * 1024 - 600} more characters)" in card.card.text
    await stage.press(OWNER, card, "deny")
    assert stage.channels["chat"].texts("team")[1:] == ["You were not let in, so your message was not passed on."]
    await stage.unknown_sender(written("y" * 65 * 1024, message_id="m3"), helper)
    await stage.unknown_sender(written("short", message_id="m4"), helper)
    await stage.press(OWNER, stage.channels["chat"].cards("dm-ada")[0], "allow")
    assert [one.text for one in stage.replayed] == ["short"]


async def test_deny(stage: Stage, helper: AgentGroup):
    """Deny: no membership, the person is told; a later message asks again."""
    await stage.unknown_sender(written(), helper)
    (card,) = stage.channels["chat"].cards("dm-ada")
    assert await stage.press(OWNER, card, "deny") == "Denied by Ada."
    assert await members_of(stage, helper) == []
    assert stage.replayed == []
    assert stage.channels["chat"].texts("team")[1:] == ["You were not let in, so your message was not passed on."]
    await stage.unknown_sender(written(message_id="m2"), helper)
    assert len(stage.channels["chat"].cards("dm-ada")) == 1


async def test_deny_and_do_not_ask_again(stage: Stage, helper: AgentGroup):
    """A deny is remembered if the approver says so: neither a card nor a row nor a word afterwards."""
    await stage.unknown_sender(written(), helper)
    await stage.press(OWNER, stage.channels["chat"].cards("dm-ada")[0], "deny-always")
    assert helper.id in (await stage.database.run(roles.standing, BOB)).denied_in
    before = len(stage.channels["chat"].messages)
    await stage.unknown_sender(written(message_id="m2"), helper)
    assert len(stage.channels["chat"].messages) == before
    assert await stage.pending() == []
    (denial,) = await stage.database.run(members.denials)
    assert denial.denied_by == OWNER


async def test_a_click_without_the_right_changes_nothing(stage: Stage, helper: AgentGroup):
    """W-27: judged before anything changes. The wrong person gets words, the card stays as it was, the row too."""
    other = await stage.group("other")
    await stage.person(ADMIN, "Carol", "admin", other)
    await stage.person(MALLORY)
    await stage.unknown_sender(written(), helper)
    platform = stage.channels["chat"]
    (card,) = platform.cards("dm-ada")
    for wrong in (MALLORY, BOB, ADMIN, "", "ada", "plain:ada", "terminal:root"):
        for value in ("allow", "deny-always", "nonsense", "#1"):
            assert "may not decide" in await stage.press(wrong, card, value)
    assert platform.cards("dm-ada") == [card]
    assert [one.history for one in platform.in_chat("dm-ada")] == [[]]
    assert len(await stage.pending()) == 1
    assert await members_of(stage, helper) == []


async def test_the_right_is_judged_when_it_is_used(stage: Stage, helper: AgentGroup):
    """Whoever was asked and has lost the right since may not decide any more."""
    await stage.person(ADMIN, "Carol", "admin", helper)
    await stage.unknown_sender(written(), helper)
    (card,) = stage.channels["chat"].cards("dm-carol")
    await stage.database.run(roles.revoke, ADMIN, "admin", helper.id)
    assert "may not decide" in await stage.press(ADMIN, card, "allow")
    assert len(await stage.pending()) == 1


async def test_somebody_else_with_the_right_may_decide(stage: Stage, helper: AgentGroup):
    """Click by a global admin who is not the one who was asked: accepted."""
    await stage.person("chat:gina", "Gina", "admin")
    await stage.person(ADMIN, "Carol", "admin", helper)
    await stage.unknown_sender(written(), helper)
    (card,) = stage.channels["chat"].cards("dm-carol")
    assert "Allowed by Gina" in await stage.press("chat:gina", card, "allow")
    assert await members_of(stage, helper) == [BOB]


async def test_a_double_click_is_answered_with_words(stage: Stage, helper: AgentGroup):
    """Exactly one decision; the card says it, and so does the answer to a second click, whatever it says."""
    await stage.person("chat:gina", "Gina", "admin")
    await stage.unknown_sender(written(), helper)
    (card,) = stage.channels["chat"].cards("dm-ada") or stage.channels["chat"].cards("dm-gina")
    await stage.press(OWNER, card, "allow")
    assert await stage.press(OWNER, card, "allow") == "You have allowed this already."
    assert await stage.press("chat:gina", card, "deny-always") == "Ada has allowed this already."
    assert await members_of(stage, helper) == [BOB]
    assert len(stage.replayed) == 1
    shown = next(one for one in stage.channels["chat"].messages if one.history)
    assert isinstance(shown.body, Edit)
    assert shown.body.text.startswith("May Bob talk to helper?\n\n“Bob” (chat:bob) wrote")
    assert shown.body.text.endswith("→ Allowed by Ada: Bob may talk to helper from now on.")
    assert len(shown.history) == 1


async def test_expiry_tells_everybody(stage: Stage, helper: AgentGroup):
    """W-60: after its time the card is changed, the waiting person told, a late click answered; asking again works."""
    await stage.unknown_sender(written(), helper)
    platform = stage.channels["chat"]
    (card,) = platform.cards("dm-ada")
    await stage.expire()
    assert platform.in_chat("dm-ada")[0].text.endswith("→ Nobody decided in time: this has expired.")
    assert platform.texts("team")[1].startswith("Nobody decided in time")
    assert "expired" in await stage.press(OWNER, card, "allow")
    assert await members_of(stage, helper) == []
    (approval,) = await stage.every_approval()
    assert (approval.status, approval.decided_by, approval.payload) == ("expired", None, {})
    await stage.unknown_sender(written(message_id="m2"), helper)
    assert len(platform.cards("dm-ada")) == 1


async def test_a_click_after_the_time_but_before_anybody_noticed(stage: Stage, helper: AgentGroup):
    await stage.unknown_sender(written(), helper)
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.make_old("approvals", "expires_at")
    assert "expired" in await stage.press(OWNER, card, "allow")
    assert await members_of(stage, helper) == []
    assert [one.status for one in await stage.every_approval()] == ["expired"]


async def test_the_timer_notices(stage: Stage, helper: AgentGroup):
    """Also the timer of a daemon that started after the approval was asked for."""
    stage.hours = 0.3 / 3600
    await stage.restart()
    await stage.unknown_sender(written(), helper)
    platform = stage.channels["chat"]
    await platform.until(lambda: any("Nobody decided" in text for text in platform.texts("team")))
    await stage.rest()
    assert (await stage.every_approval())[0].status == "expired"


async def test_a_restart_in_between_loses_nothing(stage: Stage, helper: AgentGroup):
    await stage.unknown_sender(written(), helper)
    await stage.restart()
    await stage.unknown_sender(written("again", message_id="m2"), helper)
    await stage.restart()
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.press(OWNER, card, "allow")
    assert [one.text for one in stage.replayed] == ["hello", "again"]
    assert stage.channels["chat"].texts("team") == [wording.ASKED]


async def test_without_an_approver_it_waits_for_one(stage: Stage):
    """No owner: the approval is there all the same and shows; a new owner gets its card (F: posted after a grant)."""
    group = await stage.group("helper")
    await stage.wire(written(), group)
    await stage.unknown_sender(written(), group)
    (approval,) = await stage.pending()
    assert stage.channels["chat"].all_cards() == []
    await stage.person(OWNER, "Ada", "owner")
    stage.permissions.repost()
    await stage.rest()
    (card,) = stage.channels["chat"].cards("dm-ada")
    assert card.card_id == approval.id


async def test_order_of_approvers(stage: Stage, helper: AgentGroup):
    """Admin of the group, then global admin, then owner; each only where the one before has no direct chat."""
    await stage.person("chat:gina", "Gina", "admin")
    await stage.person(ADMIN, "Carol", "admin", helper)
    platform = stage.channels["chat"]
    for without, asked in ((set(), "dm-carol"), ({"carol"}, "dm-gina"), ({"carol", "gina"}, "dm-ada")):
        platform.without_dm = without
        await stage.database.run(lambda c: c.execute("DELETE FROM user_dms").get)
        await stage.database.run(lambda c: c.execute("DELETE FROM approvals").get)
        platform.messages.clear()
        await stage.unknown_sender(written(), helper)
        assert [one.address.platform_id for one in platform.messages if one.address.platform_id != "team"] == [asked]


async def test_an_approver_on_the_same_channel_first(stage: Stage, helper: AgentGroup):
    await stage.person("plain:carol", "Carol", "admin", helper)
    await stage.unknown_sender(written(), helper)
    assert len(stage.channels["chat"].cards("dm-ada")) == 1
    assert stage.channels["plain"].messages == []


async def test_somebody_who_can_be_reached_before_somebody_who_cannot(stage: Stage, helper: AgentGroup):
    """An admin whose terminal nobody looks at does not keep an owner from being asked."""
    await stage.person(ADMIN, "Carol", "admin", helper)
    stage.channels["chat"].unreachable.add("dm-carol")
    await stage.unknown_sender(written(), helper)
    assert len(stage.channels["chat"].cards("dm-ada")) == 1
    assert stage.channels["chat"].cards("dm-carol") == []


async def test_a_card_waits_for_its_chat_without_attempts(stage: Stage, helper: AgentGroup):
    platform = stage.channels["chat"]
    platform.unreachable.add("dm-ada")
    await stage.unknown_sender(written(), helper)
    (approval,) = await stage.pending()
    (row,) = await stage.cards_of(approval.id)
    assert (row.status, row.attempts, row.next_attempt_at) == ("pending", 0, None)
    assert "waits" in str(row.reason)
    platform.unreachable.clear()
    stage.outbox.reachable(dm("", by=OWNER).address)
    await stage.rest()
    assert len(platform.cards("dm-ada")) == 1


async def test_a_card_that_fails_is_tried_until_its_time_is_over(stage: Stage, helper: AgentGroup):
    """W-28: a failed card suppresses nothing; it is tried again with back-off, and shows with the reason."""
    platform = stage.channels["chat"]
    for _ in range(20):
        platform.outcomes.append(Undelivered("blocked by the user", permanent=True))
    await stage.unknown_sender(written(), helper)
    (approval,) = await stage.pending()
    for expected in range(2, 12):
        (row,) = await stage.cards_of(approval.id)
        assert (row.status, row.reason) == ("pending", "blocked by the user")
        assert row.next_attempt_at is not None
        await stage.database.run(host_messages.bring_forward, "2020-01-01T00:00:00.000Z")
        stage.outbox.nudge()
        await stage.rest()
        (row,) = await stage.cards_of(approval.id)
        assert row.attempts >= expected
    platform.outcomes.clear()
    await stage.database.run(host_messages.bring_forward, "2020-01-01T00:00:00.000Z")
    stage.outbox.nudge()
    await stage.rest()
    (card,) = platform.cards("dm-ada")
    await stage.press(OWNER, card, "allow")
    assert await members_of(stage, helper) == [BOB]


async def test_after_failed_cards_the_next_approver_is_asked(stage: Stage, helper: AgentGroup):
    await stage.person(ADMIN, "Carol", "admin", helper)
    platform = stage.channels["chat"]
    platform.unreachable.add("team")
    for _ in range(3):
        platform.outcomes.append(Undelivered("blocked by the user", permanent=True))
    await stage.unknown_sender(written(), helper)
    for _ in range(2):
        await stage.database.run(host_messages.bring_forward, "2020-01-01T00:00:00.000Z")
        stage.outbox.nudge()
        await stage.rest()
    assert platform.cards("dm-ada") == []
    stage.permissions.repost()
    await stage.rest()
    (card,) = platform.cards("dm-ada")
    await stage.press(OWNER, card, "deny")
    (approval,) = await stage.every_approval()
    states = {one.person: (one.status, one.reason) for one in await stage.cards_of(approval.id)}
    assert states[OWNER] == ("delivered", None)
    # It was tried, so it may have been shown: whoever has it reads how it ended, and is asked nothing any more.
    assert states[ADMIN] == ("delivered", None)
    assert platform.all_cards() == []


async def test_operators_decide_without_a_role(stage: Stage, helper: AgentGroup):
    """By value, label or number; what is over is refused with the words that a click gets."""
    service = stage.permissions.approvals
    await stage.unknown_sender(written(), helper)
    (approval,) = await stage.pending()
    with pytest.raises(Refused, match="There is no such choice; there are: allow, deny, deny-always"):
        await service.decide(approval.id, "perhaps", "root")
    decided, words = await service.decide(approval.id, "DENY", "root")
    assert (decided.status, decided.decided_by, decided.decision) == ("rejected", "terminal:root", "deny")
    assert words == "Denied by root."
    with pytest.raises(Refused, match="You have refused this already"):
        await service.decide(approval.id, "1", "root")
    await stage.unknown_sender(written(message_id="m2"), helper)
    (approval,) = await stage.pending()
    decided, _ = await service.decide(approval.id, "1", "root")
    await stage.rest()
    assert decided.status == "approved"
    assert await members_of(stage, helper) == [BOB]


async def test_two_agents_in_a_chat(stage: Stage, helper: AgentGroup):
    """One message, two questions, but the person hears once that somebody is asked."""
    second = await stage.group("second")
    await stage.wire(written(), second)
    await stage.unknown_sender(written(), helper)
    await stage.unknown_sender(written(), second)
    assert stage.channels["chat"].texts("team") == [wording.ASKED]
    cards = stage.channels["chat"].cards("dm-ada")
    assert len(cards) == 2
    for card in cards:
        await stage.press(OWNER, card, "allow")
    assert await members_of(stage, helper) == await members_of(stage, second) == [BOB]


async def test_nobody_unidentified_is_asked_about(stage: Stage, helper: AgentGroup):
    for by in (None, "nocolon", "chat:\u202ebob"):
        await stage.unknown_sender(written(by=by), helper)
    assert await stage.pending() == []
    assert stage.channels["chat"].messages == []


async def test_a_crowd_does_not_flood_the_approvers(stage: Stage, helper: AgentGroup):
    """So many questions of a chat, and no more; who comes too late is told once."""
    for number in range(crowd.MAX_OF_CHAT):
        await stage.unknown_sender(written(by=f"chat:s{number}", message_id=f"m{number}"), helper)
    for number in range(3):
        await stage.unknown_sender(written(by="chat:late", message_id=f"late{number}"), helper)
    assert len(stage.channels["chat"].cards("dm-ada")) == crowd.MAX_OF_CHAT
    assert stage.channels["chat"].texts("team").count(crowd.FULL) == 1
    await stage.unknown_sender(written("again", by="chat:s0", message_id="again"), helper)
    await stage.press(OWNER, stage.channels["chat"].cards("dm-ada")[0], "allow")
    assert [one.text for one in stage.replayed] == ["hello", "again"]


async def test_routing_again_is_tried_until_it_can_be_done(stage: Stage, helper: AgentGroup):
    """A replay that can't be stored now is not lost, also not by a restart; one that fails leaves the others alone."""
    await stage.unknown_sender(written("one", message_id="m1"), helper)
    await stage.unknown_sender(written("two", message_id="m2"), helper)
    stage.replay_fails.append(Unavailable("the disk is full"))
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.permissions.click(Click(card.card_id, "allow", OWNER, dm("", by=OWNER).address))
    async with asyncio.timeout(20):
        await stage.replay_failed.wait()
    await stage.end()
    assert stage.replayed == []
    stage.replay_fails.append(RuntimeError("bug"))
    await stage.start()
    await stage.rest()
    assert [one.text for one in stage.replayed] == ["two"]
    (approval,) = await stage.every_approval()
    assert approval.payload == {}


async def test_a_group_that_was_deleted_takes_its_questions_along(stage: Stage, helper: AgentGroup):
    await stage.unknown_sender(written(), helper)
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.database.run(agent_groups.delete, helper.id)
    assert await stage.press(OWNER, card, "allow") == "This card is not open any more."


async def test_text_answers(make_stage: MakeStage):
    """On a channel without buttons the card has numbers, and the outcome is said once, in a message."""
    stage = await make_stage({"chat": Platform("chat", BUTTONS), "plain": Platform("plain", PLAIN)})
    group = await stage.group("helper")
    await stage.person("plain:ada", "Ada", "owner")
    await stage.wire(written(channel="plain"), group)
    await stage.unknown_sender(written(channel="plain", by="plain:bob"), group)
    plain = stage.channels["plain"]
    (shown,) = plain.texts("dm-ada")
    assert "1. Allow\n2. Deny\n3. Deny and don't ask again" in shown
    (approval,) = await stage.pending()
    await stage.write_answer(dm("1", by="plain:ada", channel="plain"), approval, "allow")
    assert plain.texts("dm-ada")[1:] == ["Allowed by Ada: Bob may talk to helper from now on."]
    assert plain.ended == [("m1", True), ("d1", True)]
    await stage.write_answer(dm("1", by="plain:ada", channel="plain"), approval, "allow")
    assert len(plain.texts("dm-ada")) == 2
    await stage.write_answer(dm("1", by="plain:ada", channel="plain", message_id="d2"), approval, "allow")
    assert plain.texts("dm-ada")[2:] == ["You have allowed this already."]
    await stage.unknown_sender(written(channel="plain", by="plain:eve", message_id="m9"), group)
    await stage.expire()
    assert plain.texts("dm-ada")[-1].endswith("→ Nobody decided in time: this has expired.")
