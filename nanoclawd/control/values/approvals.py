"""What io.nanoclaw.Approvals and Questions carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ApprovalState(StrEnum):
    """Whether somebody has decided."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class CardState(StrEnum):
    """Whether the card has reached somebody who may decide."""

    NONE = "none"
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Option:
    """A choice."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Something that waits for somebody's word, or did. See the interface for the fields."""

    id: str
    action: str
    status: ApprovalState
    title: str
    body: str
    options: Sequence[Option]
    group: str | None
    session: str | None
    channel: str | None
    chat: str | None
    user: str | None
    waits_for_name: str | None
    card: CardState
    asked: str | None
    problem: str | None
    created_at: str
    expires_at: str
    decided_at: str | None
    decided_by: str | None
    decision: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent has asked the people of a chat. Title, text and options are the agent's own words."""

    id: str
    group: str
    session: str
    channel: str
    chat: str
    thread: str | None
    title: str
    body: str
    options: Sequence[Option]
    reference: str
    created_at: str
    expires_at: str
