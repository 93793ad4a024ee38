"""The management API and the approvals of its gateway: what the published client asks, and what it is answered."""

import asyncio
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .world import Agent, World

POLL_SECONDS = 30.0
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


@dataclass(frozen=True)
class Request:
    """One request, read."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def query(self, name: str) -> str | None:
        found = parse_qs(urlsplit(self.target).query).get(name)
        return found[0] if found else None


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()


class Routes:
    """Answers the API's requests."""

    def __init__(self, world: World, certificate: str) -> None:
        self._world = world
        self._certificate = certificate
        self.proxy = ""
        """HOST:PORT that containers are told."""
        self.gateway = ""
        """The address that the client is told."""

    async def answer(self, request: Request) -> Answer:
        self._world.note(request.method, request.target)
        if self._world.failing:
            return Answer(self._world.failing, {"error": "this OneCLI fails"})
        # [ContainerClient.buildHeaders, AgentsClient.buildHeaders, ApprovalClient.buildAuthHeaders] Authorization:
        # Bearer KEY. A wrong one: 401 (observed).
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self._world.key}".encode()):
            return Answer(401, {"error": "Unauthorized"})
        found = f"{request.method} {request.path}"
        if found == "POST /v1/agents":
            return self._create(request)
        if found == "GET /v1/container-config":
            return self._container_config(request)
        if found == "GET /v1/gateway-url":
            # [ApprovalClient.resolveGatewayUrl] data.url
            return Answer(200, {"url": self.gateway})
        if found == "GET /v1/approvals/pending":
            return await self._pending(request)
        if decided := re.fullmatch(r"POST /v1/approvals/([^/]+)/decision", found):
            return self._decide(request, unquote(decided[1]))
        if moded := re.fullmatch(r"PATCH /v1/agents/([^/]+)/secret-mode", found):
            return self._mode(request, unquote(moded[1]))
        return Answer(404, {"error": "Not found"})

    def _create(self, request: Request) -> Answer:
        """[AgentsClient.createAgent] {name, identifier}; README, input: the identifier's rule; 409: it is there."""
        if request.headers.get("content-type") != "application/json":
            return Answer(400, {"error": "Invalid request body"})
        given = _json(request.body)
        identifier, name = given.get("identifier"), given.get("name")
        if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier):
            return Answer(400, {"error": "Identifier must be 1-50 characters"})
        if not isinstance(name, str) or not 0 < len(name.strip()) <= 255:
            return Answer(400, {"error": "name"})
        if identifier in self._world.agents:
            return Answer(409, {"error": "An agent with this identifier already exists"})
        agent = self._world.agents[identifier] = Agent(name, identifier)
        # [CreateAgentResponse]
        body = {"id": agent.id, "name": name, "identifier": identifier, "createdAt": "2026-01-01T00:00:00.000Z"}
        return Answer(201, body)

    def _container_config(self, request: Request) -> Answer:
        """[ContainerClient.getContainerConfig] {env, caCertificate, caCertificateContainerPath}; 404: no such agent."""
        agent = self._world.agents.get(request.query("agent") or "")
        if agent is None:
            return Answer(404, {"error": "Agent with the given identifier not found."})
        address = f"http://x:{agent.token}@{self.proxy}"  # observed
        names = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
        body = {
            "env": {**dict.fromkeys(names, address), "NODE_EXTRA_CA_CERTS": "/tmp/onecli-gateway-ca.pem"},
            "caCertificate": self._certificate,
            "caCertificateContainerPath": "/tmp/onecli-gateway-ca.pem",
        }
        return Answer(200, body)

    async def _pending(self, request: Request) -> Answer:
        """[ApprovalClient.poll] exclude=ID,ID; "Server holds up to 30s; we set a 35s client timeout"."""
        excluded = set((request.query("exclude") or "").split(","))

        def fresh() -> list[dict[str, Any]]:
            return [one.as_json() for one in self._world.pending.values() if one.id not in excluded]

        news = self._world.news
        if not (found := fresh()):
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await news.wait()
                found = fresh()
            except TimeoutError:
                found = []
        return Answer(200, {"requests": found, "timeoutSeconds": self._world.timeout})

    def _decide(self, request: Request, approval_id: str) -> Answer:
        """[ApprovalClient.submitDecision] {decision: approve | deny}; "!res.ok && res.status !== 410" is an error."""
        decision = _json(request.body).get("decision")
        if decision not in {"approve", "deny"}:
            return Answer(422, {"error": "decision"})
        approval = self._world.pending.get(approval_id)
        if approval is None or approval.decision.done():
            self._world.late.append(approval_id)
            return Answer(410, {"error": "approval_expired"})
        approval.decision.set_result(str(decision))
        self._world.decisions.append((approval_id, str(decision)))
        return Answer(200, {"success": True})

    def _mode(self, request: Request, agent_id: str) -> Answer:
        """Observed; OneCLI's own command line asks it: ``agents set-secret-mode``. 410 where it was removed."""
        if not self._world.has_modes:
            return Answer(410, {"error": "removed"})
        agent = next((one for one in self._world.agents.values() if one.id == agent_id), None)
        mode = _json(request.body).get("mode")
        if agent is None or mode not in {"all", "selective"}:
            return Answer(404 if agent is None else 400, {"error": "mode"})
        agent.mode = str(mode)
        return Answer(200, {"success": True})


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
