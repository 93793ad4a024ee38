"""What a OneCLI knows: agents, secrets, what waits for somebody's decision."""

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

TIMEOUT_SECONDS = 300.0
"""README, ApprovalRequest.timeoutSeconds: seconds until auto-deny (300)."""


@dataclass
class Agent:
    """An agent; ``mode`` is selective at first (observed): none of the secrets, until somebody assigns some."""

    name: str
    identifier: str
    id: str = field(default_factory=lambda: f"cm{secrets.token_hex(11)}")
    token: str = field(default_factory=lambda: f"aoc_{secrets.token_hex(20)}")
    mode: str = "selective"
    assigned: set[str] = field(default_factory=set)


@dataclass
class Approval:
    """A request that is held."""

    agent: Agent
    method: str
    host: str
    path: str
    headers: dict[str, str]
    body_preview: str | None
    seconds: float
    id: str = field(default_factory=lambda: f"{secrets.token_hex(4)}-{secrets.token_hex(6)}-{secrets.token_hex(7)}")
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    decision: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def expires(self) -> datetime:
        return self.created + timedelta(seconds=self.seconds)

    def as_json(self) -> dict[str, Any]:
        """``ApprovalRequest`` of the client's types."""
        return {
            "id": self.id,
            "method": self.method,
            "url": f"https://{self.host}{self.path}",
            "host": self.host,
            "path": self.path,
            "headers": self.headers,
            "bodyPreview": self.body_preview,
            "agent": {"id": self.agent.id, "name": self.agent.name, "externalId": self.agent.identifier},
            "createdAt": self.created.isoformat().replace("+00:00", "Z"),
            "expiresAt": self.expires.isoformat().replace("+00:00", "Z"),
        }


@dataclass
class World:
    """All of it.

    Attributes:
        key: the API key.
        secrets: by host, the value that goes into Authorization.
        asks: hosts of which each request waits for somebody.
        timeout: how long it waits.
        decisions: every one that counted, in their order: id and decision.
        late: ids of decisions that came too late.
        calls: everything that was asked of the API: method, path.
        carried: what the proxy was asked for: ``HOST:PORT`` of tunnels, whole addresses of plain http.
        failing: status of every answer of the API; 0: it works.
        has_modes: whether it knows the setting that gives an agent all secrets (newer ones do not).
    """

    key: str = field(default_factory=lambda: f"oc_{secrets.token_hex(16)}")
    agents: dict[str, Agent] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    asks: set[str] = field(default_factory=set)
    pending: dict[str, Approval] = field(default_factory=dict)
    timeout: float = TIMEOUT_SECONDS
    decisions: list[tuple[str, str]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    failing: int = 0
    has_modes: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, method: str, target: str) -> None:
        """Remember what was asked of the API."""
        self.calls.append((method, target))
        self.called.set()
        self.called = asyncio.Event()

    def by_token(self, token: str) -> Agent | None:
        return next((agent for agent in self.agents.values() if secrets.compare_digest(agent.token, token)), None)

    def secret_for(self, agent: Agent, host: str) -> str | None:
        if agent.mode == "all" or host in agent.assigned:
            return self.secrets.get(host)
        return None

    async def hold(self, approval: Approval) -> str:
        """Keep a request until somebody has decided, or its time is over: then it is denied."""
        self.pending[approval.id] = approval
        self.news.set()
        self.news = asyncio.Event()
        try:
            async with asyncio.timeout(approval.seconds):
                return await asyncio.shield(approval.decision)
        except TimeoutError:
            return "expired"
        finally:
            self.pending.pop(approval.id, None)
