"""Two sessions of one group at the same time: one workspace, and nothing of each other's conversations."""

from pathlib import Path

from system import appliance
from system.appliance import SessionNames, call, wired
from system.claude_stage import SECONDS, Api, claude_group
from system.loopback import Account
from system.test_claude import files_holding
from system.test_commands_in_session import ADMIN

STATE = Path("/var/lib/nanoclaw")


def ask(loop: Account, chat: str, expected: str, *lines: str) -> str:
    return loop.asks(chat, "\n".join(lines), expected, sender=ADMIN, seconds=SECONDS)


def sessions(group: str) -> list[SessionNames]:
    return [SessionNames(group, one["id"]) for one in call("Sessions.List", group=group)["sessions"]]


def test_two_sessions_of_claude_share_files_and_not_what_was_said(loop: Account, api: Api) -> None:
    """W-74: settings, history and memory of sessions that run side by side are each one's own."""
    with claude_group() as group:
        call("Roles.Grant", user=f"loopback:{ADMIN}", role="admin", group=group)
        left, right = wired("loop", group), wired("loop", group)
        first = loop.say(left, "the milk is sour\n@slow 2\n@say left {turns}", sender=ADMIN)
        assert first
        ask(loop, right, "right 1", "the bread is stale", "@say right {turns}")
        loop.hears(left, "left 1", SECONDS)
        ask(loop, left, "wrote", '@tool Bash {"command": "echo from the left > /workspace/note"}', "@say wrote")
        ask(loop, right, "from the left", '@tool Bash {"command": "cat /workspace/note"}', "@say {results}")
        both = sessions(group)
        assert len(both) == 2
        assert all(appliance.runner(one) is not None for one in both), "they run side by side"
        holding = [
            {words for words in (b"milk is sour", b"bread is stale") if files_holding(one.directory / "home", words)}
            for one in both
        ]
        assert sorted(map(len, holding)) == [1, 1]
        assert holding[0] != holding[1]
        for words in (b"milk is sour", b"bread is stale"):
            assert not files_holding(STATE / "groups" / group, words)
        ask(loop, left, "cleared", "/clear")
        ask(loop, left, "left 1", "@say left {turns}")
        assert ask(loop, right, "right", "@say right {turns}") != "right 1", "the other one goes on"
        requests = api.seen()
        assert not [one for one in requests if "milk" in str(one) and "bread" in str(one)]


def test_two_sessions_of_a_script_share_files_and_not_what_was_said(loop: Account, group: str) -> None:
    """F-192: the same of what the appliance itself keeps of a session: its continuation, its home, its files."""
    call("Roles.Grant", user=f"loopback:{ADMIN}", role="admin", group=group)
    left, right = wired("loop", group), wired("loop", group)
    ask(loop, left, "remembered blue", "!remember blue")
    ask(loop, right, "remembered green", "!remember green")
    ask(loop, left, "wrote", "!write /workspace/note from the left")
    ask(loop, left, "wrote", "!write /home/agent/note from the left")
    ask(loop, right, "from the left", "!read /workspace/note")
    ask(loop, right, "FileNotFoundError", "!read /home/agent/note")
    ask(loop, left, "recall: blue", "!recall")
    ask(loop, right, "recall: green", "!recall")
    ask(loop, left, "cleared", "/clear")
    ask(loop, right, "recall: green", "!recall")
