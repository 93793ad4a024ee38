"""Draining a session: what its agent said is delivered, in order of seq, each with its intent recorded before the I/O.

Commits: one for the intent of a row together with the outcome of the one before it, one for the last outcome together
with the acknowledgements. A crash between intent and outcome leaves ``sending``: that row is delivered once more, so a
crash of the daemon costs one duplicate at most, and none on a channel that knows the row's id. Where it knows that for
ever (a terminal), a delivery goes out while its intent is being written, which is for counting attempts only there.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from nanoclaw_runner.contract.clock import now, now_text, parse, to_text
from nanoclaw_runner.contract.rows import TOOL_PATIENCE_SECONDS, TOOL_ROW_PREFIX, Address, OutboundRow
from nanoclawd.journal import Event, about
from nanoclawd.sessions import bodies
from nanoclawd.sessions.attachments import Opened
from nanoclawd.sessions.courier import Courier, Parcel
from nanoclawd.sessions.files import Look, SessionFiles
from nanoclawd.sessions.inbound import Delivery, NewMessage, Notice
from nanoclawd.sessions.outbound import BadRow
from nanoclawd.sessions.ports import Delivered, DeliveryPort, HostRules, Outgoing, SessionRef, Text, Undelivered

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 8
FIRST_RETRY_SECONDS: Final = 5
"""Doubled with each attempt: the eighth is made after ten and a half minutes."""

LONGEST_RETRY_SECONDS: Final = 3600
_FINAL: Final = frozenset({"delivered", "failed"})
_RING_SECONDS: Final = 2.0
"""An outcome is with the tool by then."""

_CALLED: Final = {"chat": "reply", "card": "question", "system": "request"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be done for good, for a person to read, and where that person is."""

    text: str
    address: Address | None


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain learned.

    Attributes:
        finished: inbound id → completed or failed, as far as the agent is concerned.
        held: those of them whose answer waits to be delivered.
        late: inbound ids that were held by an earlier drain, and whose answers have their outcome now.
        claimed: inbound ids that the agent is working on.
        delivered: how many rows reached their chat.
        outcomes: how many rows something was learnt of: delivered, failed, or that they wait.
        problems: what could not be delivered for good.
        unseen: chats for which something waits until somebody sees them (channel, platform id).
        behind: chats in which something failed, and is tried again.
        again: the earliest time at which a postponed delivery is due.
        more: another drain would find more at once.
    """

    finished: dict[str, str]
    held: frozenset[str]
    late: frozenset[str]
    claimed: frozenset[str]
    delivered: int
    outcomes: int
    problems: tuple[Problem, ...]
    unseen: frozenset[tuple[str, str]]
    behind: frozenset[tuple[str, str]]
    again: str | None
    more: bool


@dataclass(slots=True)
class _Round:
    """One drain in progress: what is known, what is to be recorded with the next commit, and what went wrong."""

    look: Look
    known: dict[str, Delivery]
    unrecorded: list[Delivery] = field(default_factory=list)
    failures: list[tuple[OutboundRow | BadRow, str]] = field(default_factory=list)
    unseen: set[tuple[str, str]] = field(default_factory=set)
    behind: set[tuple[str, str]] = field(default_factory=set)
    """Chats in which something that failed is to be tried again: what was said after it waits, to stay after it."""
    spent: list[Opened] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    delivered: int = 0
    outcomes: int = 0
    progressed: bool = False

    def note(self, delivery: Delivery) -> None:
        self.known[delivery.message_out_id] = delivery
        self.unrecorded.append(delivery)
        self.outcomes += 1
        if delivery.status in _FINAL and delivery.in_reply_to is not None:
            self.settled.add(delivery.in_reply_to)

    def next_attempt(self, after: str) -> str | None:
        """Return when the next postponed delivery is due. What was due already waits for its chat, not for a time."""
        moments = [state.next_attempt_at for state in self.known.values() if (state.next_attempt_at or "") > after]
        return min((moment for moment in moments if moment is not None), default=None)

    def open_references(self) -> frozenset[str]:
        """Return the inbound ids that something answers which has no final outcome yet."""
        open_ids = {key for key, state in self.known.items() if state.status not in _FINAL}
        return frozenset(
            one.in_reply_to
            for one in (*self.look.outbound.rows, *self.look.notices)
            if not isinstance(one, BadRow) and one.in_reply_to is not None and one.id in open_ids
        )


class Drain:
    """Drains one session; the caller sees to it that only one drain runs at a time."""

    def __init__(self, session: SessionRef, files: SessionFiles, port: DeliveryPort, rules: HostRules) -> None:
        self._session = session
        self._files = files
        self._port = port
        self._courier = Courier(session, files, port, rules)
        self._left_to_tools: list[tuple[OutboundRow | BadRow, str]] = []

    async def run(self, pending_ids: Iterable[str]) -> Drained:
        """Read, deliver, record.

        Raises:
            DamagedError: the container's database breaks the contract.
            NotNowError: a write is under way there, or a journal waits for the runner.
        """
        return await self._deliver(await self._files.look(pending_ids))

    async def run_notices(self) -> Drained:
        """Deliver the host's own notices only: the container's database is not to be touched."""
        return await self._deliver(await self._files.look_at_notices())

    async def _deliver(self, look: Look) -> Drained:
        begun = now_text()
        finished = {key: ack for key, ack in look.outbound.acks.items() if ack != "processing"}
        if len(finished) == len(look.outbound.acks) and look.outbound.acks:
            self._left_to_tools.clear()
        done = _Round(look, dict(look.known))
        parcels = await self._due(done, begun)
        names = await self._names(look, parcels)
        done.progressed = bool(done.unrecorded)
        for parcel in parcels:
            await self._carry(parcel, names, done)
        for notice in look.notices:
            await self._speak(notice, done)
        # Acknowledged last: "completed" is said of a message, also after a crash, only when its answers were delivered.
        await self._files.record(done.unrecorded, acks=finished, watermark=_watermark(look, done.known))
        for opened in done.spent:
            await self._files.remove_files(opened)
        problems = tuple(dict.fromkeys([await self._problem(row, text) for row, text in done.failures]))
        await self._tell_agent(problems)
        waiting = done.open_references()
        return Drained(
            finished=finished,
            held=waiting & finished.keys(),
            late=frozenset(done.settled) - waiting - finished.keys(),
            claimed=frozenset(key for key, ack in look.outbound.acks.items() if ack == "processing"),
            delivered=done.delivered,
            outcomes=done.outcomes,
            problems=problems,
            unseen=frozenset(done.unseen),
            behind=frozenset(done.behind),
            # Since its beginning: what became due while others were carried out was not tried by this drain.
            again=done.next_attempt(begun),
            more=look.outbound.more and done.progressed,
        )

    async def speak_for_tools(self) -> tuple[Problem, ...]:
        """Return what tools were to tell an agent that did not live to hear it, and note it for its next container."""
        left, self._left_to_tools = self._left_to_tools, []
        problems = tuple(dict.fromkeys([await self._problem(row, text) for row, text in left]))
        await self._tell_agent(problems)
        return problems

    async def _due(self, done: _Round, now: str) -> list[Parcel]:
        """Sort what was found: due for delivery now, postponed, or impossible (recorded and reported here)."""
        due: list[Parcel] = []
        allowed: dict[tuple[str, str], bool] = {}
        for row in done.look.outbound.rows:
            before = done.known.get(row.id)
            if before is not None and before.status in _FINAL:
                continue
            if before is not None and _postponed(before, now):
                if before.chat is not None:  # it was tried; the agent's own postponing has none
                    done.behind.add(before.chat)
                continue
            if isinstance(row, BadRow):
                self._refuse(row, row.reason, done)
                continue
            try:
                parcel = self._parcel(row)
                reason = await self._objection(parcel, allowed)
            except ValueError as error:
                reason = str(error)
            if reason is not None:
                self._refuse(row, reason, done)
                continue
            later = _deferred_until(row)
            if later is not None and later > now:
                done.note(_new(row, next_attempt_at=later, reason="deferred by the agent"))
                continue
            due.append(parcel)
        return due

    def _parcel(self, row: OutboundRow) -> Parcel:
        meaning = bodies.read(row)
        match meaning:
            case bodies.Request() | bodies.Report():
                return Parcel(row, meaning, None)
            case bodies.Change():
                return Parcel(row, meaning, row.address or self._session.address)
            case _:
                return Parcel(row, meaning, row.address)

    async def _objection(self, parcel: Parcel, allowed: dict[tuple[str, str], bool]) -> str | None:
        if isinstance(parcel.meaning, bodies.Request | bodies.Report):
            return None
        if parcel.address is None:
            return "it has no address"
        chat = _chat(parcel.address)
        if chat not in allowed:
            allowed[chat] = await self._courier.may_write_to(parcel.address)
        return None if allowed[chat] else "this agent may not write to that chat"

    async def _names(self, look: Look, parcels: list[Parcel]) -> dict[int, str]:
        """Find the ids of the rows that others point at by their numbers, before anything is delivered."""
        names = {row.seq: row.id for row in look.outbound.rows}
        asked = {
            parcel.meaning.target
            for parcel in parcels
            if isinstance(parcel.meaning, bodies.Change) and isinstance(parcel.meaning.target, int)
        }
        earlier = [seq for seq in asked if seq % 2 and seq not in names]
        return names | await self._files.ids_of(earlier) if earlier else names

    async def _carry(self, parcel: Parcel, names: Mapping[int, str], done: _Round) -> None:
        row = parcel.row
        if isinstance(parcel.meaning, bodies.Report):
            # Written down once however often it is told, so it has no intent of its own.
            await self._courier.report(row.id, parcel.meaning)
            done.note(replace(_new(row), status="delivered"))
            done.progressed = True
            return
        if parcel.address is not None and not self._may_go(row, parcel.address, done):
            return
        intent, result, opened = await self._try(parcel, names, done)
        outcome = _outcome(intent, result)
        done.note(outcome)
        if outcome.status == "pending" and outcome.chat is not None:
            done.behind.add(outcome.chat)
        done.delivered += outcome.status == "delivered"
        if opened is not None and outcome.status in _FINAL:
            done.spent.append(opened)
        if outcome.status == "failed":
            await self._courier.withdraw(parcel)
            self._give_up(row, f"could not be delivered: {outcome.reason}", done)

    async def _try(
        self, parcel: Parcel, names: Mapping[int, str], done: _Round
    ) -> tuple[Delivery, Delivered | Undelivered, Opened | None]:
        if parcel.address is None or not self._port.at_once(parcel.address):
            intent = await self._intend(parcel.row, parcel.address, done)
            return intent, *await self._courier.carry(parcel, names)
        # Begun right here: a screen's socket has it before the thread that writes is woken.
        carrying = asyncio.eager_task_factory(asyncio.get_running_loop(), self._courier.carry(parcel, names))
        try:
            return await self._intend(parcel.row, parcel.address, done), *await carrying
        finally:
            # Where the intent could not be written, it will be tried again.
            carrying.cancel()

    async def _speak(self, notice: Notice, done: _Round) -> None:
        if _postponed(done.known.get(notice.id), now_text()) or not self._seen(notice, notice.address, done):
            return
        intent = await self._intend(notice, notice.address, done)
        outgoing = Outgoing(
            notice.id, Text(notice.text), notice.address, notice.timestamp, notice.in_reply_to, is_notice=True
        )
        outcome = _outcome(intent, await self._port.deliver(self._session, outgoing))
        done.note(outcome)
        done.delivered += outcome.status == "delivered"
        if outcome.status == "failed":
            self._log_failure(notice.id, f"a notice could not be delivered: {outcome.reason}")

    def _may_go(self, row: OutboundRow, address: Address, done: _Round) -> bool:
        """Tell whether a row can be tried: not before what was said earlier in its chat and is tried again later."""
        if _chat(address) not in done.behind:
            return self._seen(row, address, done)
        self._wait(row, address, done)
        return False

    def _seen(self, one: OutboundRow | Notice, address: Address, done: _Round) -> bool:
        """Tell whether a delivery can be tried; nothing is shown to nobody, and that is no attempt.

        A chat that comes back in the middle of a drain is for the next one: what waits already was said before.
        """
        if _chat(address) not in done.unseen and self._port.reachable(address):
            return True
        done.unseen.add(_chat(address))
        self._wait(one, address, done)
        return False

    def _wait(self, one: OutboundRow | Notice, address: Address, done: _Round) -> None:
        """Have it known to wait: what it answers is not answered yet."""
        if one.id not in done.known:
            done.note(_new(one, chat=_chat(address)))

    async def _intend(self, one: OutboundRow | Notice, address: Address | None, done: _Round) -> Delivery:
        before = done.known.get(one.id) or _new(one)
        intent = replace(
            before,
            status="sending",
            attempts=before.attempts + 1,
            next_attempt_at=None,
            chat=None if address is None else _chat(address),
        )
        await self._files.record([*done.unrecorded, intent])
        done.unrecorded.clear()
        done.progressed = True
        return intent

    def _refuse(self, row: OutboundRow | BadRow, reason: str, done: _Round) -> None:
        reference = row.in_reply_to if isinstance(row, OutboundRow) else None
        done.note(Delivery(row.id, "failed", reason=reason, in_reply_to=reference))
        self._give_up(row, f"of the agent was refused: {reason}", done)

    def _give_up(self, row: OutboundRow | BadRow, text: str, done: _Round) -> None:
        called = _CALLED[row.kind] if isinstance(row, OutboundRow) else "reply"
        left = self._left_to_tools if _awaited(row, done.look) else done.failures
        left.append((row, f"A {called} {text}."))
        self._log_failure(row.id, f"a {called} {text}")

    async def _problem(self, row: OutboundRow | BadRow, text: str) -> Problem:
        """Say what will never be done where the message is that the row answers: who waits for it is there."""
        reference = row.in_reply_to if isinstance(row, OutboundRow) else None
        heard = None if reference is None else await self._files.heard(reference)
        return Problem(text, (heard.address if heard else None) or self._session.address)

    def _log_failure(self, row_id: str, text: str) -> None:
        log.error(
            "%s",
            text,
            extra=about(
                session=self._session.id, group=self._session.group, message=row_id, event=Event.DELIVERY_FAILED
            ),
        )

    async def _tell_agent(self, problems: Iterable[Problem]) -> None:
        """Store what failed as context for the agent's next turn; it does not start one."""
        texts: dict[Address, list[str]] = {}
        for problem in problems:
            if problem.address is not None:
                texts.setdefault(problem.address, []).append(problem.text)
        for address, said in texts.items():
            await self._files.append(
                NewMessage(
                    id=f"delivery-failed-{secrets.token_hex(6)}",
                    kind="system",
                    content=json.dumps({"type": "note", "text": " ".join(said)}),
                    address=address,
                    trigger=False,
                )
            )


def _new(
    one: OutboundRow | Notice,
    *,
    next_attempt_at: str | None = None,
    reason: str | None = None,
    chat: tuple[str, str] | None = None,
) -> Delivery:
    return Delivery(
        one.id, "pending", next_attempt_at=next_attempt_at, reason=reason, chat=chat, in_reply_to=one.in_reply_to
    )


def _chat(address: Address) -> tuple[str, str]:
    return address.channel_type, address.platform_id


def _outcome(intent: Delivery, result: Delivered | Undelivered) -> Delivery:
    if isinstance(result, Delivered):
        return replace(intent, status="delivered", platform_message_id=result.platform_message_id, reason=None)
    attempts = intent.attempts
    if result.retry_after is not None and not result.permanent:
        # A platform that asks for time is no fault: where many chats share a limit, a row hears that very often.
        attempts -= 1
    if result.permanent or attempts >= MAX_ATTEMPTS:
        return replace(intent, status="failed", reason=result.reason)
    wait = float(FIRST_RETRY_SECONDS * 2 ** max(attempts - 1, 0))
    if result.retry_after is not None:
        # What the platform asks for; sooner would only make it ask for more.
        wait = min(max(wait, result.retry_after), LONGEST_RETRY_SECONDS)
    later = now_text(plus_seconds=wait)
    return replace(intent, status="pending", attempts=attempts, next_attempt_at=later, reason=result.reason)


def _awaited(row: OutboundRow | BadRow, look: Look) -> bool:
    """Tell whether a tool of an agent at work waits for what becomes of a row: it is for the agent to mend."""
    if isinstance(row, BadRow) or row.kind == "system" or not row.id.startswith(TOOL_ROW_PREFIX):
        return False
    try:
        age = (now() - parse(row.timestamp)).total_seconds()
    except (ValueError, OverflowError):
        return False
    return age < TOOL_PATIENCE_SECONDS - _RING_SECONDS and "processing" in look.outbound.acks.values()


def _postponed(before: Delivery | None, now: str) -> bool:
    return before is not None and (before.next_attempt_at or "") > now


def _deferred_until(row: OutboundRow) -> str | None:
    """Return a row's deliver_after in the one format; what is no time defers nothing (W-40)."""
    if row.deliver_after is None:
        return None
    try:
        return to_text(parse(row.deliver_after))
    except (ValueError, OverflowError):
        return None


def _watermark(look: Look, known: Mapping[str, Delivery]) -> int | None:
    """Return the last seq of the unbroken run of rows that have their final outcome."""
    reached: int | None = None
    for row in look.outbound.rows:
        state = known.get(row.id)
        if state is None or state.status not in _FINAL:
            break
        reached = row.seq
    return reached
