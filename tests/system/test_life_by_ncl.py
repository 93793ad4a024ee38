"""The whole life of an agent by ``ncl`` alone (acceptance 3); nothing of it is left: W-29, W-31, W-32, W-68."""

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

from eventually import wait_until
from system.appliance import STATE, loaded_units, processes, rows, run
from system.loopback import Account

AGENTS = Path("/run/nanoclaw-agents/agents.json")


def ncl(*words: str) -> Any:
    """Run a command with ``--json`` and return what it printed."""
    printed = run("ncl", *words, "--json")
    return json.loads(printed) if printed.strip() else None


def refusal(*words: str) -> str:
    """Run a command that must fail, and return what it says."""
    done = subprocess.run(["ncl", *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0, f"{words} was done: {done.stdout}"
    return done.stderr


def mentions(*needles: str) -> list[str]:
    """Every row of the central database that has one of the words in it, told by its table."""
    found = []
    for (table,) in rows(STATE / "central.db", "SELECT name FROM sqlite_schema WHERE type = 'table'"):
        for row in rows(STATE / "central.db", f"SELECT * FROM {table}"):
            text = "\0".join(map(str, row))
            found += [f"{table}: {row}"] if any(needle in text for needle in needles) else []
    return found


def test_a_life() -> None:
    tag = secrets.token_hex(4)
    group, other, chat, member = f"life{tag}", f"peer{tag}", f"room-{tag}", f"loopback:ada-{tag}"
    made = ncl("groups", "create", group, "--provider", "scripted")
    assert made["name"] == group
    ncl("groups", "create", other, "--provider", "scripted")
    room = ncl("chats", "create", "loop", chat, "--is-group", "--unknown-senders", "strict")
    wiring = ncl("wirings", "create", f"loop:{chat}", group, "--engage", "pattern", "--pattern", ".")
    # W-31: the wiring brought the destination along, by whatever path it was made.
    assert [one["chat"] for one in ncl("destinations", "list", "--group", group)] == [chat]
    ncl("destinations", "add", group, "--agent", other, "--name", "peer")
    ncl("users", "create", member, "--name", "Ada")
    ncl("members", "add", group, member)
    ncl("roles", "grant", "admin", member, "--group", group)
    ncl("wirings", "update", wiring["id"], "--scope", "known", "--session", "per-thread")
    ncl("groups", "update", group, "--cli-scope", "disabled")

    with Account("loop", idempotent=True) as account:
        account.say(chat, "hello", sender=f"ada-{tag}", group=True, thread="t")
        account.hears(chat, "echo: hello", thread="t")
        account.say(chat, "let me in", sender=f"eve-{tag}", group=True, thread="t")
        account.say(chat, "!ncl groups list", sender=f"ada-{tag}", group=True, thread="t")
        account.hears(chat, "cli_scope is disabled", thread="t")
        assert not [one for one in account.texts(chat, "t") if "let me in" in one]
        dropped = [one for one in ncl("dropped") if one["chat"] == chat]
        assert [(one["user"], one["reason"]) for one in dropped] == [(f"loopback:eve-{tag}", "unknown_sender_strict")]
        (session,) = ncl("sessions", "list", "--group", group)
        # Any form of an id will do: the whole of it, its beginning, a name with dashes in it (W-30).
        assert ncl("sessions", "get", session["id"][:6])["id"] == session["id"]
        assert ncl("wirings", "get", wiring["id"].removeprefix("mga-"))["id"] == wiring["id"]
        assert ncl("chats", "get", f"loop:{chat}")["id"] == room["id"]
        assert group in refusal("groups", "get", group[:-1]), "no word of what may have been meant"
        assert ncl("groups", "restart", group)["restarted"] == 1
        account.say(chat, "again", sender=f"ada-{tag}", group=True, thread="t")
        account.hears(chat, "echo: again", thread="t")
        ncl("sessions", "close", session["id"])
        account.say(chat, "new", sender=f"ada-{tag}", group=True, thread="t")
        account.hears(chat, "echo: new", thread="t")
        (present,) = ncl("sessions", "list", "--group", group)
        assert present["id"] != session["id"]
        assert "sessions" in refusal("groups", "delete", group)
        ncl("groups", "delete", group, "--force")

    ids = [made.get("id", ""), session["id"], present["id"], wiring["id"]]
    left = mentions(group, *[one for one in ids if one])
    assert not left, left
    assert not rows(STATE / "central.db", "PRAGMA foreign_key_check")
    wait_until(lambda: not processes(group) and not loaded_units(group), "nothing runs or is loaded any more")
    runtime = Path("/run/user") / run("id", "-u", "nanoclaw").strip()
    trees = [STATE / "sessions", STATE / "groups", STATE / "agents", STATE / ".config", runtime / "nanoclaw"]
    wait_until(lambda: not [path for tree in trees for path in tree.rglob(f"*{group}*")], "no file is left")
    assert group not in AGENTS.read_text()
    # What was not the agent's is there still, until somebody deletes that too.
    assert ncl("members", "list", "--user", member) == []
    ncl("chats", "delete", f"loop:{chat}")
    ncl("users", "delete", member)
    ncl("groups", "delete", other)
    assert not [row for row in mentions(tag) if not row.startswith("dropped_messages")]
