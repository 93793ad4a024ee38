"""Rules of where agents may go."""

from dataclasses import dataclass
from datetime import datetime

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.egress.rules import Rate, Rule
from nanoclawd.errors import NotFound, TooLarge
from nanoclawd.store.transaction import together

MAX_RULES = 2000
"""Of all groups together: each request looks at those of its group, and the gateway reads all of them."""

_COLUMNS = (
    "r.id, r.action, r.host, g.folder, r.port, r.methods, r.path, r.private, r.expires_at, r.created_by, r.created_at,"
    " r.rate_count, r.rate_seconds, r.max_sent, r.max_received"
)
_FROM = "FROM egress_rules r LEFT JOIN agent_groups g ON g.id = r.agent_group_id"


@dataclass(frozen=True, slots=True)
class EgressRow:
    """A rule with who made it, and when; ``rule.group`` is the group's folder."""

    rule: Rule
    expires_at: str | None
    created_by: str
    created_at: str


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule that is to be; ``agent_group_id`` None: of all groups. See :class:`~nanoclawd.egress.rules.Rule`."""

    agent_group_id: str | None
    action: str
    host: str
    port: int | None = None
    methods: tuple[str, ...] = ()
    path: str = ""
    private: bool = False
    expires_at: str | None = None
    rate: Rate | None = None
    max_sent: int | None = None
    max_received: int | None = None


def put(connection: apsw.Connection, wanted: NewRule, created_by: str) -> tuple[EgressRow, int | None]:
    """Write a rule; return it, and the number of the one that it takes the place of.

    Raises:
        TooLarge: there are too many.
    """
    methods = ",".join(wanted.methods)
    with together(connection):
        _forget_expired(connection)
        before = connection.execute(
            "SELECT id FROM egress_rules WHERE ifnull(agent_group_id, '') = ifnull(?, '') AND host = ?"
            " AND ifnull(port, 0) = ifnull(?, 0) AND methods = ? AND path = ?",
            (wanted.agent_group_id, wanted.host, wanted.port, methods, wanted.path),
        ).get
        if before is not None:
            connection.execute("DELETE FROM egress_rules WHERE id = ?", (before,))
        if int(connection.execute("SELECT count(*) FROM egress_rules").get) >= MAX_RULES:
            raise TooLarge(f"there are {MAX_RULES} rules, which is the bound", hint="ncl egress list")
        number = connection.execute(
            "INSERT INTO egress_rules (agent_group_id, action, host, port, methods, path, private, expires_at,"
            " created_by, created_at, rate_count, rate_seconds, max_sent, max_received)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                wanted.agent_group_id,
                wanted.action,
                wanted.host,
                wanted.port,
                methods,
                wanted.path,
                int(wanted.private),
                wanted.expires_at,
                created_by,
                now_text(),
                wanted.rate.count if wanted.rate is not None else None,
                wanted.rate.seconds if wanted.rate is not None else None,
                wanted.max_sent,
                wanted.max_received,
            ),
        ).get
        return by_number(connection, int(number)), before


def by_number(connection: apsw.Connection, number: int) -> EgressRow:
    """Return one rule.

    Raises:
        NotFound: there is none of this number.
    """
    found = connection.execute(f"SELECT {_COLUMNS} {_FROM} WHERE r.id = ?", (number,)).fetchone()
    if found is None:
        raise NotFound(f"there is no egress rule {number}", hint="ncl egress list")
    return _row(found)


def remove(connection: apsw.Connection, number: int) -> EgressRow:
    """Take a rule away and return it.

    Raises:
        NotFound: there is none of this number.
    """
    with together(connection):
        found = by_number(connection, number)
        connection.execute("DELETE FROM egress_rules WHERE id = ?", (number,))
    return found


def listed(connection: apsw.Connection, group: str | None = None) -> list[EgressRow]:
    """Return the rules that hold now, of a group (by its folder) with those of all groups, or all; as they came."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE (?1 IS NULL OR g.folder IS NULL OR g.folder = ?1)"
        " AND (r.expires_at IS NULL OR r.expires_at > ?2) ORDER BY r.id",
        (group, now_text()),
    )
    return [_row(row) for row in rows]


def _forget_expired(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM egress_rules WHERE expires_at <= ?", (now_text(),))


def _row(found: tuple[object, ...]) -> EgressRow:
    number, action, host, group, port, methods, path, private, expires_at, created_by, created_at, *bounds = found
    count, seconds, max_sent, max_received = bounds
    rule = Rule(
        id=number,  # type: ignore[arg-type]  # of the columns' types
        action=action,  # type: ignore[arg-type]
        host=str(host),
        group=group,  # type: ignore[arg-type]
        port=port,  # type: ignore[arg-type]
        methods=tuple(str(methods).split(",")) if methods else (),
        path=str(path),
        private=bool(private),
        until=datetime.fromisoformat(str(expires_at)).timestamp() if expires_at is not None else None,
        rate=Rate(count, seconds) if count is not None else None,  # type: ignore[arg-type]
        max_sent=max_sent,  # type: ignore[arg-type]
        max_received=max_received,  # type: ignore[arg-type]
    )
    return EgressRow(rule, expires_at, str(created_by), str(created_at))  # type: ignore[arg-type]
