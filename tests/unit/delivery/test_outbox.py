"""The appliance's own messages: states before I/O, attempts counted, nothing lost, nothing delivered that was not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.clock import now, parse
from nanoclaw_runner.contract.rows import Address
from nanoclawd.delivery import outbox
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.sessions.ports import Delivered, Edit, Outgoing, ShownCard, Undelivered
from nanoclawd.store import approvals, host_messages
from nanoclawd.store.approvals import NewApproval
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage
from unit.permissions.permission_stage import BUTTONS, PLAIN, Platform, Stage

TEAM, OTHER = Address("chat", "team"), Address("chat", "other")
CARD = Card("May I?", "Everything.", (Option("Yes", "yes", "Yes"), Option("No", "no", "No")))
LONG_AGO = "2020-01-01T00:00:00.000Z"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, {"chat": Platform("chat", BUTTONS), "plain": Platform("plain", PLAIN)})
    await made.start()
    yield made
    await made.end()


@pytest.fixture
def chat(stage: Stage) -> Platform:
    return stage.channels["chat"]


async def row(stage: Stage, message_id: str) -> HostMessage:
    return await stage.database.run(host_messages.by_id, message_id)


async def later(stage: Stage) -> None:
    """Let the time of every retry come."""
    await stage.database.run(host_messages.bring_forward, LONG_AGO)
    stage.outbox.nudge()
    await stage.outbox.rest()


async def approval(stage: Stage) -> str:
    new = NewApproval("sender", "x", CARD.title, CARD.text, CARD.options, "2999-01-01T00:00:00.000Z")
    made, _ = await stage.database.run(approvals.begin, new)
    return made.id


async def post_card(stage: Stage, address: Address = TEAM) -> tuple[str, str]:
    approval_id = await approval(stage)
    message = outbox.shown_card("card-1", address, CARD, approval_id, approval_id, "chat:ada")
    await stage.database.run(host_messages.post, message)
    stage.outbox.nudge()
    await stage.outbox.rest()
    return approval_id, "card-1"


async def test_words_arrive_once(stage: Stage, chat: Platform):
    """The same id is the same message, whoever posts it again, also after a restart; the turn that it answers ends.

    F-201: an answer to a command is such a message, outside of every session, so that no row's seq is touched by it.
    """
    assert await stage.outbox.post("m", TEAM, "hello", "in-1")
    assert not await stage.outbox.post("m", TEAM, "something else", "in-1")
    await stage.outbox.rest()
    await stage.restart()
    assert not await stage.outbox.post("m", TEAM, "hello", "in-1")
    await stage.outbox.rest()
    assert chat.texts("team") == ["hello"]
    assert chat.ended == [("in-1", True)]
    found = await row(stage, "m")
    assert (found.status, found.attempts, found.platform_message_id) == ("delivered", 1, "p0")


async def test_the_intent_is_written_before_anything_is_sent(stage: Stage, chat: Platform):
    chat.held = asyncio.Event()
    await stage.outbox.post("m", TEAM, "hello")
    await chat.until(lambda: chat.attempts == 1)
    assert (await row(stage, "m")).status == "sending"
    chat.held.set()
    await stage.outbox.rest()
    assert (await row(stage, "m")).status == "delivered"


async def test_a_crash_while_sending_costs_one_duplicate_at_most(stage: Stage, chat: Platform):
    """``sending`` is resumed: it may have arrived, or not."""
    chat.held = asyncio.Event()
    await stage.outbox.post("m", TEAM, "hello")
    await chat.until(lambda: chat.attempts == 1)
    stage.cut_off = True
    await stage.end()
    chat.held = None
    await stage.start()
    await stage.outbox.rest()
    assert chat.texts("team") == ["hello"]
    found = await row(stage, "m")
    assert (found.status, found.attempts) == ("delivered", 2)


async def test_a_stop_in_order_costs_none(stage: Stage, chat: Platform):
    """What is being sent has a moment to end; what is not yet sent waits for the next daemon."""
    chat.held = asyncio.Event()
    await stage.outbox.post("m", TEAM, "hello")
    await chat.until(lambda: chat.attempts == 1)
    await stage.outbox.post("behind", TEAM, "behind")
    asyncio.get_running_loop().call_soon(chat.held.set)
    await stage.restart()
    await stage.outbox.rest()
    assert chat.texts("team") == ["hello", "behind"]
    assert (await row(stage, "m")).attempts == 1


async def test_failing_is_never_counted_as_delivered(stage: Stage, chat: Platform):
    """W-21: no such channel, a refusal, an exception: each is recorded as what it is, with its reason."""
    await stage.outbox.post("nowhere", Address("gone", "x"), "hello", "in-1")
    chat.outcomes.extend([Undelivered("the chat is archived", permanent=True), RuntimeError("the socket broke")])
    await stage.outbox.post("refused", TEAM, "hello", "in-2")
    await stage.outbox.rest()
    await stage.outbox.post("broken", TEAM, "hello", "in-3")
    await stage.outbox.rest()
    found = {one: await row(stage, one) for one in ("nowhere", "refused", "broken")}
    assert {one: message.status for one, message in found.items()} == {
        "nowhere": "failed",
        "refused": "failed",
        "broken": "pending",
    }
    assert "no channel" in str(found["nowhere"].reason)
    assert found["refused"].reason == "the chat is archived"
    assert "the socket broke" in str(found["broken"].reason)
    assert chat.ended == [("in-2", False)]
    assert chat.messages == []


async def test_words_are_given_up_after_eight_tries(stage: Stage, chat: Platform):
    """Back-off 5, 10, 20 … s, stored: also counted over restarts."""
    chat.outcomes.extend([Undelivered("busy")] * 20)
    await stage.outbox.post("m", TEAM, "hello", "in-1")
    await stage.outbox.rest()
    for attempt in range(1, outbox.MAX_ATTEMPTS):
        found = await row(stage, "m")
        assert (found.status, found.attempts, found.reason) == ("pending", attempt, "busy")
        wait = (parse(str(found.next_attempt_at)) - now()).total_seconds()
        assert 5 * 2 ** (attempt - 1) - 3 < wait <= 5 * 2 ** (attempt - 1)
        if attempt == 4:
            await stage.restart()
        await later(stage)
    found = await row(stage, "m")
    assert (found.status, found.attempts, found.reason) == ("failed", 8, "busy")
    assert chat.attempts == 8
    assert chat.ended == [("in-1", False)]


async def test_a_card_is_never_given_up_before_its_approval(stage: Stage, chat: Platform):
    """Neither for a permanent failure nor for many; once the approval has ended it is not sent any more."""
    chat.outcomes.extend([Undelivered("blocked", permanent=True)] * 30)
    approval_id, card_id = await post_card(stage)
    for _ in range(25):
        await later(stage)
    found = await row(stage, card_id)
    assert (found.status, found.attempts) == ("pending", 26)
    assert (parse(str(found.next_attempt_at)) - now()).total_seconds() > 3590
    await stage.database.run(approvals.decide, approval_id, "rejected", None, "no")
    before = chat.attempts
    await later(stage)
    found = await row(stage, card_id)
    assert (found.status, found.reason, chat.attempts) == ("failed", "its approval has ended", before)


async def test_the_platform_says_how_long_to_wait(stage: Stage, chat: Platform):
    chat.outcomes.extend([Undelivered("slow down", retry_after=77), Undelivered("slow down", retry_after=10**9)])
    await stage.outbox.post("m", TEAM, "hello")
    await stage.outbox.rest()
    for expected in (77, 86400):
        wait = (parse(str((await row(stage, "m")).next_attempt_at)) - now()).total_seconds()
        assert expected - 3 < wait <= expected
        await later(stage)
    assert chat.texts("team") == ["hello"]


async def test_a_platform_that_asks_for_time_again_and_again_costs_no_attempts(stage: Stage, chat: Platform):
    chat.outcomes.extend([Undelivered("slow down", retry_after=1)] * 30)
    await stage.outbox.post("m", TEAM, "hello")
    await stage.outbox.rest()
    for _ in range(30):
        await later(stage)
    assert chat.texts("team") == ["hello"]


async def test_the_timer_rings_for_a_retry(stage: Stage, chat: Platform):
    chat.outcomes.append(Undelivered("slow down", retry_after=1))
    await stage.outbox.post("m", TEAM, "hello")
    await chat.until(lambda: len(chat.messages) == 1)


async def test_a_chat_that_nobody_can_reach_costs_nothing(stage: Stage, chat: Platform):
    """No attempts, no timer, also over a restart; then all that waited, in its order."""
    chat.unreachable.add("team")
    for number in range(3):
        await stage.outbox.post(f"m{number}", TEAM, f"text {number}")
        await stage.outbox.rest()
    await stage.outbox.post("other", OTHER, "elsewhere")
    await stage.outbox.rest()
    assert chat.texts("other") == ["elsewhere"]
    assert await stage.database.run(host_messages.earliest, LONG_AGO) is None
    await stage.restart()
    await stage.outbox.rest()
    assert chat.attempts == 1
    chat.unreachable.clear()
    stage.outbox.reachable(TEAM)
    await stage.outbox.rest()
    assert chat.texts("team") == ["text 0", "text 1", "text 2"]


async def test_words_do_not_wait_for_ever(stage: Stage, chat: Platform):
    """A week for a chat that nobody looks at; a card as long as its approval."""
    chat.unreachable.add("team")
    await stage.outbox.post("m", TEAM, "hello")
    _, card_id = await post_card(stage)
    await stage.database.run(lambda c: c.execute("UPDATE host_messages SET created_at = ?", (LONG_AGO,)).get)
    await stage.restart()
    await stage.outbox.rest()
    assert (await row(stage, "m")).status == "failed"
    assert (await row(stage, card_id)).status == "pending"


async def test_a_card_is_changed(stage: Stage, chat: Platform):
    """The same words once; buttons go with the change."""
    _, card_id = await post_card(stage)
    (card,) = chat.cards("team")
    assert card == ShownCard(CARD, card.card_id)
    assert await stage.outbox.edit(card_id, "It is over.")
    assert not await stage.outbox.edit(card_id, "It is over.")
    await stage.outbox.rest()
    (shown,) = chat.in_chat("team")
    assert shown.body == Edit("p0", "It is over.")
    assert await stage.outbox.edit(card_id, "Really.")
    await stage.outbox.rest()
    assert shown.text == "Really."


async def test_the_last_change_stays(stage: Stage, chat: Platform):
    """One that could not be delivered in time does not come after a later one."""
    _, card_id = await post_card(stage)
    chat.outcomes.append(Undelivered("busy"))
    await stage.outbox.edit(card_id, "Write a name.")
    await stage.outbox.rest()
    await stage.outbox.edit(card_id, "It is over.")
    await stage.outbox.rest()
    await later(stage)
    (shown,) = chat.in_chat("team")
    assert shown.text == "It is over."
    assert len(shown.history) == 1


async def test_a_channel_that_cannot_change_messages_is_told_anew(stage: Stage):
    plain = stage.channels["plain"]
    _, card_id = await post_card(stage, Address("plain", "team"))
    assert "1. Yes\n2. No" in plain.texts("team")[0]
    await stage.outbox.edit(card_id, "It is over.")
    await stage.outbox.rest()
    assert plain.texts("team")[1:] == ["It is over."]


async def test_what_was_not_delivered_is_withdrawn_and_not_changed(stage: Stage, chat: Platform):
    chat.unreachable.add("team")
    _, card_id = await post_card(stage)
    assert not await stage.outbox.edit(card_id, "It is over.")
    chat.unreachable.clear()
    stage.outbox.reachable(TEAM)
    await stage.outbox.rest()
    assert chat.messages == []
    found = await row(stage, card_id)
    assert (found.status, found.reason) == ("failed", "it was withdrawn")
    assert not await stage.outbox.edit(card_id, "again")


async def test_what_may_have_been_delivered_is_changed_once_that_is_known(stage: Stage, chat: Platform):
    """Its answer was lost, and it is decided before another attempt: nobody keeps a card that asks for ever."""
    chat.answers_lost = 1
    approval_id, card_id = await post_card(stage)
    assert (await row(stage, card_id)).status == "pending"
    await stage.database.run(approvals.decide, approval_id, "rejected", None, "no")
    assert await stage.outbox.edit(card_id, "It is over.")
    await stage.outbox.rest()
    assert chat.texts("team") == ["It is over."]


async def test_what_may_have_been_delivered_is_tried_once_more_at_most(stage: Stage, chat: Platform):
    chat.outcomes.extend([Undelivered("down")] * 2)
    approval_id, card_id = await post_card(stage)
    await stage.database.run(approvals.decide, approval_id, "rejected", None, "no")
    await stage.outbox.edit(card_id, "It is over.")
    await stage.outbox.rest()
    for _ in range(3):
        await later(stage)
    assert chat.attempts == 2
    assert chat.messages == []
    assert (await row(stage, card_id)).status == "failed"


async def test_a_change_of_what_is_being_sent_waits_behind_it(stage: Stage, chat: Platform):
    chat.held = asyncio.Event()
    approval_id = await approval(stage)
    await stage.database.run(
        host_messages.post, outbox.shown_card("card-1", TEAM, CARD, approval_id, approval_id, "chat:ada")
    )
    stage.outbox.nudge()
    await chat.until(lambda: chat.attempts == 1)
    assert await stage.outbox.edit("card-1", "It is over.")
    chat.held.set()
    await stage.outbox.rest()
    assert chat.texts("team") == ["It is over."]


async def test_a_chat_that_hangs_holds_only_itself_up(stage: Stage, chat: Platform):
    chat.held = asyncio.Event()
    await stage.outbox.post("slow", TEAM, "slow")
    await chat.until(lambda: chat.attempts == 1)
    await stage.outbox.post("behind", TEAM, "behind")
    await stage.outbox.post("m", Address("plain", "x"), "hello")
    plain = stage.channels["plain"]
    await plain.until(lambda: plain.texts("x") == ["hello"])
    assert chat.attempts == 1
    chat.held.set()
    await stage.outbox.rest()
    assert chat.texts("team") == ["slow", "behind"]


async def test_the_clock_is_set_back(stage: Stage, chat: Platform):
    """A retry is never further away than the longest back-off."""
    chat.outcomes.append(Undelivered("busy"))
    await stage.outbox.post("m", TEAM, "hello")
    await stage.outbox.rest()
    await stage.database.run(
        lambda c: c.execute("UPDATE host_messages SET next_attempt_at = '2999-01-01T00:00:00.000Z'").get
    )
    await stage.outbox._after_jump()
    wait = (parse(str((await row(stage, "m")).next_attempt_at)) - now()).total_seconds()
    assert 0 < wait <= outbox.LONGEST_RETRY_SECONDS


async def test_a_row_that_makes_no_sense_holds_nothing_up(stage: Stage, chat: Platform):
    for number, content in enumerate(("no json", "[]", "{}", '{"card": {}}', '{"edit": "nothing", "text": "x"}', "7")):
        message = HostMessage(f"odd-{number}", "chat", "team", None, content)
        await stage.database.run(host_messages.post, message)
    await stage.outbox.post("m", TEAM, "hello")
    await stage.outbox.rest()
    assert chat.texts("team") == ["hello"]
    for number in range(6):
        assert (await row(stage, f"odd-{number}")).status == "failed"


async def test_a_full_disk_is_looked_at_again(stage: Stage, chat: Platform, monkeypatch: pytest.MonkeyPatch):
    """A failed commit is no busy loop and no end: the next look does it."""
    chat.held = asyncio.Event()
    await stage.outbox.post("m", TEAM, "hello")
    await chat.until(lambda: chat.attempts == 1)
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_conclude", _full)
        chat.held.set()
        await stage.outbox.rest()
    assert chat.attempts == 1
    assert (await row(stage, "m")).status == "sending"
    stage.outbox.nudge()
    await stage.outbox.rest()
    assert (await row(stage, "m")).status == "delivered"


def _full(*_arguments: object) -> str:
    raise OSError("no room on the disk")


class _Wire:
    """A channel on which every delivery has an outcome that was drawn."""

    def __init__(self, outcomes: list[Undelivered | None]) -> None:
        self.outcomes = outcomes
        self.arrived: list[str] = []

    def reachable(self, address: Address) -> bool:
        return True

    async def deliver(self, session: None, outgoing: Outgoing, /) -> Delivered | Undelivered:
        outcome = self.outcomes.pop() if self.outcomes else None
        if outcome is None:
            self.arrived.append(outgoing.id)
            return Delivered()
        return outcome

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        pass


@given(
    outcomes=st.lists(
        st.one_of(st.none(), st.builds(Undelivered, st.text(max_size=5), st.booleans(), st.none() | st.floats())),
        max_size=40,
    ),
    restarts=st.lists(st.booleans(), min_size=12, max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_each_message_arrives_once_or_is_failed(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[Undelivered | None], restarts: list[bool]
):
    """Whatever a platform answers, in whichever order, with restarts between: delivered means that it arrived."""

    async def run() -> None:
        database = Database(tmp_path_factory.mktemp("outbox") / "central.db")
        await database.open()
        wire = _Wire(outcomes)
        box = HostOutbox(database, wire)
        await box.start()
        for number in range(4):
            await box.post(f"m{number}", TEAM, "x")
        for restart in restarts:
            if restart:
                await box.close()
                box = HostOutbox(database, wire)
                await box.start()
            await database.run(host_messages.bring_forward, LONG_AGO)
            box.nudge()
            await box.rest()
        await box.close()
        for number in range(4):
            found = await database.run(host_messages.by_id, f"m{number}")
            assert found.status in {"delivered", "failed"}
            assert wire.arrived.count(f"m{number}") == (found.status == "delivered")
            assert json.loads(found.content) == {"text": "x"}
        await database.close()

    asyncio.run(run())


async def test_a_slow_chat_hides_nothing_of_the_others(stage: Stage, chat: Platform, monkeypatch: pytest.MonkeyPatch):
    """More is due in a chat whose platform hangs than is looked at together: a card elsewhere goes out all the same."""
    monkeypatch.setattr(outbox, "_BATCH", 3)
    chat.held = asyncio.Event()
    for number in range(8):
        await stage.outbox.post(f"slow-{number}", TEAM, f"slow {number}")
    await chat.until(lambda: chat.attempts == 1)
    await stage.outbox.post("other", Address("plain", "other"), "for somebody else")
    plain = stage.channels["plain"]
    await plain.until(lambda: plain.texts("other") == ["for somebody else"])
    chat.held.set()
    await stage.outbox.rest()
    assert chat.texts("team") == [f"slow {number}" for number in range(8)]
