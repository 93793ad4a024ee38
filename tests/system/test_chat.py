"""What a person at a terminal notices of a healthy appliance."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import ControlError, Person, session_of, session_state, unit


def test_a_message_is_answered_cold_and_warm_from_one_container(person: Person) -> None:
    cold = person.ask("hello")
    assert (cold.state, cold.answers) == ("completed", ("echo: hello",))
    session = session_of(person.group)
    first = unit(session.unit)
    warm = person.ask("again")
    assert (warm.state, warm.answers) == ("completed", ("echo: again",))
    assert unit(session.unit)["MainPID"] == first["MainPID"]
    assert first["ActiveState"] == "active"


def test_rows_of_host_and_container_keep_their_numbers(person: Person) -> None:
    """F-83, F-85, F-86, F-87, F-88, F-91, F-98: seq parity and order, claims, acknowledgements, delivery states."""
    for number in range(5):
        person.ask(f"message {number}")
    session = session_of(person.group)
    wait_until(
        lambda: appliance.rows(session.inbound_db, "SELECT DISTINCT status FROM messages_in") == [("completed",)],
        "all acknowledged",
    )
    inbound = [seq for (seq,) in appliance.rows(session.inbound_db, "SELECT seq FROM messages_in ORDER BY seq")]
    outbound = [seq for (seq,) in appliance.rows(session.outbound_db, "SELECT seq FROM messages_out ORDER BY seq")]
    assert inbound[0] == 2
    assert all(seq % 2 == 0 for seq in inbound)
    assert all(seq % 2 == 1 for seq in outbound)
    assert all(answer > question for question, answer in zip(inbound, outbound, strict=True))
    assert appliance.rows(session.outbound_db, "SELECT DISTINCT status FROM processing_ack") == [("completed",)]
    wait_until(
        lambda: appliance.rows(session.inbound_db, "SELECT DISTINCT status FROM delivered") == [("delivered",)],
        "all delivered",
    )
    for database in (session.inbound_db, session.outbound_db):
        # F-35: rollback journal, and nothing else beside the file
        assert appliance.rows(database, "PRAGMA journal_mode") == [("delete",)]
        assert not list(database.parent.glob("*-wal")) + list(database.parent.glob("*-shm"))


def test_follow_ups_join_the_turn_that_runs(person: Person) -> None:
    """F-208: what is written while the agent works is taken up at once, by the same query."""
    first = person.send("!sleep 3")
    person.wait(lambda event: event.type == "partial", "the turn has begun")
    followers = [person.send(f"follow-up {number}") for number in range(5)]
    session = session_of(person.group)
    wait_until(
        lambda: appliance.rows(session.outbound_db, "SELECT count(*) FROM processing_ack") == [(6,)],
        "all are claimed while the first one runs",
        seconds=2.5,
    )
    assert person.outcome(first).answers == ("slept 3 s",)
    assert all(person.outcome(follower).state == "completed" for follower in followers)
    said = "\n".join(event.text for event in person.shown())
    assert all(said.count(f"echo: follow-up {number}") == 1 for number in range(5))


def test_what_came_while_nobody_looked_is_shown_on_the_next_attach(group: str) -> None:
    with Person(group) as person:
        waiting = person.send("!sleep 1.5\nstill there?")
        person.wait(lambda event: event.type == "partial", "the turn has begun")
    session = session_of(group)
    wait_until(
        lambda: appliance.rows(session.outbound_db, "SELECT count(*) FROM messages_out") == [(1,)], "the agent answered"
    )
    with Person(group) as back:
        shown = back.wait(lambda event: event.type == "message", "the answer")
        assert shown.in_reply_to == waiting
        assert shown.text == "slept 1.5 s\necho: still there?"
    with Person(group) as again:
        again.ask("and now")
        assert [event.text for event in again.shown()] == ["echo: and now"]


def test_all_screens_show_the_same(group: str) -> None:
    """F-37: each of them once."""
    with Person(group) as one, Person(group) as two, Person(group) as three:
        for number in range(3):
            one.ask(f"from one {number}")
            two.ask(f"from two {number}")
        last = one.ask("the last")
        assert last.state == "completed"
        three.wait(lambda event: event.type == "message" and event.text == "echo: the last", "the last answer")
        two.wait(lambda event: event.type == "message" and event.text == "echo: the last", "the last answer")
        seen = [[(event.id, event.text) for event in person.shown()] for person in (one, two, three)]
    assert len(seen[0]) == 7
    assert seen[0] == seen[1] == seen[2]


def test_a_screen_sees_status_and_the_growing_answer(person: Person) -> None:
    """F-92: what was the heartbeat's is the watchdog's and STATUS's now."""
    message = person.send("first line\n!sleep 2.5")
    partial = person.wait(lambda event: event.type == "partial" and "sleeping" in event.text, "partial text")
    assert partial.text.startswith("echo: first line")
    assert partial.in_reply_to == message
    status = person.wait(lambda event: event.type == "status" and "answering" in event.text, "a status")
    session = session_of(person.group)
    assert session_state(session)["state"] == "awake"
    assert "answering" in session_state(session)["status"]
    person.outcome(message)
    person.wait(
        lambda event: event.type == "status" and event.text == "idle", "idle", after=person.events.index(status)
    )


def test_ten_senders_at_once_wake_one_container(group: str) -> None:
    """F-131: wakes of a sleeping session at the same moment start exactly one container; F-36: each row once."""
    with Person(group) as person, ThreadPoolExecutor(10) as pool:
        together = threading.Barrier(10)

        def send(number: int) -> str:
            together.wait(10)
            return person.send(f"message {number}")

        messages = list(pool.map(send, range(10)))
        assert {person.outcome(message).state for message in messages} == {"completed"}
        said = sorted(line for event in person.shown() for line in event.text.splitlines())
        assert said == [f"echo: message {number}" for number in range(10)]
    session = session_of(group)  # there is one
    assert appliance.container_starts(session) == 1


def test_a_message_that_is_sent_twice_is_one(group: str) -> None:
    token = "a-token-of-the-client"
    with Person(group) as person:
        first = appliance.call("Chat.Send", group=group, text="once", client_token=token)
        person.wait(lambda event: event.type == "turn", "the end")
        second = appliance.call("Chat.Send", group=group, text="once", client_token=token)
        assert second["message_id"] == first["message_id"]
        assert second["state"] == "completed"
        person.ask("next")
        assert [event.text for event in person.shown()] == ["echo: once", "echo: next"]


def test_too_long_and_empty_messages_are_refused_with_the_reason(group: str) -> None:
    with pytest.raises(ControlError, match="256 KiB") as too_long:
        appliance.call("Chat.Send", group=group, text="x" * (256 * 1024 + 1), client_token="long-long-long")
    assert too_long.value.name == "TooLarge"
    with pytest.raises(ControlError, match="empty"):
        appliance.call("Chat.Send", group=group, text=" \n", client_token="empty-empty")
    with pytest.raises(ControlError) as unknown:
        appliance.call("Chat.Send", group="nobody-here", text="hello", client_token="unknown-group")
    assert unknown.value.name == "NotFound"


def test_an_error_of_the_provider_is_said(person: Person) -> None:
    failed = person.ask("!error the model has no opinion")
    assert failed.state == "completed"
    assert "the model has no opinion" in failed.text
    assert person.ask("go on").answers == ("echo: go on",)
