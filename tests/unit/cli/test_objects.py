"""Objects by ``ncl`` against a served directory: what people type, and what they see."""

import os
import pwd

import pytest
from varlink_stub import Stub

from memory_backend.process import Daemon
from nanoclawd.cli.__main__ import main

ME = f"terminal:{pwd.getpwuid(os.getuid()).pw_name}"


def _said(daemon: Daemon, *words: str) -> str:
    done = daemon.ncl(*words)
    assert done.returncode == 0, done
    assert not done.stderr
    return done.stdout.decode()


def test_a_chat_and_its_wiring_have_a_life(daemon: Daemon):
    """W-68: chats, wirings and their priority, scope and policies by ncl alone."""
    chat = daemon.json("chats", "create", "telegram", "-100-7", "--name", "Work", "--is-group")
    assert (chat["chat"], chat["is_group"], chat["unknown_sender_policy"]) == ("-100-7", True, "strict")
    wiring = daemon.json("wirings", "create", "telegram:-100-7", "main", "--engage", "mention", "--priority", "3")
    assert (wiring["engage_mode"], wiring["priority"], wiring["group"]) == ("mention", 3, "main")
    by_prefix = daemon.json("wirings", "update", wiring["id"][:9], "--scope", "known", "--ignored", "accumulate")
    assert (by_prefix["sender_scope"], by_prefix["ignored_message_policy"]) == ("known", "accumulate")
    assert wiring["id"] in [one["id"] for one in daemon.json("wirings", "--chat", "Work")]
    table = _said(daemon, "wirings", "list", "--chat", chat["id"]).splitlines()
    assert table[0].split()[:3] == ["ID", "CHAT", "NAME"]
    assert "telegram:-100-7" in table[1]
    assert daemon.json("chats", "update", "Work", "--unknown-senders", "public")["unknown_sender_policy"] == "public"
    bad = daemon.ncl("wirings", "update", wiring["id"], "--engage", "pattern", "--pattern", "a(b")
    assert (bad.returncode, b"pattern" in bad.stderr) == (5, True)
    assert _said(daemon, "wirings", "delete", wiring["id"]) == f"deleted: {wiring['id']}\n"
    assert daemon.json("chats", "delete", "telegram:-100-7") == {"deleted": {"chat": "telegram:-100-7"}}
    missing = daemon.ncl("chats", "get", "Wrok")
    assert missing.returncode == 1
    assert b"ncl chats list" in missing.stderr or b"Did you mean" in missing.stderr


def test_people_have_roles_and_memberships(daemon: Daemon):
    """W-68: people, roles and members by ncl alone; the last owner stays."""
    assert daemon.json("roles", "grant", "owner", ME)["role"] == "owner"
    granted = _said(daemon, "roles", "grant", "admin", "telegram:4711", "--group", "main")
    assert [line.split(":", 1)[0] for line in granted.splitlines()][:3] == ["user", "role", "group"]
    assert daemon.json("users", "update", "telegram:4711", "--name", "Ada")["display_name"] == "Ada"
    assert daemon.json("users", "get", "Ada")["roles"] == ["admin of main"]
    assert daemon.json("members", "add", "main", "telegram:4712")["group"] == "main"
    assert [one["user"] for one in daemon.json("members", "--group", "main")] == ["telegram:4712"]
    assert _said(daemon, "members", "remove", "main", "telegram:4712") == "removed: main, telegram:4712\n"
    assert _said(daemon, "roles", "revoke", "admin", "Ada", "--group", "main") == "revoked: admin, Ada, main\n"
    assert daemon.ncl("roles", "revoke", "owner", ME).returncode == 5
    assert _said(daemon, "users", "undeny", "telegram:4712") == "telegram:4712: 0 denials taken back\n"


def test_destinations_are_added_by_target(daemon: Daemon):
    """W-68: the address book by ncl alone."""
    daemon.ncl("groups", "create", "work")
    chat = daemon.json("chats")[0]
    added = daemon.json("destinations", "add", "work", "--chat", chat["id"], "--name", "family")
    assert (added["name"], added["type"]) == ("family", "channel")
    assert daemon.json("destinations", "add", "work", "--agent", "main")["agent"] == "main"
    assert _said(daemon, "destinations", "remove", "work", "family") == "removed: work, family\n"


def test_what_waits_is_shown_and_decided(daemon: Daemon):
    """W-68: approvals and questions, in status too; a decided one has nothing to decide."""
    (waiting,) = daemon.json("approvals")
    assert waiting["id"] in _said(daemon, "status")
    assert [one["id"] for one in daemon.json("status")["approvals"]] == [waiting["id"]]
    shown = _said(daemon, "approvals", "get", waiting["id"][:4])
    assert "1. Allow (allow)" in shown
    assert "May Eve talk to main?" in shown
    assert "approved" in _said(daemon, "approvals", "approve", waiting["id"][:4])
    assert daemon.ncl("approvals", "reject", waiting["id"]).returncode == 5
    assert daemon.json("approvals") == []
    assert len(daemon.json("approvals", "--all")) == 1
    (question,) = daemon.json("questions", "--group", "main")
    assert "answered with" in _said(daemon, "questions", "answer", question["id"], "1")
    assert _said(daemon, "questions") == "no open questions\n"


def test_channels_and_what_was_dropped(daemon: Daemon):
    """W-68: channels, what they see, and the dropped messages."""
    assert "the token was refused" in _said(daemon, "channels")
    assert "root/main" in _said(daemon, "channels", "conversations", "terminal")
    away = daemon.ncl("channels", "conversations", "telegram")
    assert (away.returncode, b"Try: ncl channels list" in away.stderr) == (1, True)
    (dropped,) = daemon.json("dropped")
    assert (dropped["reason"], dropped["message_count"]) == ("unknown_sender_strict", 1)
    assert "unknown_sender_strict" in _said(daemon, "dropped", "--user", "telegram:99")
    assert _said(daemon, "dms") == "no direct chats are known yet\n"


def test_a_groups_scope_and_a_sessions_end(daemon: Daemon):
    """W-68: cli_scope and closing a session."""
    assert daemon.json("groups", "scope", "main", "disabled")["cli_scope"] == "disabled"
    assert daemon.json("groups", "update", "main", "--display-name", "Chief")["display_name"] == "Chief"
    assert daemon.json("sessions", "close", "aaaab")["state"] == "closed"


STEPS = [
    {"name": "chat", "outcome": "pass", "reason": "the chat is known", "rule": "chat mg-1"},
    {"name": "sender scope", "outcome": "note", "reason": "everybody", "rule": "wiring sender_scope=all"},
]
STOP = {"name": "engage", "outcome": "stop", "reason": "it is not addressed", "rule": "wiring engage_mode=mention"}


def _decision(**more: object) -> dict[str, object]:
    return {
        "message": "m1", "channel": "telegram", "chat": "-100", "thread": None, "sender": "telegram:1", "known": True,
        "action": "route", "reason": "", "answer": None, "reply": None, "deciding": STEPS[0], "steps": STEPS[:1],
        "wirings": [], **more,
    }  # fmt: skip


def _wiring(**more: object) -> dict[str, object]:
    return {
        "wiring": "mga-1", "group": "main", "action": "engage", "reason": "", "session_mode": "shared", "thread": None,
        "session": None, "reply": None, "deciding": STEPS[1], "steps": STEPS[1:], **more,
    }  # fmt: skip


def test_explain_tells_each_step_and_the_rule_that_decided(stub: Stub, capsys: pytest.CaptureFixture[str]):
    """Why an agent answers and another does not, aligned, without opening a database."""
    dropped = _wiring(
        group="work", wiring="mga-2", action="drop", reason="no_agent_engaged", deciding=STOP, steps=[STOP]
    )
    stub.replies["Routing.Explain"] = {"decision": _decision(thread="7", wirings=[_wiring(), dropped])}
    words = [
        "--channel",
        "telegram",
        "--chat",
        "-100",
        "--thread",
        "7",
        "--sender",
        "telegram:1",
        "--text",
        "hi\x1b[31m",
    ]
    assert main(["--socket", stub.path, "explain", *words, "--mention"]) == 0
    assert stub.calls[0][1]["mention"] is True
    assert (
        capsys.readouterr().out
        == """\
telegram:1 writes “hi” in telegram:-100, thread 7

  ✓ chat          the chat is known  [chat mg-1]
→ each agent decides for itself

agent main (wiring mga-1)
  · sender scope  everybody  [wiring sender_scope=all]
→ the agent answers
  because everybody [wiring sender_scope=all]
  session: a new one (shared)

agent work (wiring mga-2)
  ✗ engage        it is not addressed  [wiring engage_mode=mention]
→ dropped (no_agent_engaged)
  because it is not addressed [wiring engage_mode=mention]
"""
    )


def test_explain_a_message_that_came(daemon: Daemon):
    """By the platform's id; one that is not remembered is not found."""
    said = _said(daemon, "explain", "--message", "m1")
    assert said.startswith("telegram:1 in telegram:-100, thread 7 (message m1)\n")
    assert "dropped (no_agent_engaged)" in said
    assert "[wiring engage_mode=mention]" in said
    assert daemon.json("explain", "--message", "m1")[0]["wirings"][0]["action"] == "drop"
    assert daemon.ncl("explain", "--message", "m2").returncode == 1
    words = ("--channel", "telegram", "--chat", "-5", "--sender", "", "--text", "x", "--in-group")
    assert "access.unknown_chats=strict" in _said(daemon, "explain", *words)
    assert daemon.json("explain", *words)["sender"] is None


@pytest.mark.parametrize(
    ("url", "host", "port", "named"),
    [
        ("https://a.example/find?q=1&r=2", "a.example", 443, "a.example"),
        ("http://a.example:8080/", "a.example", 8080, "a.example:8080"),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443, "[2001:db8::1]:8443"),
    ],
)
def test_the_rule_that_egress_test_suggests_can_be_written(
    stub: Stub, capsys: pytest.CaptureFixture[str], url: str, host: str, port: int, named: str
):
    """An address may have what no rule has: a query."""
    tried = {"group": "main", "host": host, "port": port, "method": None, "path": None, "allowed": False, "asks": False}
    stub.replies["Egress.Test"] = {"test": {**tried, "rule": None, "reason": "no rule allows it", "note": None}}
    assert main(["--socket", stub.path, "egress", "test", "main", url]) == 0
    assert f"Try: ncl egress allow main {named}\n" in capsys.readouterr().out
