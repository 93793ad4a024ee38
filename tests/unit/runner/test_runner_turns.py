"""A real runner process answers (F-88, F-33, F-31)."""

import json

from runner_stage import Host, end

from nanoclaw_runner.contract import clock, doorbell


def test_a_message_is_answered_and_acknowledged(host: Host):
    """F-31, F-33, F-88: reply row with its address and in_reply_to, acknowledgement completed."""
    host.start_ready()
    connection = host.connect()
    host.insert("hello\nworld", thread="t-7")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 1) == ["echo: hello\necho: world"]
    ((seq, in_reply_to, timestamp, deliver_after, kind, channel, platform, thread),) = host.outbound(
        "SELECT seq, in_reply_to, timestamp, deliver_after, kind, channel_type, platform_id, thread_id"
        " FROM messages_out"
    )
    assert (seq, in_reply_to, deliver_after, kind) == (3, "in-2", None, "chat")
    assert (channel, platform, thread) == ("cli", "terminal", "t-7")
    assert clock.to_text(clock.parse(str(timestamp))) == timestamp
    assert host.acks() == {"in-2": "completed"}
    assert not list(host.root.glob("**/*-wal")) + list(host.root.glob("**/*-shm"))


def test_a_message_from_before_the_start_needs_no_ring(host: Host):
    """The host's connection is what starts a container; the answer rings it even if it is accepted later."""
    connection = host.connect()
    host.insert("early")
    host.start_ready()
    assert host.await_replies(connection, 1) == ["echo: early"]


def test_a_follow_up_joins_the_turn(host: Host):
    """A message that comes during a turn is claimed at once and answered by the same turn."""
    host.start_ready()
    connection = host.connect()
    host.insert("!sleep 0.5")
    connection.send(doorbell.RING)
    host.await_ring_until(connection, lambda: host.acks() == {"in-2": "processing"})
    host.insert("and this")
    connection.send(doorbell.RING)
    host.await_ring_until(connection, lambda: host.acks().get("in-4") == "processing")
    assert host.acks()["in-2"] == "processing"
    assert host.await_replies(connection, 2) == ["slept 0.5 s", "echo: and this"]
    assert [row[0] for row in host.outbound("SELECT in_reply_to FROM messages_out ORDER BY seq")] == ["in-2", "in-4"]
    turns = [line for line in _stderr(host).splitlines() if "messages" in line]
    assert len(turns) == 1
    assert "turn 1: 2 messages" in turns[0]


def _stderr(host: Host) -> str:
    process = host.processes[-1]
    end(process)
    assert process.stderr is not None
    return process.stderr.read().decode()


def test_an_answer_that_is_whole_at_once_is_not_shown_in_part(host: Host):
    connection = host.connect()
    host.insert("first\nsecond")
    host.start_ready()
    assert doorbell.decode(connection.recv(doorbell.MAX_FRAME_BYTES + 1)) is None
    assert host.replies() == ["echo: first\necho: second"]


def test_partials_are_shown_before_the_answer(host: Host):
    connection = host.connect()
    host.insert("first\n!sleep 0.5")
    host.start_ready()
    shown = []
    while True:
        partial = doorbell.decode(connection.recv(doorbell.MAX_FRAME_BYTES + 1))
        if partial is None:
            break
        shown.append(partial)
    assert {partial.in_reply_to for partial in shown} == {"in-2"}
    assert shown[0].text == "echo: first\nsleeping 0.5 s ."
    assert "echo: first\nsleeping 0.5 s .." in [partial.text for partial in shown]
    assert host.replies() == ["echo: first\nslept 0.5 s"]


def test_a_failing_provider_is_told_to_the_person(host: Host):
    """F-44, F-45: the error is a row to the origin, the input is consumed, the process lives."""
    host.start_ready()
    connection = host.connect()
    host.insert("!error the moon is down")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 1) == ["Error: the moon is down"]
    ((content, platform),) = host.outbound("SELECT content, platform_id FROM messages_out")
    assert json.loads(str(content))["error"] is True
    assert platform == "terminal"
    assert host.acks() == {"in-2": "completed"}
    host.insert("still there?")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 2)[1] == "echo: still there?"


def test_an_answer_without_a_connection_rings_the_next_one(host: Host):
    host.insert("early")
    host.start_ready()
    host.await_notification("STATUS=idle")
    assert host.await_replies(host.connect(), 1) == ["echo: early"]
