"""What an agent's rows may do beyond answering in its own chat."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.rows import AGENT, Address, OutboundRow
from nanoclawd.permissions.questions import QuestionService
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store import destinations
from nanoclawd.store.database import Database
from nanoclawd.tasks.dispatcher import Dispatcher
from nanoclawd.tasks.reports import script_report
from nanoclawd.usage.service import UsageService


class Requests(Protocol):
    """Who does what agents ask of the appliance."""

    async def request(self, session: SessionRef, row: OutboundRow) -> None:
        """As :meth:`nanoclawd.sessions.ports.HostRules.request`."""


class AgentRules:
    """Implements :class:`~nanoclawd.sessions.ports.HostRules`."""

    def __init__(
        self,
        database: Database,
        questions: QuestionService,
        requests: Requests,
        dispatcher: Dispatcher,
        usage: UsageService,
        current: Callable[[Address], Address],
    ) -> None:
        """Prepare; ``current`` tells where a chat is now that its platform has replaced by another."""
        self._database = database
        self._current = current
        self._usage = usage
        self._dispatcher = dispatcher
        self._questions = questions
        self._requests = requests

    async def may_write_to(self, session: SessionRef, address: Address) -> bool:
        """Tell whether the chat, or the other agent, is one of the agent's destinations (F-76)."""
        if address.channel_type == AGENT:
            return await self._database.run(
                destinations.may_write_to_agent, session.agent_group_id, address.platform_id
            )
        now = self._current(address)
        own = session.address
        if own is not None and replace(session, address=self._current(own)).owns(now):
            return True
        return await self._database.run(
            destinations.may_write_to, session.agent_group_id, now.channel_type, now.platform_id
        )

    async def question_asked(self, session: SessionRef, row_id: str, card: Card, address: Address) -> str:
        """Keep a question until it is answered or expires."""
        return await self._questions.asked(session.id, row_id, card, address)

    async def question_failed(self, session: SessionRef, row_id: str) -> None:
        """Forget a question that nobody has seen."""
        await self._questions.failed(session.id, row_id)

    async def reported(self, session: SessionRef, row_id: str, content: Mapping[str, object]) -> None:
        """Write down what a turn took, or what troubles the agent."""
        await self._usage.reported(session, row_id, content)

    async def request(self, session: SessionRef, row: OutboundRow) -> None:
        """Do what the agent asks of the appliance, or note what it reports of a task's script."""
        report = script_report(row)
        if report is not None:
            await self._dispatcher.report(session.id, report.row, report.outcome, report.reason or None)
            return
        await self._requests.request(session, row)
