"""``ncl sessions logs``, and its like of channels and egress: journalctl with the caller's rights, lines cleaned."""

import argparse
import contextlib
import json
import pwd
import subprocess
from collections.abc import Iterable

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

SERVICE_USER = "nanoclaw"
_MAX_LINE_BYTES = 64 * 1024


def logs(given: argparse.Namespace) -> int:
    """Print a session's log: what its unit wrote, and what the daemon wrote about it."""
    with Client(socket_path(given.socket)) as client:
        session = client.call("Sessions.Get", id=given.id)["session"]
    return follow(given, matches(session["id"], session["unit"]))


def egress(given: argparse.Namespace) -> int:
    """Print what agents have asked for of other hosts."""
    group = None
    if given.name is not None:
        with Client(socket_path(given.socket)) as client:
            group = client.call("Groups.Get", name=given.name)["group"]["name"]
    return follow(given, egress_matches(group))


def follow(given: argparse.Namespace, wanted: Iterable[str]) -> int:
    """Print what journalctl finds, as the command line says.

    Raises:
        CommandError: there is no journalctl.
    """
    command = [
        "journalctl",
        "--no-pager",
        f"--lines={given.lines}",
        f"--output={'json' if given.json else 'short-iso'}",
        *(["--follow"] if given.follow else []),
        *wanted,
    ]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as journal:
            if journal.stdout is None:
                raise RuntimeError("Popen made no pipe")
            try:
                _print(iter(lambda: journal.stdout.readline(_MAX_LINE_BYTES), b""), as_json=given.json)  # type: ignore[union-attr]  # checked above
            except (KeyboardInterrupt, BrokenPipeError):
                journal.terminate()
                with contextlib.suppress(KeyboardInterrupt):
                    journal.wait()
                raise
    except FileNotFoundError:
        raise CommandError(outcome.ERROR, "journalctl is missing") from None
    return outcome.OK if journal.returncode == 0 else outcome.ERROR


def matches(session_id: str, unit: str) -> list[str]:
    """Return journalctl's matches. Only the daemon's own records are believed to be about a session by their field.

    Raises:
        CommandError: the machine has no user of the appliance.
    """
    try:
        uid = pwd.getpwnam(SERVICE_USER).pw_uid
    except KeyError:
        raise CommandError(outcome.ERROR, f"there is no user {SERVICE_USER}", "sudo systemd-sysusers") from None
    return [
        f"_SYSTEMD_USER_UNIT={unit}",
        f"_UID={uid}",
        "+",
        f"NANOCLAW_SESSION={session_id}",
        "_SYSTEMD_UNIT=nanoclawd.service",
    ]


def egress_matches(group: str | None) -> list[str]:
    """Return journalctl's matches of the audit; only the gateway's own records are believed."""
    found = ["NANOCLAW_AUDIT=egress", "_SYSTEMD_UNIT=nanoclaw-gateway.service"]
    return found if group is None else [*found, f"NANOCLAW_GROUP={group}"]


def of_services(*names: str) -> list[str]:
    """Return journalctl's matches of records that these services themselves wrote."""
    return [f"_SYSTEMD_UNIT={name}.service" for name in names]


def _print(lines: Iterable[bytes], *, as_json: bool) -> None:
    for line in lines:
        text = line.decode(errors="replace").rstrip("\n")
        if not as_json:
            show.say(text)
            continue
        with contextlib.suppress(ValueError):
            print(json.dumps(json.loads(text)), flush=True)
