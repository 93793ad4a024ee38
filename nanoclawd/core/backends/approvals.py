"""Behind io.nanoclaw.Approvals and Questions."""

import logging
from collections.abc import Sequence

import apsw

from nanoclawd.control.values import Approval, ApprovalState, CardState, Option, Peer, Question
from nanoclawd.journal import about
from nanoclawd.permissions.approvals import ApprovalService
from nanoclawd.permissions.questions import QuestionService
from nanoclawd.store import approvals, host_messages, questions, resolve
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

_CARD = {
    "pending": CardState.WAITING,
    "sending": CardState.WAITING,
    "delivered": CardState.DELIVERED,
    "failed": CardState.FAILED,
}


class ApprovalsBackend:
    """Approvals as operators handle them."""

    def __init__(self, database: Database, service: ApprovalService) -> None:
        self._database = database
        self._service = service

    async def list(self, limit: int, *, decided: bool) -> Sequence[Approval]:
        """Return what is pending, the oldest first; or everything, the newest first."""
        return await self._database.run(_list_approvals, limit, decided)

    async def get(self, approval: str) -> Approval:
        """Return one approval."""
        return await self._database.run(_get_approval, approval)

    async def decide(self, peer: Peer, approval: str, option: str) -> tuple[Approval, str]:
        """Decide as an operator: whoever reaches the control socket owns the appliance."""
        found = await self.get(approval)
        _, words = await self._service.decide(found.id, option, peer.user_name)
        return await self.get(found.id), words


def _list_approvals(connection: apsw.Connection, limit: int, decided: bool) -> list[Approval]:
    found = approvals.every(connection, limit) if decided else approvals.pending(connection)[:limit]
    return [_approval(connection, row) for row in found]


def _get_approval(connection: apsw.Connection, text: str) -> Approval:
    return _approval(connection, resolve.approval(connection, text))


def _approval(connection: apsw.Connection, row: approvals.Approval) -> Approval:
    # The last card counts: an approval that asks on has several, and one whose approver has gone is posted anew.
    cards = [one for one in host_messages.of_approval(connection, row.id) if one.person is not None]
    card = cards[-1] if cards else None
    return Approval(
        id=row.id,
        action=row.action,
        status=ApprovalState(row.status),
        title=row.title,
        body=row.body,
        options=[Option(one.value, one.label) for one in row.options],
        group=row.group,
        session=row.session_id,
        channel=row.channel_type,
        chat=row.platform_id,
        user=row.user_id,
        waits_for_name=row.name_from,
        card=_CARD[card.status] if card else CardState.NONE,
        asked=card.person if card else None,
        problem=card.reason if card else None,
        created_at=row.created_at,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        decision=row.decision,
    )


class QuestionsBackend:
    """Agents' questions as operators handle them."""

    def __init__(self, database: Database, service: QuestionService) -> None:
        self._database = database
        self._service = service

    async def list(self, group: str | None, limit: int) -> Sequence[Question]:
        """Return the open questions, the oldest first."""
        return await self._database.run(_list_questions, group, limit)

    async def get(self, question: str) -> Question:
        """Return one question."""
        return await self._database.run(_get_question, question)

    async def answer(self, peer: Peer, question: str, option: str) -> str:
        """Answer in the place of the people who were asked."""
        found = await self.get(question)
        words = await self._service.decide(found.id, option, peer.user_name)
        log.info(
            "%s answered question %s: %s",
            peer.user_id,
            found.id,
            option,
            extra=about(group=found.group, session=found.session),
        )
        return words


def _list_questions(connection: apsw.Connection, group: str | None, limit: int) -> list[Question]:
    folder = None if group is None else resolve.group(connection, group).folder
    found = [_question(connection, row) for row in questions.every(connection)]
    return [one for one in found if folder in (None, one.group)][:limit]


def _get_question(connection: apsw.Connection, text: str) -> Question:
    return _question(connection, resolve.question(connection, text))


def _question(connection: apsw.Connection, row: questions.Question) -> Question:
    return Question(
        id=row.id,
        group=session_rows.by_id(connection, row.session_id).group,
        session=row.session_id,
        channel=row.channel_type,
        chat=row.platform_id,
        thread=row.thread_id,
        title=row.title,
        body=row.body,
        options=[Option(one.value, one.label) for one in row.options],
        reference=row.agent_reference,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
