"""What the journal keeps of the agents' requests to other hosts: one record each, at a rate that no flood exceeds.

Beyond the rate, requests are added up by what they were about, and the sums follow as records of their own: an agent
that floods can neither drown the journal nor hide where it has been. Headers, queries and users' names are never in it.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Final

from nanoclawd.journal import MAX_FIELD_CHARACTERS, about, printable

AUDIT: Final = "egress"
BURST: Final = 200
PER_SECOND: Final = 5.0
SUMMARY_SECONDS: Final = 10.0
MAX_SUMS: Final = 32
"""Different ones of a group in one summary, of what went nowhere; what is beyond is one more."""

MAX_SUMS_OF_HOSTS: Final = 256
"""Likewise, of what went somewhere: what is refused must not crowd it out."""

_WENT_NOWHERE: Final = frozenset(
    {"refused", "malformed", "limited", "denied", "expired", "unasked", "crowded", "no secret"}
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One request or tunnel, over.

    Attributes:
        outcome: ``closed``, ``answered``, ``refused`` and other words of ours.
        rule: number of the rule that decided; 0: none.
        path: without its query; empty in a tunnel.
        sent: bytes from the agent.
        received: bytes to it.
        session: whose it was, where that could be told.
        approval: by which somebody allowed it.
    """

    group: str
    host: str
    port: int
    method: str
    path: str
    rule: int
    outcome: str
    sent: int = 0
    received: int = 0
    milliseconds: int = 0
    status: int = 0
    session: str = ""
    approval: str = ""


@dataclass(slots=True)
class _Sum:
    count: int = 0
    sent: int = 0
    received: int = 0


type _Kind = tuple[str, int, int, str, str, str]
"""Host, port, rule, outcome, session and approval."""


@dataclass(slots=True)
class _Account:
    tokens: float
    at: float
    sums: dict[_Kind, _Sum]
    went: int = 0
    timer: asyncio.TimerHandle | None = None


class Audit:
    """Writes the records."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def write(self, record: Record) -> None:
        """Write a record down, or add it to its group's sums."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        account = self._accounts.setdefault(record.group, _Account(BURST, now, {}))
        account.tokens = min(BURST, account.tokens + (now - account.at) * PER_SECOND)
        account.at = now
        if account.tokens >= 1:
            account.tokens -= 1
            _write(record, 1)
            return
        one = account.sums.setdefault(_kind(account, record), _Sum())
        one.count += 1
        one.sent += record.sent
        one.received += record.received
        if account.timer is None:
            account.timer = loop.call_later(SUMMARY_SECONDS, self._sum_up, record.group)

    def close(self) -> None:
        """Write what is added up."""
        for group, account in self._accounts.items():
            if account.timer is not None:
                account.timer.cancel()
                self._sum_up(group)

    def _sum_up(self, group: str) -> None:
        account = self._accounts[group]
        sums, account.sums, account.timer, account.went = account.sums, {}, None, 0
        for (host, port, rule, outcome, session, approval), one in sums.items():
            record = Record(group, host, port, "", "", rule, outcome, one.sent, one.received)
            _write(replace(record, session=session, approval=approval), one.count)


def _kind(account: _Account, record: Record) -> _Kind:
    """Return what a record is added up with."""
    key = (record.host, record.port, record.rule, record.outcome, record.session, record.approval)
    if key in account.sums:
        return key
    went = record.rule != 0 and record.outcome not in _WENT_NOWHERE
    if account.went >= MAX_SUMS_OF_HOSTS if went else len(account.sums) - account.went >= MAX_SUMS:
        return ("…", 0, 0, "others", "", "")
    account.went += went
    return key


def _write(record: Record, count: int) -> None:
    where = f"{record.host}:{record.port}"
    what = f"{record.method} {where}{record.path}" if count == 1 and record.method else where
    log.info(
        "%s: %s%s, %s, %d bytes out, %d in%s%s",
        f"{record.group} {record.session}" if record.session else record.group,
        what,
        f" ({count} more requests, summed up)" if not record.method else "",
        record.outcome + (f" {record.status}" if record.status else ""),
        record.sent,
        record.received,
        f", {record.milliseconds} ms" if record.method else "",
        f", approval {record.approval}" if record.approval else "",
        extra={
            **about(group=record.group, session=record.session or None),
            "NANOCLAW_AUDIT": AUDIT,
            "NANOCLAW_EGRESS_HOST": _field(record.host),
            "NANOCLAW_EGRESS_PORT": str(record.port),
            "NANOCLAW_EGRESS_METHOD": _field(record.method),
            "NANOCLAW_EGRESS_PATH": _field(record.path),
            "NANOCLAW_EGRESS_RULE": str(record.rule),
            "NANOCLAW_EGRESS_OUTCOME": record.outcome,
            "NANOCLAW_EGRESS_STATUS": str(record.status),
            "NANOCLAW_EGRESS_SENT": str(record.sent),
            "NANOCLAW_EGRESS_RECEIVED": str(record.received),
            "NANOCLAW_EGRESS_MS": str(record.milliseconds),
            "NANOCLAW_EGRESS_COUNT": str(count),
            **({"NANOCLAW_EGRESS_APPROVAL": record.approval} if record.approval else {}),
        },
    )


def _field(text: str) -> str:
    return printable(text)[:MAX_FIELD_CHARACTERS]
