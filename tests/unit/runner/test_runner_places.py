"""One turn answers one place; others come next, and context stays with its own place."""

import socket

from runner_stage import Host

from nanoclaw_runner.contract import doorbell


def ring(connection: socket.socket) -> None:
    connection.send(doorbell.RING)


def answers(host: Host) -> list[tuple[object, ...]]:
    return host.outbound(
        "SELECT json_extract(content, '$.text'), platform_id, thread_id, in_reply_to FROM messages_out ORDER BY seq"
    )


def test_the_place_of_the_oldest_question_comes_first(host: Host):
    """Questions of two chats and of a thread: three prompts, each answered where it was asked, without another ring."""
    host.insert("a1", platform="a")
    host.insert("b1", platform="b")
    host.insert("t1", platform="a", thread="t")
    host.insert("a2", platform="a")
    connection = host.connect()
    host.start_ready()
    host.await_replies(connection, 3)
    assert answers(host) == [
        ("echo: a1\necho: a2", "a", None, "in-8"),
        ("echo: b1", "b", None, "in-4"),
        ("echo: t1", "a", "t", "in-6"),
    ]


def test_a_follow_up_of_another_place_waits_for_the_end_of_the_turn_and_not_longer(host: Host):
    """And what comes after it in the turn's own place waits for its turn too: nobody is kept waiting for ever."""
    host.start_ready()
    connection = host.connect()
    host.insert("!sleep 1", platform="a")
    ring(connection)
    host.await_ring_until(connection, lambda: "in-2" in host.acks())
    host.insert("joins", platform="a")
    ring(connection)
    host.await_ring_until(connection, lambda: "in-4" in host.acks())
    host.insert("elsewhere", platform="b")
    host.insert("later", platform="a")
    ring(connection)
    host.await_replies(connection, 4)
    assert [(text, place) for text, place, _, _ in answers(host)] == [
        *(("slept 1 s", "a"), ("echo: joins", "a"), ("echo: elsewhere", "b"), ("echo: later", "a"))
    ]


def test_context_rides_along_with_a_question_of_its_own_place(host: Host):
    """F-159: three accumulated messages and a mention are one prompt with four lines, in order."""
    for text in ("one", "two"):
        host.insert(text, trigger=False, platform="a")
    host.insert("said elsewhere", trigger=False, platform="b")
    host.insert("three", trigger=False, platform="a")
    host.insert("what do you think?", platform="a")
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 1) == ["echo: one\necho: two\necho: three\necho: what do you think?"]
    assert set(host.acks()) == {"in-2", "in-4", "in-8", "in-10"}
    host.insert("and you?", platform="b")
    ring(connection)
    assert host.await_replies(connection, 2)[1] == "echo: said elsewhere\necho: and you?"


def test_waking_rows_of_every_place_are_seen_by_the_container_that_they_woke(host: Host):
    host.insert("for a", platform="a", on_wake=True)
    host.insert("for b", platform="b", on_wake=True)
    connection = host.connect()
    host.start_ready()
    host.await_replies(connection, 2)
    host.insert("too late", platform="b", on_wake=True)
    host.insert("plain", platform="b")
    ring(connection)
    assert host.await_replies(connection, 3) == ["echo: for a", "echo: for b", "echo: plain"]
