"""What somebody has allowed an agent for a while, of what a rule asks about. It ends with its rule."""

from dataclasses import dataclass
from typing import Any, Self

import apsw


@dataclass(frozen=True, slots=True)
class Scope:
    """What a permission is about.

    Attributes:
        method: empty for connections that nobody looks into.
        session_id: who asked; others of the group have the permission, too.
    """

    agent_group_id: str
    rule: int
    host: str
    port: int
    method: str
    session_id: str | None = None

    def payload(self) -> dict[str, Any]:
        """Return it as an approval carries it."""
        return {
            "group": self.agent_group_id,
            "rule": self.rule,
            "host": self.host,
            "port": self.port,
            "method": self.method,
        }

    @classmethod
    def of_payload(cls, payload: dict[str, Any]) -> Self:
        """Read it again."""
        return cls(payload["group"], payload["rule"], payload["host"], payload["port"], payload["method"])


def put(connection: apsw.Connection, scope: Scope, approval_id: str, until: float) -> None:
    """Allow something until a moment, in seconds since 1970; nothing where its rule has gone."""
    connection.execute(
        "INSERT OR REPLACE INTO egress_grants (agent_group_id, rule, host, port, method, approval_id, until)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM egress_rules WHERE id = ?2)",
        (*_key(scope), approval_id, until),
    )


def find(connection: apsw.Connection, scope: Scope, now: float) -> tuple[str, float] | None:
    """Return the approval by which something is allowed now, and until when; None where it is not."""
    row = connection.execute(
        "SELECT approval_id, until FROM egress_grants WHERE agent_group_id = ? AND rule = ? AND host = ? AND port = ?"
        " AND method = ? AND until > ?",
        (*_key(scope), now),
    ).fetchone()
    return None if row is None else (str(row[0]), float(row[1]))


def forget_old(connection: apsw.Connection, now: float) -> None:
    """Delete what is over."""
    connection.execute("DELETE FROM egress_grants WHERE until <= ?", (now,))


def _key(scope: Scope) -> tuple[str, int, str, int, str]:
    return scope.agent_group_id, scope.rule, scope.host, scope.port, scope.method
