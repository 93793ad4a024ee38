"""The ledger: takes what sessions report, knows what each group has used today, and says when that is too much."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import apsw

from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.clock import to_text
from nanoclawd.errors import Refused
from nanoclawd.journal import about
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store import troubles, usage
from nanoclawd.store.database import Database
from nanoclawd.store.transaction import together
from nanoclawd.store.usage import GroupLimits, Sum, Turn
from nanoclawd.usage import reports
from nanoclawd.usage.limits import WARN_SHARE, Limits, effective, states, used_up, warning
from nanoclawd.usage.telling import Telling

log = logging.getLogger(__name__)

KEPT_TURNS: Final = timedelta(days=31)
"""So long each turn is kept by itself, then the sums of days."""

KEPT_DAYS: Final = timedelta(days=400)
TROUBLE_SHOWN: Final = timedelta(days=1)
"""A trouble that nobody has met again for so long is over."""

MAX_IN_A_MINUTE: Final = 120
"""Reports of one session that are taken; no agent has more turns, and a flood of them would keep the database busy."""

_ANSWERED: Final = ("credentials", "rate-limit", "overloaded", "network", "refused")
"""Troubles that are over when a turn was answered."""


class UsageService:
    """Everything about usage. What is used today is kept in memory beside the database: a message waits for nothing."""

    def __init__(
        self,
        database: Database,
        defaults: Limits,
        zone: str,
        telling: Telling,
        endpoint_of: Callable[[str], str],
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            defaults: limits of groups that have none of their own.
            zone: IANA name of the owner's zone: its days are counted.
            telling: tells administrators.
            endpoint_of: returns the endpoint of a model's name; an empty one is the configuration's model.
            now: the present moment.
        """
        self._database = database
        self._defaults = defaults
        self._zone_name = zone
        self._zone = _zone(zone)
        self._telling = telling
        self._endpoint_of = endpoint_of
        self._now = now
        self._limits: dict[str, GroupLimits] = {}
        self._used: dict[tuple[str, str], tuple[int, int]] = {}
        self._condensed = ""
        self._pace: dict[str, tuple[str, int]] = {}

    async def start(self) -> None:
        """Read what was used today, and tidy up what is old."""
        day = self.today()
        self._limits = await self._database.run(usage.limits)
        used = await self._database.run(usage.used_on, day)
        self._used = {(group, day): numbers for group, numbers in used.items()}
        await self._tidy(day)

    def today(self) -> str:
        """Return the owner's day."""
        return self._now().astimezone(self._zone).date().isoformat()

    def refusal(self, agent_group_id: str, group: str) -> str | None:
        """Return in words why a group takes nothing more today; None: it does. Never waits."""
        for state in states(self.limits_of(agent_group_id), self._used.get((agent_group_id, self.today()), (0, 0))):
            if state.share >= 1:
                return used_up(group, state, self._resets())
        return None

    def limits_of(self, agent_group_id: str) -> Limits:
        """Return the limits that hold for a group."""
        return effective(self._defaults, self._limits.get(agent_group_id))

    def own_limits_of(self, agent_group_id: str) -> GroupLimits:
        """Return the limits that a group has itself."""
        return self._limits.get(agent_group_id, GroupLimits())

    async def set_limits(self, agent_group_id: str, wanted: GroupLimits) -> None:
        """Give a group limits of its own; they hold at once."""
        await self._database.run(usage.set_limits, agent_group_id, wanted)
        self._limits[agent_group_id] = wanted

    async def sums(self, by: str, days: int, group: str | None, session_id: str | None, limit: int) -> list[Sum]:
        """Add up what was used in the last days, today included."""
        first = self._now().astimezone(self._zone).date() - timedelta(days=max(days, 1) - 1)
        return await self._database.run(usage.sums, by, first.isoformat(), group, session_id, limit)

    async def troubles(self) -> list[troubles.Trouble]:
        """Return what troubles agents at present."""
        return await self._database.run(troubles.since, to_text(self._now() - TROUBLE_SHOWN))

    async def reported(self, session: SessionRef, row_id: str, content: Mapping[str, object]) -> None:
        """Write down what a session reports; the same row is written once.

        Raises:
            Refused: it says nothing.
            Unavailable: it can't be written down now.
        """
        if self._is_flood(session):
            return
        match content.get("action"):
            case "usage":
                await self._took(session, reports.turn(session, row_id, self.today(), content))
            case "trouble":
                await self._troubled(session, reports.trouble(content))
            case "over":
                await self._database.run(self._end, session.agent_group_id, reports.trouble(content))
            case _:
                raise Refused("there is no such report")

    def _is_flood(self, session: SessionRef) -> bool:
        minute = to_text(self._now())[: len("2026-01-01T00:00")]
        before, count = self._pace.get(session.id, ("", 0))
        count = count + 1 if before == minute else 1
        self._pace[session.id] = (minute, count)
        if count == MAX_IN_A_MINUTE + 1:
            log.warning(
                "more than %d reports in a minute: the others are left out",
                MAX_IN_A_MINUTE,
                extra=about(session=session.id, group=session.group),
            )
        return count > MAX_IN_A_MINUTE

    async def _took(self, session: SessionRef, turn: Turn) -> None:
        if not await self._database.run(self._record, turn):
            return
        await self._tidy(turn.day)
        key = (turn.agent_group_id, turn.day)
        tokens, cost = self._used.get(key, (0, 0))
        before = (tokens, cost)
        self._used[key] = after = (tokens + turn.tokens, cost + (turn.cost_micros or 0))
        limits = self.limits_of(turn.agent_group_id)
        for was, state in zip(states(limits, before), states(limits, after), strict=True):
            for mark in (1.0, WARN_SHARE):
                if was.share < mark <= state.share:
                    text = warning(session.group, state, self._resets())
                    log.warning("%s", text, extra=about(group=session.group))
                    name = f"usage-{turn.agent_group_id}-{turn.day}-{state.kind}-{'end' if mark == 1 else 'near'}"
                    self._telling.tell(turn.agent_group_id, name, text)
                    break

    async def _troubled(self, session: SessionRef, trouble: reports.Trouble) -> None:
        moment = to_text(self._now())
        endpoint, is_new = await self._database.run(self._note, session.agent_group_id, trouble, moment)
        log.warning(
            "trouble (%s%s): %s",
            trouble.kind,
            f" {trouble.subject}" if trouble.subject else "",
            trouble.message,
            extra=about(session=session.id, group=session.group),
        )
        if is_new:
            text = (
                # Without the agent's own words: what the appliance says itself is believed.
                f"The model endpoint {endpoint} refuses its credential, so agents such as {session.group} can't answer"
                " (ncl status has their words). Store a new one; you are told again only after it has worked."
            )
            # Whoever reports is not to be trusted: the name keeps it to one message in an hour.
            self._telling.tell(None, f"credentials-{endpoint}-{moment[: len('2026-01-01T00')]}", text)

    def _record(self, connection: apsw.Connection, turn: Turn) -> bool:
        """Write a turn down, and that its model has answered."""
        with together(connection):
            if not usage.record(connection, turn):
                return False
            troubles.over(connection, turn.agent_group_id, _ANSWERED)
            troubles.works(connection, self._endpoint(connection, turn.agent_group_id))
            return True

    def _note(
        self, connection: apsw.Connection, group_id: str, trouble: reports.Trouble, moment: str
    ) -> tuple[str, bool]:
        """Write a trouble down; return the endpoint whose credential has not been refused before, if it is that."""
        with together(connection):
            if trouble.kind != "credentials":
                troubles.note(connection, group_id, trouble.kind, trouble.subject, trouble.message, moment)
                return "", False
            endpoint = self._endpoint(connection, group_id)
            troubles.note(connection, group_id, trouble.kind, endpoint, trouble.message, moment)
            return endpoint, troubles.refuse(connection, endpoint, moment)

    def _end(self, connection: apsw.Connection, group_id: str, trouble: reports.Trouble) -> None:
        """Forget a trouble that is over."""
        with together(connection):
            if trouble.kind == "credentials":
                troubles.end(connection, group_id, trouble.kind)
                troubles.works(connection, self._endpoint(connection, group_id))
            else:
                troubles.end(connection, group_id, trouble.kind, trouble.subject)

    def _endpoint(self, connection: apsw.Connection, group_id: str) -> str:
        row = connection.execute("SELECT model FROM agent_groups WHERE id = ?", (group_id,)).fetchone()
        return self._endpoint_of(str(row[0] or "") if row is not None else "")

    async def _tidy(self, day: str) -> None:
        """Once a day: keep sums of what is old, forget what is very old, and what memory holds of other days."""
        if day == self._condensed:
            return
        self._condensed = day
        today = datetime.fromisoformat(day)
        await self._database.run(usage.condense, (today - KEPT_TURNS).date().isoformat())
        await self._database.run(usage.prune, (today - KEPT_DAYS).date().isoformat())
        self._used = {key: numbers for key, numbers in self._used.items() if key[1] == day}
        self._pace.clear()

    def _resets(self) -> str:
        return f"00:00 ({self._zone_name})"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
