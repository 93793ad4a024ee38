"""Has people decide by cards, as for our own rules that ask: what OneCLI holds goes the same way."""

import hashlib
import logging
import re
from typing import Any, Final
from urllib.parse import urlsplit

from nanoclawd.egress.targets import BadTarget, Target, parse_authority
from nanoclawd.gateway.asking import MAX_PREVIEW_BYTES, Approver
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.onecli.messages import ApprovalRequest
from nanoclawd.gateway.policy import Agent, AgentDirectory
from nanoclawd.gateway.refusals import Refusal

_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,19}", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
_MAX_PATH_CHARACTERS: Final = 4000
_MAX_SHOWN_ID: Final = 200

log = logging.getLogger(__name__)


class CardAsker:
    """Implements :class:`~nanoclawd.gateway.onecli.approving.Asker`."""

    def __init__(self, approver: Approver, agents: AgentDirectory) -> None:
        """Prepare.

        Args:
            approver: puts questions to the daemon.
            agents: whose requests they can be.
        """
        self._approver = approver
        self._agents = agents

    async def decide(self, request: ApprovalRequest, seconds: float) -> bool:
        """Return whether somebody approves; no where nobody is there to ask, or it can't be told what is asked for."""
        agent = self._agent(request)
        if agent is None:
            log.warning("OneCLI asks about a request of %r, which is no agent group here", request.agent.external_id)
            return False
        try:
            call = question(agent, request)
        except BadTarget as error:
            log.warning("OneCLI asks about a request that can't be shown: %s", error)
            return False
        try:
            answer = await self._approver.put(call, seconds)
        except Denial as denial:
            log.warning("nobody could be asked about a request that OneCLI holds: %s", denial.message)
            return False
        if answer.outcome != "allowed":
            log.info("a request that OneCLI holds for %s is %s %s", agent.group, answer.outcome, answer.words)
        return answer.outcome == "allowed"

    def _agent(self, request: ApprovalRequest) -> Agent | None:
        """Return whose it is: the identifier that the agent was made with is the group's own id."""
        try:
            everyone = self._agents.everyone()
        except Refusal:
            return None
        return next((one for one in everyone if one.id and one.id == request.agent.external_id), None)


def question(agent: Agent, request: ApprovalRequest) -> dict[str, Any]:
    """Return the daemon's question about a request: the same one for the same request, whoever puts it.

    Raises:
        BadTarget: it can't be read.
    """
    try:
        parts = urlsplit(request.url)
    except ValueError:
        raise BadTarget("it has no address") from None
    if parts.scheme not in _PORTS or not _METHOD.fullmatch(request.method):
        raise BadTarget("it is no request by http or https")
    target: Target = parse_authority(parts.netloc, _PORTS[parts.scheme])
    return {
        "id": hashlib.sha256(request.id.encode()).hexdigest()[:32],
        "group": agent.group,
        "session": None,
        "rule": 0,
        "scheme": parts.scheme,
        "host": target.host,
        "port": target.port,
        "method": request.method,
        "path": request.path[:_MAX_PATH_CHARACTERS],
        "preview": (request.body_preview or "")[:MAX_PREVIEW_BYTES],
        "outside": request.id[:_MAX_SHOWN_ID],
    }
