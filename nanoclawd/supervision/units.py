"""Names of a session's units, and where its doorbell is."""

from dataclasses import dataclass
from pathlib import Path

SESSION_UNITS_PATTERN = "nanoclaw-*@*.service"


@dataclass(frozen=True, slots=True)
class SessionUnits:
    """The units of one session. Group and id come from closed alphabets, so nothing needs escaping."""

    group: str
    session_id: str
    runtime_directory: Path

    @property
    def service(self) -> str:
        """The container's unit, made by the quadlet generator."""
        return f"nanoclaw-{self.group}@{self.session_id}.service"

    @property
    def socket(self) -> str:
        """The doorbell's unit."""
        return f"nanoclaw-{self.group}@{self.session_id}.socket"

    @property
    def doorbell(self) -> Path:
        """The doorbell's path: a directory per group, as ``a@b-c`` and ``a-b@c`` must not meet."""
        return self.runtime_directory / "nanoclaw" / self.group / f"{self.session_id}.sock"


def parse_session_unit(unit: str) -> tuple[str, str] | None:
    """Return (group, session id) of a session's service name, or None for another unit."""
    if not unit.startswith("nanoclaw-") or not unit.endswith(".service") or "@" not in unit:
        return None
    group, _, session_id = unit.removeprefix("nanoclaw-").removesuffix(".service").partition("@")
    return group, session_id
