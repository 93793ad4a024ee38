"""A restart with a message, again and again, in the middle of turns: only the container that begins then is told it."""

import json
import re

from eventually import wait_until
from system.appliance import STATE, SessionNames, call, container_starts, rows, session_state, wired
from system.loopback import Account

ROUNDS = 20
CHATS = 5
"""Of one agent: together a hundred restarts of containers that are at work."""

_HOSTNAME = re.compile(r"read /etc/hostname: ([0-9a-f]{12})")


def _until(gate: str) -> str:
    """Return a directive that goes on until there is a file of this name in the workspace."""
    command = f"until test -e /workspace/{gate}; do sleep 0.05; done"
    return f"!call run_command {json.dumps({'command': command})}"


def working(session: SessionNames) -> bool:
    return bool(rows(session.outbound_db, "SELECT 1 FROM processing_ack WHERE status = 'processing'"))


def test_only_the_fresh_container_is_told(loop: Account, group: str) -> None:
    """F-211, F-213, F-214, F-217, F-220, F-227, W-70: a hundred turns are cut short by a restart with a message.

    What was asked is answered by the next container, along with the message, which the old one never saw. A container
    has its id for a host name.
    """
    texts = [wired("loop", group) for _ in range(CHATS)]
    for chat in texts:
        loop.say(chat, "hello", sender="somebody")
        loop.hears(chat, "echo: hello")
    sessions = {one["chat"]: SessionNames(group, one["id"]) for one in call("Sessions.List", group=group)["sessions"]}
    seen: dict[str, set[str]] = {chat: set() for chat in texts}
    for number in range(ROUNDS):
        before = len(loop.deliveries)
        gate = f"go-{number}"
        for chat in texts:
            loop.say(chat, f"!read /etc/hostname\n{_until(gate)}", sender="somebody")
        for chat in texts:
            wait_until(lambda chat=chat: working(sessions[chat]), "the turn has begun")
        assert call("Groups.Restart", name=group, message=f"note {number}.", seconds=60) == {
            "restarted": CHATS,
            "rebuilt": False,
        }
        # Only now, so no turn of an old container can have come to its end.
        (STATE / "groups" / group / gate).touch()
        for chat in texts:
            told = loop.hears(chat, f"[system] note {number}.", after=before).text
            found = _HOSTNAME.search(told)
            assert found is not None, "the turn that was cut short is answered along with it"
            assert found[1] not in seen[chat]
            seen[chat].add(found[1])
    for chat in texts:
        said = "\n".join(one.text for one in loop.deliveries if one.chat == chat)
        assert [said.count(f"[system] note {number}.") for number in range(ROUNDS)] == [1] * ROUNDS
        done = "SELECT count(*) FROM messages_in WHERE on_wake = 1 AND status = 'completed'"
        wait_until(
            lambda chat=chat, done=done: rows(sessions[chat].inbound_db, done) == [(ROUNDS,)], "all are answered"
        )


def test_who_sleeps_is_left_alone_and_who_was_ended_waits_for_work(loop: Account, group: str) -> None:
    """F-215, F-218, F-219: nothing is started for a session without a container, nor for one without a message."""
    chat = wired("loop", group)
    loop.say(chat, "hello", sender="somebody")
    loop.hears(chat, "echo: hello")
    (found,) = call("Sessions.List", group=group)["sessions"]
    session = SessionNames(group, found["id"])
    assert call("Groups.Restart", name=group)["restarted"] == 1
    wait_until(lambda: session_state(session)["state"] == "asleep", "it has gone to sleep")
    starts = container_starts(session)
    assert call("Groups.Restart", name=group, message="is anybody there?")["restarted"] == 0
    assert rows(session.inbound_db, "SELECT count(*) FROM messages_in WHERE on_wake = 1") == [(0,)]
    assert container_starts(session) == starts
    loop.say(chat, "again", sender="somebody")
    loop.hears(chat, "echo: again")
    assert container_starts(session) == starts + 1
