"""Anything in any order: people write, approvers and others click, time passes, the daemon dies and comes back.

A small model says what has to be true of one stranger and one agent; after each step the real parts are compared.
"""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nanoclawd.sessions.ports import Edit, ShownCard, Undelivered
from nanoclawd.store import approvals, host_messages, members, roles
from unit.permissions.permission_stage import BUTTONS, Platform, Stage, until_killed, written

OWNER, ADMIN, BOB = "chat:ada", "chat:carol", "chat:bob"
VALUES = ("allow", "deny", "deny-always")


class Strangers(RuleBasedStateMachine):
    """One stranger who writes, two people with the right to decide, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.stage = Stage(Path(self.directory.name), {"chat": Platform("chat", BUTTONS)})
        self.written = 0
        self.waiting: list[str] = []
        self.passed: list[str] = []
        self.is_member = self.is_denied = self.is_pending = False
        self.cards: list[ShownCard] = []

    def do[T](self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(30):
                return await work

        return self.loop.run_until_complete(bounded())

    @initialize()
    def begin(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        await self.stage.start()
        self.group = await self.stage.group("helper")
        await self.stage.person(OWNER, "Ada", "owner")
        await self.stage.person(ADMIN, "Carol", "admin", self.group)
        await self.stage.wire(written(), self.group)

    @rule()
    def write(self) -> None:
        """As the router does: members and the denied are not asked about."""
        if self.is_member or self.is_denied:
            return
        self.written += 1
        text = f"text {self.written}"
        self.do(self.stage.unknown_sender(written(text, message_id=text), self.group))
        self.is_pending = True
        if len(self.waiting) < 10:
            self.waiting.append(text)
        self._see_cards()

    @precondition(lambda self: self.cards)
    @rule(data=st.data(), value=st.sampled_from(VALUES), who=st.sampled_from((OWNER, ADMIN)))
    def click(self, data: st.DataObject, value: str, who: str) -> None:
        card = data.draw(st.sampled_from(self.cards))
        is_open = self.is_pending and card.card_id == self._open_id()
        words = self.do(self.stage.press(who, card, value))
        if not is_open:
            assert words.endswith("already.") or "expired" in words
            return
        self._decided(value)

    @precondition(lambda self: self.is_pending)
    @rule(value=st.sampled_from(VALUES))
    def decide_as_operator(self, value: str) -> None:
        self.do(self._decide(value))
        self._decided(value)

    async def _decide(self, value: str) -> None:
        (approval,) = await self.stage.pending()
        await self.stage.permissions.approvals.decide(approval.id, value, "root")
        await self.stage.rest()

    @precondition(lambda self: self.cards)
    @rule(
        data=st.data(), value=st.sampled_from((*VALUES, "", "#1", "nonsense")), who=st.sampled_from((BOB, "chat:eve"))
    )
    def click_without_the_right(self, data: st.DataObject, value: str, who: str) -> None:
        words = self.do(self.stage.press(who, data.draw(st.sampled_from(self.cards)), value))
        assert "may not decide" in words

    @rule()
    def time_passes(self) -> None:
        self.do(self.stage.expire())
        if self.is_pending:
            self.is_pending = False
            self.waiting = []

    @rule()
    def restart(self) -> None:
        self.do(self.stage.restart())
        self.do(self.stage.rest())
        self._see_cards()

    @precondition(lambda self: self.is_pending and self.cards)
    @rule(value=st.sampled_from(VALUES), calls=st.integers(0, 12))
    def die_while_deciding(self, value: str, calls: int) -> None:
        """The click may or may not have counted before the death; whoever clicked does so again."""
        self._see_cards()
        card = next((one for one in self.cards if one.card_id == self._open_id()), None)
        if card is None:
            return
        self.do(self.stage.end())
        self.do(until_killed(self.stage, calls, lambda: self.stage.press(OWNER, card, value)))
        self.do(self.stage.start())
        self.do(self.stage.rest())
        self.do(self.stage.press(OWNER, card, value))
        self._decided(value)

    @rule(count=st.integers(1, 4))
    def platform_fails(self, count: int) -> None:
        """For a time: a platform that refuses a card's change for good leaves it as it is."""
        self.stage.channels["chat"].outcomes.extend([Undelivered("no")] * count)

    @rule()
    def retries_come(self) -> None:
        self.stage.channels["chat"].outcomes.clear()
        self.do(self._retry())
        self._see_cards()

    async def _retry(self) -> None:
        await self.stage.database.run(host_messages.bring_forward, "2020-01-01T00:00:00.000Z")
        self.stage.permissions.repost()
        await self.stage.rest()

    @rule()
    def forgive(self) -> None:
        """``ncl users undeny``, ``ncl members remove``."""
        self.do(self.stage.database.run(members.undeny, BOB))
        if self.is_member:
            self.do(self.stage.database.run(members.remove, BOB, self.group.id))
        self.is_member = self.is_denied = False

    @invariant()
    def what_is_stored(self) -> None:
        if not self.written:
            return
        standing = self.do(self.stage.database.run(roles.standing, BOB))
        assert (self.group.id in standing.member_of) == self.is_member
        assert (self.group.id in standing.denied_in) == self.is_denied
        pending = self.do(self.stage.pending())
        assert len(pending) == self.is_pending
        texts = list(dict.fromkeys(one.text for one in self.stage.replayed))
        assert texts == self.passed
        assert self.do(self.stage.database.run(approvals.unfinished)) == []

    @invariant()
    def what_is_shown(self) -> None:
        """A card that can be clicked belongs to what is open, once all deliveries are through."""
        if self.stage.channels["chat"].outcomes or not self.written:
            return
        self.do(self._retry())
        self._see_cards()
        shown = {one.card_id for one in self.stage.channels["chat"].all_cards()}
        assert shown <= ({self._open_id()} if self.is_pending else set())
        assert bool(shown) == self.is_pending
        for one in self.stage.channels["chat"].messages:
            assert not isinstance(one.body, Edit) or "→" in one.text

    def teardown(self) -> None:
        self.do(self.stage.end())
        self.loop.close()
        self.directory.cleanup()

    def _decided(self, value: str) -> None:
        self.is_pending = False
        if value == "allow":
            self.is_member = True
            self.passed += self.waiting
        self.is_denied = self.is_denied or value == "deny-always"
        self.waiting = []

    def _open_id(self) -> str | None:
        pending = self.do(self.stage.pending())
        return pending[0].id if pending else None

    def _see_cards(self) -> None:
        known = {one.card_id for one in self.cards}
        self.cards += [one for one in self.stage.channels["chat"].all_cards() if one.card_id not in known]


Strangers.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
test_any_order = Strangers.TestCase
