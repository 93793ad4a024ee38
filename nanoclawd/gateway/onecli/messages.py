"""What OneCLI's API and its gateway say, as the published client reads it (@onecli-sh/sdk 2.2.1, ``/v1``)."""

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_PENDING = 100
"""Of one answer; more come with the next."""

type Id = Annotated[str, Meta(min_length=1, max_length=200)]


class CreatedAgent(msgspec.Struct, frozen=True):
    """``CreateAgentResponse``, as far as it is used."""

    id: Id


class ContainerConfig(msgspec.Struct, frozen=True, rename="camel"):
    """``ContainerConfig``: what a container of an agent would be given.

    Attributes:
        env: among others the proxy's address, with the agent's token in it.
        ca_certificate: of the authority by which it intercepts TLS, as PEM.
    """

    env: Annotated[dict[str, str], Meta(max_length=200)]
    ca_certificate: Annotated[str, Meta(max_length=64 * 1024)]


class GatewayUrl(msgspec.Struct, frozen=True):
    """Where OneCLI's gateway is, for those who ask for pending approvals."""

    url: Annotated[str, Meta(min_length=1, max_length=500)]


class ApprovalAgent(msgspec.Struct, frozen=True, rename="camel"):
    """Whose request waits; ``external_id`` is the identifier that the agent was made with: our group's id."""

    id: str = ""
    name: str = ""
    external_id: str | None = None


class ApprovalRequest(msgspec.Struct, frozen=True, rename="camel"):
    """``ApprovalRequest``: a request that OneCLI holds until somebody decides.

    Attributes:
        headers: without credentials, it says; they are not shown.
        body_preview: its first 4 KiB.
        expires_at: ISO 8601.
    """

    id: Id
    method: str
    url: str
    host: str
    path: str
    agent: ApprovalAgent
    expires_at: str
    headers: dict[str, str] = {}
    body_preview: str | None = None


class Pending(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of a long poll."""

    requests: Annotated[tuple[ApprovalRequest, ...], Meta(max_length=MAX_PENDING)] = ()
    timeout_seconds: float = 300.0
