"""``ncl setup``: from a fresh install to an agent that answers. It may be run again at any time."""

import argparse
import asyncio
import sys
import time
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.catalogue.appliance import DEFAULT_GROUP, DEFAULT_TIMEOUT
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.images import run_build
from nanoclawd.cli.link import Link
from nanoclawd.cli.one_shot import Answer, ask
from nanoclawd.cli.outcome import CommandError
from nanoclawd.doctor.finding import Severity
from nanoclawd.doctor.run import run_host_checks

_QUESTION = "Say hello in one short sentence."


def setup(given: argparse.Namespace) -> int:
    """Check the machine, create the group, make the caller its owner, build the images, wait for an answer."""
    tell = _silent if given.json else show.say
    path = socket_path(given.socket)
    for finding in run_host_checks():
        if finding.severity is Severity.ERROR:
            tell(f"warning: {finding.title}: {finding.detail}\n  Try: {finding.fix or 'ncl doctor'}")
    with Client(path) as client:
        group, created = _group(client, given)
        tell(f"Agent group {group['name']}: {'created' if created else 'there already'}, model {group['model']}")
        owner = client.call("Roles.Claim").get("role")
        if owner:
            tell(f"You are the owner: {owner['user']}. More people: ncl roles grant admin PLATFORM:HANDLE")
        missing = [one["name"] for one in client.call("Images.List")["images"] if one["state"] != "present"]
        if missing:
            tell(f"Building {', '.join(missing)}. The first time takes some minutes.")
            for name in missing:
                run_build(client, name, quiet=given.json)
        tell("Images: ready")
    tell("Asking the agent for a word. The first answer starts its container and its model.")
    began = time.monotonic()
    answer = asyncio.run(ask(Link(path, group["name"]), _QUESTION, DEFAULT_TIMEOUT, quiet=True))
    return _conclude(given, group, owner, answer, time.monotonic() - began)


def _group(client: Client, given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    name, model = given.group, given.model
    known = {one["name"]: one for one in client.call("Groups.List")["groups"]}
    may_ask = sys.stdin.isatty() and not given.yes and not given.json
    if name is None:
        name = DEFAULT_GROUP
        if may_ask and name not in known:
            name = input(f"Name of your first agent group [{DEFAULT_GROUP}]: ").strip() or name
    if name in known:
        changed = {key: value for key, value in (("provider", given.provider), ("model", model)) if value is not None}
        if changed:
            return client.call("Groups.Update", name=name, **changed)["group"], False
        return known[name], False
    if model is None and may_ask:
        model = input("Its model, as ENDPOINT/MODEL [the one of config.yaml]: ").strip() or None
    return client.call("Groups.Create", name=name, provider=given.provider, model=model)["group"], True


def _conclude(
    given: argparse.Namespace, group: dict[str, Any], owner: dict[str, Any] | None, answer: Answer, seconds: float
) -> int:
    if answer.state != "completed":
        reason = " ".join(notice["text"] for notice in answer.notices) or "it gave no reason"
        raise CommandError(outcome.ERROR, f"the agent could not answer: {reason}", "ncl doctor")
    said = "\n".join(reply["text"] for reply in answer.replies)
    if given.json:
        show.as_json({"group": group, "owner": owner, "answer": said, "seconds": round(seconds, 3)})
        return outcome.OK
    show.say(f"{group['name']}: {said}\n({show.duration(seconds)})")
    show.say(
        f"\nDone. Talk to it:      ncl chat {group['name']}\nSee how it is:         ncl status\n"
        "Use another model:     edit /etc/nanoclawd/config.yaml,\n"
        "                       then: sudo systemctl restart nanoclawd nanoclaw-gateway"
    )
    return outcome.OK


def _silent(_text: str) -> None:
    """Say nothing: with --json the only output is the result."""
