"""``ncl egress summary``: what agents asked for in a day, added up from the journal when somebody wants to know."""

import argparse
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.logs import egress_matches
from nanoclawd.cli.outcome import CommandError

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_PASSED: Final = frozenset({"answered", "closed", "idle", "open", "left", "broken"})
"""Outcomes of what was let through, however it ended; all others are refusals, or hosts that did not work."""

_FIELDS: Final = ("GROUP", "EGRESS_HOST", "EGRESS_OUTCOME", "EGRESS_COUNT", "EGRESS_SENT", "EGRESS_RECEIVED")
_MAX_LINE_BYTES: Final = 64 * 1024
_HEAD: Final = ("group", "host", "requests", "not passed", "approvals", "sent", "received")


@dataclass(slots=True)
class Sum:
    """What one group asked of one host."""

    group: str
    host: str
    requests: int = 0
    not_passed: int = 0
    approvals: int = 0
    sent: int = 0
    received: int = 0


def summary(given: argparse.Namespace) -> int:
    """Print the sums of a day, in the machine's zone."""
    day = _day(given.day)
    group = None
    if given.name is not None:
        with Client(socket_path(given.socket)) as client:
            group = client.call("Groups.Get", name=given.name)["group"]["name"]
    found = sums(_records(day, group))
    if given.json:
        show.as_json([{"day": str(day), **asdict(one)} for one in found])
        return outcome.OK
    rows = [
        (
            one.group,
            one.host,
            one.requests,
            one.not_passed or "",
            one.approvals or "",
            show.size(one.sent),
            show.size(one.received),
        )
        for one in found
    ]
    show.table(_HEAD, rows, f"nothing was asked for on {day}, as far as you may read the journal")
    return outcome.OK


def sums(lines: Iterable[bytes]) -> list[Sum]:
    """Add records of the journal up, as journalctl writes them; by group, and within it what was asked most first."""
    found: dict[tuple[str, str], Sum] = {}
    for line in lines:
        try:
            record = json.loads(line)
            count, sent, received = (int(record[f"NANOCLAW_EGRESS_{name}"]) for name in ("COUNT", "SENT", "RECEIVED"))
            group, host = str(record["NANOCLAW_GROUP"]), str(record["NANOCLAW_EGRESS_HOST"])
        except (ValueError, KeyError, TypeError):
            continue  # cut, or of an older gateway
        one = found.setdefault((group, host), Sum(group, host))
        one.requests += count
        one.sent += sent
        one.received += received
        if record.get("NANOCLAW_EGRESS_OUTCOME") not in _PASSED:
            one.not_passed += count
        if record.get("NANOCLAW_EGRESS_APPROVAL"):
            one.approvals += count
    return sorted(found.values(), key=lambda one: (one.group, -one.requests, one.host))


def _day(text: str | None) -> date:
    today = datetime.now(UTC).astimezone().date()
    if text is None:
        return today
    if text == "yesterday":
        return today - timedelta(days=1)
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise CommandError(outcome.USAGE, f"{text!r} is no day", "ncl egress summary --day 2026-03-01")


def _records(day: date, group: str | None) -> Iterator[bytes]:
    """Yield the journal's records of a day.

    Raises:
        CommandError: there is no journalctl.
    """
    command = [
        "journalctl",
        "--no-pager",
        "--output=json",
        f"--output-fields={','.join(f'NANOCLAW_{name}' for name in (*_FIELDS, 'EGRESS_APPROVAL'))}",
        f"--since={day} 00:00:00",
        f"--until={day + timedelta(days=1)} 00:00:00",
        *egress_matches(group),
    ]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as journal:
            if journal.stdout is None:
                raise RuntimeError("Popen made no pipe")
            while line := journal.stdout.readline(_MAX_LINE_BYTES):
                yield line
    except FileNotFoundError:
        raise CommandError(outcome.ERROR, "journalctl is missing") from None
