"""Requests of agents that a rule holds: a card asks somebody with the right to decide, and the gateway waits for it.

Which request waits only the gateway knows. While it is connected, the approval waits; when it hangs up, the approval is
withdrawn; when this daemon is restarted, the gateway comes back with the same id, and what nobody comes back for is
withdrawn then.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import parse
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.control.values import HeldRequest, RequestAnswer
from nanoclawd.errors import NanoclawError, NotFound
from nanoclawd.journal import about
from nanoclawd.permissions import cards, held_cards
from nanoclawd.permissions.actions import ActionHandler, Applied, Decider
from nanoclawd.permissions.approvals import ApprovalService
from nanoclawd.permissions.direct_messages import DirectMessages
from nanoclawd.scheduling.background import Background
from nanoclawd.store import agent_groups, approvals, grants, roles
from nanoclawd.store import egress as rules
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.approvals import Approval
from nanoclawd.store.database import Database
from nanoclawd.store.grants import Scope

log = logging.getLogger(__name__)

ACTION: Final = "request"
HOUR_SECONDS: Final = 3600.0
MAX_WAITING: Final = 8
"""Of one agent group: a card each."""

MAX_CARDS: Final = 30
"""Of one agent group in ten minutes: who asks, hangs up and asks again buries nobody in cards."""

_CARDS_SECONDS: Final = 600
_LATE_SECONDS: Final = 5.0
_TRIES: Final = 3
"""Failed deliveries of a card after which nobody is waited for on that way."""

_GRACE_SECONDS: Final = 30.0
"""After this daemon's start the gateway has so long to come back for what it waits for."""

_GONE: Final = "Withdrawn: the request does not wait any more. The agent left, or the gateway was restarted."
_NOBODY: Final = "nobody has the right to decide, see: ncl roles list"
_UNDELIVERED: Final = "the card could not be delivered to anybody who may decide"
_UNREACHABLE: Final = "nobody who may decide can be reached at the moment"


class HeldRequests(ActionHandler):
    """Implements :class:`~nanoclawd.control.api.RequestsBackend`; the handler of its own approvals."""

    def __init__(self, database: Database, service: ApprovalService, messages: DirectMessages) -> None:
        """Begin; registers itself with the approvals, so before they are started."""
        self._database = database
        self._service = service
        self._messages = messages
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._background = Background(log, "looking after held requests")
        self._stopping = False
        self._undeliverable: set[str] = set()
        service.register(ACTION, self)

    def start(self) -> None:
        """Give the gateway time to come back for what it waits for; what it does not come for is withdrawn."""
        self._background.spawn(self._withdraw_forgotten())

    def stop(self) -> None:
        """Let the gateway's connections end without an end for what waits; before they are ended."""
        self._stopping = True
        self._background.cancel()

    async def hold(self, request: HeldRequest, tell: Callable[[RequestAnswer], Awaitable[None]]) -> RequestAnswer:
        """Return what becomes of a request, once that is decided."""
        done = asyncio.Event()
        waiting = self._waiting.setdefault(request.id, set())
        waiting.add(done)
        try:
            answer = await self._begun(request)
            if answer.outcome != "asked":
                done.set()
                return answer
            await tell(answer)
            with contextlib.suppress(TimeoutError):
                # It expires before; only the approval of a group that is deleted goes without a word.
                async with asyncio.timeout(request.seconds + _LATE_SECONDS):
                    await done.wait()
            # Decided, or expired: what is written counts.
            found = await self._database.run(_answer, request.id) or RequestAnswer("expired")
            if found.outcome == "expired" and request.id in self._undeliverable:
                return RequestAnswer("unreachable", found.approval, words=_UNDELIVERED)
            return found
        finally:
            waiting.discard(done)
            self._undeliverable.discard(request.id)
            if not waiting:
                self._waiting.pop(request.id, None)
                if not done.is_set() and not self._stopping:
                    self._background.spawn(self._withdraw(request.id))

    async def _begun(self, request: HeldRequest) -> RequestAnswer:
        """Return what is known of a request; have somebody asked about a new one."""
        known = await self._database.run(_answer, request.id)
        if known is not None:
            return known
        try:
            scope, rule, granted = await self._database.run(_judged, request)
        except NotFound as error:
            return RequestAnswer("unreachable", words=error.message)
        if granted is not None:
            return granted
        words = await self._why_nobody(scope.agent_group_id)
        if words:
            return RequestAnswer("unreachable", words=words)
        if not await self._database.run(_has_room, scope.agent_group_id):
            return RequestAnswer("crowded", words=f"{MAX_WAITING} at once, {MAX_CARDS} in ten minutes")
        try:
            new = held_cards.new_request(ACTION, request, scope, rule)
            approval, _ = await self._service.request(new)
        except NanoclawError as error:
            if error.code == "Unavailable":
                raise
            return RequestAnswer("unreachable", words=error.message)
        log.info(
            "%s asks for %s, approval %s",
            request.group,
            held_cards.what(replace(request, path=(request.path or "").partition("?")[0])),
            approval.id,
            extra=about(group=request.group, session=request.session),
        )
        return RequestAnswer("asked", approval.id)

    async def _why_nobody(self, agent_group_id: str) -> str:
        """Return why nobody can be asked, an empty text where somebody can."""
        users = await self._database.run(roles.approvers, agent_group_id)
        if not users:
            return _NOBODY
        for user in users:
            place = await self._messages.of(user)
            if place is not None and self._messages.reachable(place):
                return ""
        return _UNREACHABLE

    def apply(self, connection: apsw.Connection, approval: Approval, option: Option, by: Decider) -> Applied:
        """Note what was allowed for a while; the gateway is told once it is written."""
        if option.value == held_cards.DENY.value:
            return Applied("rejected", f"{option.done} by {by.name}.")
        if option.value == held_cards.HOUR.value:
            scope = Scope.of_payload(approval.payload)
            grants.put(connection, scope, approval.id, time.time() + HOUR_SECONDS)
        return Applied("approved", f"{option.done} by {by.name}.")

    def review(self, connection: apsw.Connection) -> None:
        """Give up what was tried to be shown to everybody who may decide, and arrived nowhere."""
        for approval in approvals.pending(connection):
            if approval.action != ACTION or approval.subject not in self._waiting:
                continue
            shown = cards.present(connection, approval)
            left = set(roles.approvers(connection, approval.agent_group_id)) - {one.person for one in shown}
            if not left and all(one.status == "pending" and one.attempts >= _TRIES for one in shown):
                self._undeliverable.add(approval.subject)
                approvals.expire_now(connection, approval.id)

    async def finish(self, approval: Approval, *, resumed: bool) -> None:
        """Tell the gateway, if it waits."""
        del resumed
        for done in self._waiting.get(approval.subject, ()):
            done.set()

    async def _withdraw(self, request_id: str) -> None:
        approval = await self._database.run(approvals.newest, ACTION, request_id)
        if approval is not None and request_id not in self._waiting:
            await self._service.withdraw(approval.id, _GONE)

    async def _withdraw_forgotten(self) -> None:
        # That nobody comes back for something tells nobody.
        await asyncio.sleep(_GRACE_SECONDS)
        for approval in await self._database.run(approvals.pending):
            if approval.action == ACTION and approval.subject not in self._waiting:
                await self._service.withdraw(approval.id, _GONE)


def _judged(connection: apsw.Connection, request: HeldRequest) -> tuple[Scope, str, RequestAnswer | None]:
    """Return what a permission would be about, the rule in words, and the answer where there is one already.

    Raises:
        NotFound: the group or the rule has gone.
    """
    group = agent_groups.by_folder(connection, request.group)
    if request.outside is not None:
        return Scope(group.id, 0, request.host, request.port, request.method or ""), held_cards.OUTSIDE, None
    rule = rules.by_number(connection, request.rule).rule
    if rule.action != "ask" or rule.group not in (None, request.group):
        raise NotFound(f"rule {request.rule} does not ask about requests of {request.group} any more")
    session = request.session
    if session is not None and session not in {one.id for one in session_rows.of_group(connection, group.id)}:
        session = None  # deleted since then
    scope = Scope(group.id, rule.id, request.host, request.port, request.method or "", session)
    found = grants.find(connection, scope, time.time())
    answer = None if found is None else RequestAnswer("allowed", found[0], found[1])
    return scope, str(rule), answer


def _answer(connection: apsw.Connection, request_id: str) -> RequestAnswer | None:
    """Return what is known of a request, None of a new one."""
    approval = approvals.newest(connection, ACTION, request_id)
    if approval is None:
        return None
    if approval.status == "pending":
        return RequestAnswer("asked", approval.id)
    if approval.status == "approved":
        until = None
        if approval.decision == held_cards.HOUR.value and approval.decided_at is not None:
            until = parse(approval.decided_at).timestamp() + HOUR_SECONDS
        return RequestAnswer("allowed", approval.id, until)
    return RequestAnswer("denied" if approval.status == "rejected" else "expired", approval.id)


def _has_room(connection: apsw.Connection, agent_group_id: str) -> bool:
    with writing(connection):
        grants.forget_old(connection, time.time())
    waiting, recent = approvals.count_of_group(connection, ACTION, agent_group_id, _CARDS_SECONDS)
    return waiting < MAX_WAITING and recent < MAX_CARDS
