"""What io.nanoclaw.Egress carries."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EgressWish:
    """A rule as somebody asks for it. See the interface."""

    host: str
    methods: tuple[str, ...] = ()
    private: bool = False
    lasting: str = ""
    rate: str = ""
    max_body: str = ""
    max_download: str = ""


@dataclass(frozen=True, slots=True)
class EgressRule:
    """A rule. See the interface for the fields."""

    id: int
    group: str | None
    action: str
    host: str
    port: int | None
    methods: Sequence[str]
    path: str
    private: bool
    rate: str | None
    max_body: int | None
    max_download: int | None
    expires_at: str | None
    created_by: str
    created_at: str


@dataclass(frozen=True, slots=True)
class EgressTest:
    """What would become of a request. See the interface for the fields."""

    group: str
    host: str
    port: int
    allowed: bool
    asks: bool
    rule: int | None
    reason: str
    note: str
    method: str | None = None
    path: str | None = None
