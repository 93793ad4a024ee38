"""What a health check finds."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one health check. ``fix`` is a command to type."""

    id: str
    severity: Severity
    title: str
    detail: str
    fix: str | None = None
