"""What io.nanoclaw.Users, Roles and Members carry."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A person, with what the person is to the appliance."""

    id: str
    display_name: str | None
    roles: Sequence[str]
    member_of: Sequence[str]
    denied_in: Sequence[str]
    created_at: str


@dataclass(frozen=True, slots=True)
class Dm:
    """Where a person is written to directly on a channel."""

    user: str
    channel: str
    chat: str
    resolved_at: str


@dataclass(frozen=True, slots=True)
class Role:
    """Somebody's role: owner, or admin (of a group, or of everything)."""

    user: str
    role: str
    group: str | None
    granted_by: str | None
    granted_at: str


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody without a role who may talk to a group's agent."""

    user: str
    group: str
    added_by: str | None
    added_at: str
