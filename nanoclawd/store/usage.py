"""What turns took, and what groups may take in a day."""

from dataclasses import dataclass

import apsw

from nanoclawd.store.transaction import together

MAX_REPORTS: int = 5000
"""Reports of one session and day that are written down: an agent can't fill the database with them."""

_SUMS = (
    "sum(turns), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens),"
    " sum(cost_micros), sum(tool_calls), sum(seconds)"
)
_BY = {"day": "day", "group": "group_name", "session": "session_id", "model": "model"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took; ``cost_micros`` (millionths of a dollar) is None where its provider names no price."""

    id: str
    agent_group_id: str
    group: str
    session_id: str
    day: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_micros: int | None
    tool_calls: int
    seconds: float

    @property
    def tokens(self) -> int:
        """What counts against a limit: what was read anew and what was written; the cache is nearly free."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True)
class Sum:
    """What was used together by what ``key`` names: a day, a group, a session or a model."""

    key: str
    turns: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_micros: int | None
    tool_calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """A group's own limits for a day: None is what the configuration says, 0 no bound."""

    daily_tokens: int | None = None
    daily_cost_micros: int | None = None


def record(connection: apsw.Connection, turn: Turn) -> bool:
    """Write down what a turn took; False where it is known already, or its session has told too much today."""
    known = connection.execute(
        "SELECT count(*) FROM usage_turns WHERE session_id = ? AND day = ?", (turn.session_id, turn.day)
    ).get
    if int(known) >= MAX_REPORTS:
        return False
    connection.execute(
        "INSERT INTO usage_turns (id, agent_group_id, group_name, session_id, day, model, input_tokens, output_tokens,"
        " cache_read_tokens, cache_write_tokens, cost_micros, tool_calls, seconds)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            turn.id,
            turn.agent_group_id,
            turn.group,
            turn.session_id,
            turn.day,
            turn.model,
            turn.input_tokens,
            turn.output_tokens,
            turn.cache_read_tokens,
            turn.cache_write_tokens,
            turn.cost_micros,
            turn.tool_calls,
            turn.seconds,
        ),
    )
    return bool(connection.changes())


def sums(
    connection: apsw.Connection,
    by: str,
    since: str,
    group: str | None = None,
    session_id: str | None = None,
    limit: int = 200,
) -> list[Sum]:
    """Add up what was used from a day on: by day the newest first, otherwise the most expensive first.

    Args:
        connection: the central database.
        by: day, group, session or model.
        since: the first day.
        group: only of the group of this folder.
        session_id: only of this session.
        limit: so many at most.
    """
    column = _BY[by]
    order = "1 DESC" if by == "day" else "sum(cost_micros) DESC, sum(input_tokens + output_tokens) DESC, 1"
    rows = connection.execute(
        f"SELECT {column}, {_SUMS} FROM usage_turns WHERE day >= ?1 AND (?2 IS NULL OR group_name = ?2)"
        f" AND (?3 IS NULL OR session_id = ?3) GROUP BY {column} ORDER BY {order} LIMIT ?4",
        (since, group, session_id, limit),
    )
    return [Sum(*row) for row in rows]


def used_on(connection: apsw.Connection, day: str) -> dict[str, tuple[int, int]]:
    """Return tokens and cost in millionths that each group (by id) has used on a day."""
    rows = connection.execute(
        "SELECT agent_group_id, sum(input_tokens + output_tokens + cache_write_tokens), sum(coalesce(cost_micros, 0))"
        " FROM usage_turns WHERE day = ? GROUP BY agent_group_id",
        (day,),
    )
    return {str(group): (int(tokens), int(cost)) for group, tokens, cost in rows}


def condense(connection: apsw.Connection, before: str) -> None:
    """Keep of each session's days before this one the sums of each model, instead of every turn."""
    with together(connection):
        old = connection.execute(
            f"SELECT agent_group_id, group_name, session_id, day, model, {_SUMS} FROM usage_turns WHERE day < ?"
            " GROUP BY agent_group_id, group_name, session_id, day, model HAVING count(*) > 1",
            (before,),
        ).fetchall()
        for group_id, group, session_id, day, model, turns, *numbers in old:
            connection.execute(
                "DELETE FROM usage_turns WHERE agent_group_id = ? AND session_id = ? AND day = ? AND model = ?",
                (group_id, session_id, day, model),
            )
            connection.execute(
                "INSERT INTO usage_turns (id, agent_group_id, group_name, session_id, day, model, input_tokens,"
                " output_tokens, cache_read_tokens, cache_write_tokens, cost_micros, tool_calls, seconds, turns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    "/".join(map(str, (day, session_id, model))),
                    group_id,
                    group,
                    session_id,
                    day,
                    model,
                    *numbers,
                    turns,
                ),
            )


def prune(connection: apsw.Connection, before: str) -> None:
    """Forget the days before this one."""
    connection.execute("DELETE FROM usage_turns WHERE day < ?", (before,))


def limits(connection: apsw.Connection) -> dict[str, GroupLimits]:
    """Read the limits of all groups (by id) that have their own."""
    rows = connection.execute("SELECT agent_group_id, daily_tokens, daily_cost_micros FROM group_limits")
    return {str(group): GroupLimits(tokens, cost) for group, tokens, cost in rows}


def set_limits(connection: apsw.Connection, agent_group_id: str, wanted: GroupLimits) -> None:
    """Write a group's own limits."""
    connection.execute(
        "INSERT INTO group_limits (agent_group_id, daily_tokens, daily_cost_micros) VALUES (?1, ?2, ?3)"
        " ON CONFLICT (agent_group_id) DO UPDATE SET daily_tokens = ?2, daily_cost_micros = ?3",
        (agent_group_id, wanted.daily_tokens, wanted.daily_cost_micros),
    )
