"""What io.nanoclaw.Secrets carries. No value of any secret is among it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretSettings:
    """A binding as somebody asks for it. See the interface."""

    name: str
    hosts: tuple[str, ...]
    groups: tuple[str, ...]
    style: str
    token_url: str | None = None
    client_id: str | None = None
    scope: str | None = None
    client_secret: bool = False


@dataclass(frozen=True, slots=True)
class ClosedHost:
    """A host that a group's agents can't reach. See the interface."""

    group: str
    host: str
    allow: str


@dataclass(frozen=True, slots=True)
class SecretBinding:
    """A binding. See the interface for the fields."""

    name: str
    hosts: Sequence[str]
    groups: Sequence[str] | None
    style: str
    placeholder: str | None
    token_url: str | None
    client_id: str | None
    scope: str | None
    client_secret: bool
    created_by: str | None
    changed_by: str | None
    changed_at: str | None
    closed: Sequence[ClosedHost]


@dataclass(frozen=True, slots=True)
class SecretTrial:
    """What would become of a group's request. See the interface for the fields."""

    group: str
    url: str
    bound: bool
    allowed: bool
    asks: bool
    reason: str
    allow: str | None
