"""``ncl status``."""

import argparse
from typing import Any

from nanoclawd.cli import forms, outcome, show
from nanoclawd.cli.catalogue import RESOURCES
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError


def status(given: argparse.Namespace) -> int:
    """Print how the appliance is."""
    with Client(socket_path(given.socket)) as client:
        found = client.call("Appliance.Status")
        waiting = _approvals(client)
    if given.json:
        show.as_json({**found, "approvals": waiting})
        return outcome.OK
    limits = found["limits"]
    show.say(
        f"nanoclawd {found['version']}, pid {found['pid']}, up {show.duration(found['uptime'])}\n"
        f"{show.counted(found['groups'], 'group')}, {show.counted(found['sessions'], 'session')}: "
        f"{limits['awake']} awake of {limits['max_awake']} at most, {limits['waiting']} waiting\n"
        f"memory: {_of(limits['memory_used'], limits['memory_budget'])} · "
        f"disk: {show.size(limits.get('free_disk'))} free, {show.size(limits['min_free_disk'])} kept free"
    )
    show.say("")
    show.table(
        ("part", "state", "detail"),
        [(part["name"], part["state"], _with_hint(part)) for part in found["components"]],
        "no parts known",
    )
    if found["busy"]:
        show.say("")
        show.table(("session", "group", "state", "since", "doing"), [_busy(one) for one in found["busy"]], "")
    if waiting:
        show.say("\nwaiting for an approval (ncl approvals approve ID):")
        forms.table(RESOURCES["approvals"], waiting)
    for problem in found["problems"]:
        show.say(f"\n{problem['severity']}: {problem['title']}: {problem['detail']}")
        if problem.get("fix"):
            show.say(f"  Try: {problem['fix']}")
    return outcome.OK


def _approvals(client: Client) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = client.call("Approvals.List")["approvals"]
    except CommandError:
        return []  # an agent may not see them
    return found


def _of(used: int | None, budget: int | None) -> str:
    bound = "no budget" if budget is None else f"{show.size(budget)} budget"
    return f"{show.size(used)} used, {bound}"


def _with_hint(part: dict[str, Any]) -> str:
    return f"{part['detail']} — try: {part['hint']}" if part.get("hint") else str(part["detail"])


def _busy(session: dict[str, Any]) -> tuple[str, ...]:
    doing = session.get("status") or session.get("reason") or ""
    if session.get("place"):
        doing = f"place {session['place']} in the queue: {session.get('reason') or ''}"
    return session["id"], session["group"], session["state"], show.ago(session["since"]), doing
