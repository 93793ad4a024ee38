"""Agents' calls, put together with what they may reach: the same methods that operators call."""

from nanoclawd.agents.outfit import Outfit
from nanoclawd.agents.service import AgentService
from nanoclawd.control.agent_calls.service import AgentCalls
from nanoclawd.control.api import Backend
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.served import methods_of
from nanoclawd.permissions.approvals import ApprovalService
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store.database import Database


def agent_calls(
    database: Database,
    backend: Backend,
    approvals: ApprovalService,
    sessions: Sessions,
    agents: AgentService,
    outfit: Outfit,
) -> AgentCalls:
    """Return what answers agents' calls; to be made before the approvals are started."""
    methods = methods_of(backend, Bounds())
    return AgentCalls(database, methods, Introspection(), approvals, sessions, agents.restart_session, outfit.rebuild)
