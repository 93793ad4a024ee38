"""Draining a session: what its agent said is delivered, in order of seq, each with its intent recorded before the I/O.

Commits: one for the intent of a row together with the outcome of the one before it, one for the last outcome together
with the acknowledgements. A crash between intent and outcome leaves ``sending``: that row is delivered once more, so a
crash of the daemon costs one duplicate at most, and none on a channel that knows the row's id.
"""

import json
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from nanoclaw_runner.contract.clock import now_text, parse, to_text
from nanoclaw_runner.contract.rows import OutboundRow
from nanoclawd.journal import Event, about
from nanoclawd.sessions.files import Look, SessionFiles
from nanoclawd.sessions.inbound import Delivery, NewMessage, Notice
from nanoclawd.sessions.outbound import BadRow
from nanoclawd.sessions.ports import Delivered, DeliveryPort, Outgoing, SessionRef, Undelivered

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 5
FIRST_RETRY_SECONDS: Final = 5
_FINAL: Final = frozenset({"delivered", "failed"})


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain learned.

    Attributes:
        finished: inbound id → completed or failed.
        claimed: inbound ids that the agent is working on.
        delivered: how many rows reached their chat.
        problems: what could not be delivered for good, for a person to read.
        more: another drain would find more at once.
    """

    finished: dict[str, str]
    claimed: frozenset[str]
    delivered: int
    problems: tuple[str, ...]
    more: bool


class Drain:
    """Drains one session; the caller sees to it that only one drain runs at a time."""

    def __init__(self, session: SessionRef, files: SessionFiles, port: DeliveryPort) -> None:
        self._session = session
        self._files = files
        self._port = port

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
        finished = {key: ack for key, ack in look.outbound.acks.items() if ack != "processing"}
        known = dict(look.known)
        unrecorded: list[Delivery] = []
        problems: list[str] = []
        delivered = 0
        due = self._due(look, known, unrecorded, problems)
        progressed = bool(unrecorded)
        for outgoing in due:
            if not self._port.reachable(outgoing.address):
                continue
            before = known.get(outgoing.id) or Delivery(outgoing.id, "pending")
            intent = replace(before, status="sending", attempts=before.attempts + 1, next_attempt_at=None)
            await self._files.record([*unrecorded, intent])
            unrecorded = []
            outcome = _outcome(intent, await self._port.deliver(self._session, outgoing))
            progressed = True
            unrecorded.append(outcome)
            known[outgoing.id] = outcome
            if outcome.status == "delivered":
                delivered += 1
            elif outcome.status == "failed" and not outgoing.is_notice:
                problems.append(f"A reply could not be delivered: {outcome.reason}.")
                self._log_failure(outgoing.id, outcome)
        # Acknowledged last: "completed" is said of a message, also after a crash, only when its answers were delivered.
        await self._files.record(unrecorded, acks=finished, watermark=_watermark(look, known))
        problems = list(dict.fromkeys(problems))
        await self._tell_agent(problems)
        return Drained(
            finished=finished,
            claimed=frozenset(key for key, ack in look.outbound.acks.items() if ack == "processing"),
            delivered=delivered,
            problems=tuple(problems),
            more=look.outbound.more and progressed,
        )

    def _due(
        self, look: Look, known: dict[str, Delivery], unrecorded: list[Delivery], problems: list[str]
    ) -> list[Outgoing]:
        """Sort what was found: due for delivery now, postponed, or impossible (recorded and reported here)."""
        now = now_text()
        due: list[Outgoing] = []
        for row in look.outbound.rows:
            before = known.get(row.id)
            if before is not None and before.status in _FINAL:
                continue
            if _postponed(before, now):
                continue
            reason = row.reason if isinstance(row, BadRow) else self._objection(row)
            if reason is not None:
                known[row.id] = Delivery(row.id, "failed", reason=reason)
                unrecorded.append(known[row.id])
                problems.append(f"A reply of the agent was refused: {reason}.")
                self._log_failure(row.id, known[row.id])
                continue
            if isinstance(row, BadRow) or row.address is None:
                continue
            later = _deferred_until(row)
            if later is not None and later > now:
                known[row.id] = Delivery(row.id, "pending", next_attempt_at=later, reason="deferred by the agent")
                unrecorded.append(known[row.id])
                continue
            due.append(
                Outgoing(row.id, row.kind, row.content, row.address, row.timestamp, row.in_reply_to, is_notice=False)
            )
        due += [_from_notice(notice) for notice in look.notices if not _postponed(known.get(notice.id), now)]
        return due

    def _objection(self, row: OutboundRow) -> str | None:
        if row.kind != "chat":
            return f"nothing here handles rows of kind {row.kind}"
        if row.address is None:
            return "it has no address"
        if row.address != self._session.address:
            return "this agent may not write to that chat"
        return None

    def _log_failure(self, row_id: str, delivery: Delivery) -> None:
        log.error(
            "a reply could not be delivered: %s",
            delivery.reason,
            extra=about(
                session=self._session.id, group=self._session.group, message=row_id, event=Event.DELIVERY_FAILED
            ),
        )

    async def _tell_agent(self, problems: list[str]) -> None:
        """Store what failed as context for the agent's next turn; it does not start one."""
        address = self._session.address
        if address is None or not problems:
            return
        await self._files.append(
            NewMessage(
                id=f"delivery-failed-{secrets.token_hex(6)}",
                content=json.dumps({"text": " ".join(problems), "sender": "system", "senderId": "system"}),
                address=address,
                trigger=False,
            )
        )


def _outcome(intent: Delivery, result: Delivered | Undelivered) -> Delivery:
    if isinstance(result, Delivered):
        return replace(intent, status="delivered", platform_message_id=result.platform_message_id)
    if result.permanent or intent.attempts >= MAX_ATTEMPTS:
        return replace(intent, status="failed", reason=result.reason)
    wait = FIRST_RETRY_SECONDS * 2 ** (intent.attempts - 1)
    return replace(intent, status="pending", next_attempt_at=now_text(plus_seconds=wait), reason=result.reason)


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


def _from_notice(notice: Notice) -> Outgoing:
    content = json.dumps({"text": notice.text})
    return Outgoing(notice.id, "chat", content, notice.address, notice.timestamp, notice.in_reply_to, is_notice=True)


def _watermark(look: Look, known: dict[str, Delivery]) -> int | None:
    """Return the last seq of the unbroken run of rows that have their final outcome."""
    reached: int | None = None
    for row in look.outbound.rows:
        state = known.get(row.id)
        if state is None or state.status not in _FINAL:
            break
        reached = row.seq
    return reached
