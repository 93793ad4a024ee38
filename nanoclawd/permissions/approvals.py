"""Approvals: asked of somebody with the right to decide, decided exactly once, expired in time, kept over a restart.

A decision, what it changes in ``central.db``, the words to those who wait and the change of the card are one commit.
What follows outside of the database is marked in the same commit (the payload stays until it is done), so that the next
daemon goes on with it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import now_text, parse
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.errors import NanoclawError, Refused, Unavailable
from nanoclawd.journal import about
from nanoclawd.permissions import cards, wording
from nanoclawd.permissions.actions import ORIGIN, ActionHandler, Applied, Decider
from nanoclawd.permissions.asking import Asking
from nanoclawd.permissions.direct_messages import DirectMessages
from nanoclawd.scheduling.background import Background
from nanoclawd.scheduling.timer import WallTimer
from nanoclawd.store import approvals, host_messages, roles
from nanoclawd.store.approvals import Approval, NewApproval
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage

log = logging.getLogger(__name__)

DEFAULT_HOURS: Final = 24
KEPT_SECONDS: Final = 90 * 86400
"""So long a decided approval can be looked up."""

_PRUNE_SECONDS: Final = 86400
_FIRST_LOOK_SECONDS: Final = 5
_LONGEST_LOOK_SECONDS: Final = 300
"""While an approval's card has reached nobody: somebody may be reachable by now."""

_FIRST_RETRY_SECONDS: Final = 5
_LONGEST_RETRY_SECONDS: Final = 300
_AFTER_FAULT_SECONDS: Final = 60
"""The database could not be written (a full disk): so long until everything is looked at anew."""

_BEGUN: Final = "begun"


@dataclass(frozen=True, slots=True)
class NewRequest:
    """What is to be asked.

    Attributes:
        subject: what it is about: the same action and subject are never asked twice at once.
        body: the whole effect, in words for whoever decides.
        payload: what the handler needs later (JSON); ``global`` true: no group's admin may decide (W-58).
        agent_group_id: the group whose admins may decide.
        origin_channel: approvers on this channel are asked first.
        notice: told to who waits, if it is a new request, in the same commit.
        seconds: after which it has expired; None: after as long as approvals wait.
    """

    action: str
    subject: str
    title: str
    body: str
    options: tuple[Option, ...]
    payload: dict[str, Any] = field(default_factory=dict)
    agent_group_id: str | None = None
    session_id: str | None = None
    messaging_group_id: str | None = None
    user_id: str | None = None
    origin_channel: str = ""
    notice: HostMessage | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt to decide came to: ``words`` for whoever tried, and the approval where the choice counted."""

    words: str
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Where the words of a decision go as a message, in the same commit: to who wrote it.

    Attributes:
        channel: they need no second message in the card's place there.
        reply: makes the message of the words.
    """

    channel: str
    reply: Callable[[str], HostMessage]


class _CannotError(Exception):
    """What was decided can't be done: everything is rolled back."""


class ApprovalService:
    """All approvals."""

    def __init__(
        self,
        database: Database,
        outbox: HostOutbox,
        messages: DirectMessages,
        can_edit: cards.CanEdit,
        hours: float = DEFAULT_HOURS,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._can_edit = can_edit
        self._hours = hours
        self._handlers: dict[str, ActionHandler] = {}
        self._asking = Asking(database, messages, self._handlers)
        self._timer: WallTimer | None = None
        self._background = Background(log, "looking after approvals", self._recover, _AFTER_FAULT_SECONDS)
        self._finishing: set[str] = set()
        self._looking = False
        self._look_again = False
        self._look_wait = _FIRST_LOOK_SECONDS
        self._next_prune = 0.0

    def register(self, action: str, handler: ActionHandler) -> None:
        """Say who handles an action; before :meth:`start`."""
        self._handlers[action] = handler

    async def start(self) -> None:
        """Carry on where the last daemon stopped."""
        self._timer = WallTimer(self._on_due, self._on_due)
        await self._go_on()

    async def close(self) -> None:
        """Stop; everything is in the database."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        await self._background.close()

    async def rest(self) -> None:
        """Return when nothing is under way any more."""
        await self._background.rest()

    async def request(self, new: NewRequest) -> tuple[Approval, bool]:
        """Ask, unless the same is asked already.

        Returns:
            The approval, and whether it is new. Its card goes its own way: who asks never waits for a platform.

        Raises:
            NotFound: what it refers to has gone.
            Refused: the card would be too long to be shown in full.
        """
        found = await self._database.run(self.begin, new)
        self.repost()
        return found

    def begin(self, connection: apsw.Connection, new: NewRequest) -> tuple[Approval, bool]:
        """Do what :meth:`request` does in a caller's transaction, who calls :meth:`repost` after the commit."""
        cards.check(new.title, new.body, new.options)
        with writing(connection):
            approval, is_new = approvals.begin(
                connection,
                NewApproval(
                    action=new.action,
                    subject=new.subject,
                    title=new.title,
                    body=new.body,
                    options=new.options,
                    expires_at=now_text(plus_seconds=self._hours * 3600 if new.seconds is None else new.seconds),
                    payload={**new.payload, ORIGIN: new.origin_channel},
                    agent_group_id=new.agent_group_id,
                    session_id=new.session_id,
                    messaging_group_id=new.messaging_group_id,
                    user_id=new.user_id,
                ),
            )
            if is_new and new.notice is not None:
                host_messages.post(connection, new.notice)
        return approval, is_new

    async def click(self, card_id: str, value: str, user_id: str, name: str = "") -> Outcome:
        """Decide by a card's button.

        Raises:
            NotFound: it is no approval's card.
        """
        approval_id, version = cards.parse_id(card_id)
        return await self._decided(self._by_person, approval_id, value, (user_id, name), version, None)

    async def answer(self, approval_id: str, value: str, user_id: str, name: str, told: Told) -> Outcome:
        """Decide by a text that was matched with the approval's present options; the caller tells a refusal.

        Raises:
            NotFound: there is no such approval.
        """
        return await self._decided(self._by_person, approval_id, value, (user_id, name), None, told)

    async def decide(self, approval_id: str, option: str, operator: str) -> tuple[Approval, str]:
        """Decide as an operator, who may decide everything.

        Args:
            approval_id: which.
            option: an option's value, label or number.
            operator: the unix name.

        Raises:
            NotFound: there is no such approval.
            Refused: it has ended already, or has no such option, or can't be done.
        """
        by = Decider(f"terminal:{operator}", operator, is_operator=True)
        outcome = await self._decided(self._decide, approval_id, option, by, None, None)
        if outcome.approval is None:
            raise Refused(outcome.words, hint=f"ncl approvals get {approval_id}")
        return outcome.approval, outcome.words

    async def conclude(
        self,
        approval_id: str,
        applying: Callable[[apsw.Connection, Approval], Applied],
        by: tuple[str, str],
        value: str,
        told: Told,
    ) -> Outcome:
        """Decide an approval that has waited for more than a choice (a name), in one transaction with ``applying``.

        Raises:
            NotFound: there is no such approval, or what ``applying`` needs has gone.
            NanoclawError: what ``applying`` raises; nothing has changed.
        """
        return await self._decided(self._conclude, approval_id, applying, by, value, told)

    async def withdraw(self, approval_id: str, words: str) -> None:
        """End an approval that nobody waits for any more, unless it has ended; its card says why."""
        await self._database.run(self._withdraw, approval_id, words)
        self.repost()

    def repost(self) -> None:
        """Look at everything that waits: what has expired, and whom cards have not reached.

        To be called when somebody new may decide or can be written to.
        """
        self._look_wait = _FIRST_LOOK_SECONDS
        self._on_due()

    def _on_due(self) -> None:
        self._outbox.nudge()
        self._look_again = True
        if not self._looking and self._timer is not None:
            self._looking = True
            self._background.spawn(self._look())

    async def _decided(self, function: Callable[..., Outcome], *arguments: object) -> Outcome:
        outcome = await self._database.run(function, *arguments)
        approval = outcome.approval
        if approval is not None and approval.status != "pending":
            log.info(
                "approval %s (%s) was %s by %s: %s",
                approval.id,
                approval.action,
                approval.status,
                approval.decided_by,
                approval.decision,
                extra=about(group=approval.group, session=approval.session_id),
            )
            self._finish_soon(approval)
        self.repost()
        return outcome

    def _by_person(
        self,
        connection: apsw.Connection,
        approval_id: str,
        value: str,
        person: tuple[str, str],
        version: int | None,
        told: Told | None,
    ) -> Outcome:
        return self._decide(connection, approval_id, value, _person(connection, *person), version, told)

    def _decide(
        self,
        connection: apsw.Connection,
        approval_id: str,
        value: str,
        by: Decider,
        version: int | None,
        told: Told | None,
    ) -> Outcome:
        """Judge, carry out and close, in one transaction; nothing has changed where it refuses."""
        try:
            with writing(connection):
                approval = approvals.by_id(connection, approval_id)
                option = self._judged(connection, approval, value, by, version)
                if isinstance(option, str):
                    return Outcome(option)
                try:
                    applied = self._handlers[approval.action].apply(connection, approval, option, by)
                except NanoclawError as error:
                    raise _CannotError(error.message) from error
                return self._close(connection, approval, option.value, by, applied, told)
        except _CannotError as error:
            return Outcome(str(error))

    def _judged(
        self, connection: apsw.Connection, approval: Approval, value: str, by: Decider, version: int | None
    ) -> Option | str:
        """Return the option that was chosen, or in words why that can't be."""
        handler = self._handlers.get(approval.action)
        if handler is None:
            return "Nothing here handles this any more."
        option = cards.find_option(approval.options, value, by_words=by.is_operator)
        # Before anything else is said: who has no right learns nothing by a click.
        if not by.is_operator and not handler.may_decide(
            connection, approval, roles.standing(connection, by.id), option or approval.options[0]
        ):
            return "You may not decide this: it takes somebody with the right to it."
        if approval.status == "pending" and approval.expires_at <= now_text():
            return wording.already(replace(approval, status="expired"), None)
        if approval.status != "pending":
            return wording.already(approval, cards.who_decided(connection, approval, by))
        if version is not None and version != cards.version(approval):
            return "This card is out of date; there is a newer one."
        if option is None:
            return f"There is no such choice; there are: {', '.join(one.value for one in approval.options)}."
        return option

    def _conclude(
        self,
        connection: apsw.Connection,
        approval_id: str,
        applying: Callable[[apsw.Connection, Approval], Applied],
        person: tuple[str, str],
        value: str,
        told: Told,
    ) -> Outcome:
        by = _person(connection, *person)
        with writing(connection):
            approval = approvals.by_id(connection, approval_id)
            if approval.status != "pending":
                return Outcome(wording.already(approval, cards.who_decided(connection, approval, by)))
            return self._close(connection, approval, value, by, applying(connection, approval), told)

    def _close(
        self,
        connection: apsw.Connection,
        approval: Approval,
        value: str,
        by: Decider,
        applied: Applied,
        told: Told | None,
    ) -> Outcome:
        said_to = None if told is None else (by.id, told.channel)
        cards.close(connection, approval, applied.words, self._can_edit, said_to)
        if told is not None:
            host_messages.post(connection, told.reply(applied.words))
        if applied.status != "pending":
            approvals.decide(connection, approval.id, applied.status, by.id, value)
        elif applied.new_card:
            cards.renew(connection, approval.id)
        return Outcome(applied.words, approvals.by_id(connection, approval.id))

    async def _go_on(self) -> None:
        for approval in await self._database.run(approvals.unfinished):
            self._finish_soon(approval)
        self.repost()

    async def _look(self) -> None:
        try:
            while self._look_again:
                self._look_again = False
                await self._look_once()
        finally:
            self._looking = False

    async def _look_once(self) -> None:
        if time.monotonic() > self._next_prune:
            self._next_prune = time.monotonic() + _PRUNE_SECONDS
            await self._database.run(approvals.prune, now_text(plus_seconds=-KEPT_SECONDS))
        for approval in await self._database.run(self._expire):
            log.info("approval %s (%s) has expired", approval.id, approval.action)
            self._outbox.nudge()
            self._finish_soon(approval)
        posted, unreached = await self._asking.ask()
        if posted:
            self._outbox.nudge()
        expiry = await self._database.run(approvals.earliest_expiry)
        moments = [] if expiry is None else [parse(expiry).timestamp()]
        if unreached:
            moments.append(time.time() + self._look_wait)
            self._look_wait = min(2 * self._look_wait, _LONGEST_LOOK_SECONDS)
        if self._timer is not None:
            self._timer.arm(min(moments, default=None))

    def _withdraw(self, connection: apsw.Connection, approval_id: str, words: str) -> None:
        with writing(connection):
            approval = approvals.by_id(connection, approval_id)
            if approval.status == "pending":
                cards.close(connection, approval, words, self._can_edit)
                approvals.decide(connection, approval.id, "expired", None, wording.WITHDRAWN)
                approvals.carry(connection, approval.id, {})

    def _expire(self, connection: apsw.Connection) -> list[Approval]:
        ended = []
        for approval in approvals.expired(connection, now_text()):
            with writing(connection):
                handler = self._handlers.get(approval.action)
                if handler is not None:
                    handler.expire(connection, approval)
                cards.close(connection, approval, wording.EXPIRED, self._can_edit)
                approvals.decide(connection, approval.id, "expired", None, None)
                ended.append(approvals.by_id(connection, approval.id))
        return ended

    def _finish_soon(self, approval: Approval) -> None:
        if approval.action in self._handlers and approval.id not in self._finishing:
            self._finishing.add(approval.id)
            self._background.spawn(self._finish(approval))

    async def _finish(self, approval: Approval) -> None:
        """Have the handler do the rest, until it has; the emptied payload says that nothing is left."""
        resumed = approval.payload.get(_BEGUN) is True
        try:
            if not resumed:
                await self._database.run(approvals.carry, approval.id, {**approval.payload, _BEGUN: True})
            outcome = await self._finished(approval, resumed=resumed)
            await self._database.run(self._end, approval, outcome)
        finally:
            self._finishing.discard(approval.id)
        self._outbox.nudge()

    async def _finished(self, approval: Approval, *, resumed: bool) -> str | None:
        wait = _FIRST_RETRY_SECONDS
        while True:
            try:
                return await self._handlers[approval.action].finish(approval, resumed=resumed)
            except Unavailable as error:
                log.warning("approval %s can't be carried out now, trying again: %s", approval.id, error)
            except Exception:
                log.exception("carrying out approval %s failed", approval.id)
                return None
            # What was away (a disk, a session's database) tells nobody when it is back; the wait grows and is bounded.
            await asyncio.sleep(wait)
            resumed, wait = True, min(2 * wait, _LONGEST_RETRY_SECONDS)

    def _end(self, connection: apsw.Connection, approval: Approval, outcome: str | None) -> None:
        with writing(connection):
            if outcome is not None:
                cards.tell_outcome(connection, approval, outcome, self._can_edit)
            approvals.carry(connection, approval.id, {})

    def _recover(self) -> None:
        if self._timer is not None:
            self._background.spawn(self._go_on())


def _person(connection: apsw.Connection, user_id: str, name: str) -> Decider:
    return Decider(user_id, wording.who(user_id, cards.display_name(connection, user_id) or name))
