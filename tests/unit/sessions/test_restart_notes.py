"""Rows for the next container: none that is there takes one, the next one does, and nobody waits for nothing."""

import asyncio

import apsw
from machine import Agent, House, at, echo
from session_stage import message

from eventually import eventually
from nanoclaw_runner.contract.rows import Address
from nanoclawd.agents.notes import note_to
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.sessions import Session

DEN = Address("irc", "#den")


async def talking(house: House) -> Session:
    """Return a session whose container has answered, and is idle."""
    session = await house.session(await house.group(), DEN)
    await house.say(session, at(DEN, message("m")))
    await eventually(lambda: house.platform.texts == ["re: m"])
    return session


def note(name: str) -> NewMessage:
    return NewMessage(id=name, content=f'{{"text": "{name}"}}', address=DEN, on_wake=True)


async def test_a_container_that_is_there_never_sees_it(house: House):
    """F-209, F-211…F-214, W-70: stored while it runs and looks, claimed by the container that begins after it ended."""
    session = await talking(house)
    actor = house.sessions.living(session.id)
    assert actor is not None
    with actor.accepting():
        await actor.store(note("n"))
    actor.nudge()
    assert house.query(session, "SELECT status, on_wake FROM messages_in WHERE id = 'n'") == [("paused", 1)]
    await house.say(session, at(DEN, message("between")))
    await eventually(lambda: "re: between" in house.platform.texts)
    assert "re: n" not in house.platform.texts
    assert house.machine.starts == [session.id]
    assert await actor.restart()
    await eventually(lambda: "re: n" in house.platform.texts)
    assert house.machine.starts == [session.id] * 2
    assert house.platform.texts.count("re: n") == 1


async def test_a_restart_with_a_note_begins_again_at_once(house: House):
    """F-210, F-214, F-220, F-227: one new container, for the note, with no time in between; once only."""
    session = await talking(house)
    actor = house.sessions.living(session.id)
    assert actor is not None
    assert await actor.restart(note("n"))
    await eventually(lambda: "re: n" in house.platform.texts)
    assert house.machine.starts == [session.id] * 2


async def test_without_a_note_nothing_begins(house: House):
    """F-219: the container comes back when somebody writes."""
    session = await talking(house)
    actor = house.sessions.living(session.id)
    assert actor is not None
    assert await actor.restart()
    await house.asleep()
    assert house.machine.starts == [session.id]


async def test_who_has_no_container_has_nothing_to_restart(house: House):
    """F-215, F-218: nothing is stored, nothing begins, nothing is wrong."""
    session = await house.session(await house.group(), DEN)
    actor = await house.sessions.actor(session)
    assert not await actor.restart(note("n"))
    assert not await actor.restart_after_turn(note("n"))
    actor.nudge()
    await house.asleep()
    assert house.query(session, "SELECT count(*) FROM messages_in") == [(0,)]
    assert house.machine.starts == []


async def test_a_note_to_who_sleeps_is_for_the_container_that_begins_for_it(house: House):
    """F-225: an agent that was allowed something while it slept is told by its next container."""
    session = await house.session(await house.group(), DEN)
    made = await house.database.run(_noted, session.id)
    assert made.on_wake
    assert await house.sessions.deliver_system(session.id, made)
    await eventually(lambda: house.machine.starts == [session.id])
    await eventually(lambda: house.query(session, "SELECT status FROM messages_in") != [("paused",)])


async def test_it_waits_for_the_turn_that_is_under_way(house: House):
    """An agent that asks in a turn is restarted after it, and told then; a held row is no reason to go on waiting."""
    answer = asyncio.Event()

    async def slow(agent: Agent) -> None:
        await answer.wait()
        await echo(agent)

    house.machine.program = slow
    session = await house.session(await house.group(), DEN)
    await house.say(session, at(DEN, message("m")))
    await eventually(lambda: house.machine.running)
    actor = house.sessions.living(session.id)
    assert actor is not None
    assert await actor.restart_after_turn(note("n"))
    assert house.platform.texts == []
    answer.set()
    await eventually(lambda: house.platform.texts == ["re: m", "re: n"])
    assert house.machine.starts == [session.id] * 2


async def test_a_daemon_that_dies_in_between_loses_nothing(house: House):
    """F-226, W-70: the next daemon finds the note; the container that it adopts still does not see it."""
    session = await talking(house)
    actor = house.sessions.living(session.id)
    assert actor is not None
    with actor.accepting():
        await actor.store(note("n"))
    house.machine.lasting = True
    await house.restart()
    assert house.query(session, "SELECT status FROM messages_in WHERE id = 'n'") == [("paused",)]
    await eventually(lambda: house.sessions.living(session.id) is not None)
    await house.machine.stop_unit(f"nanoclaw-main@{session.id}.service")
    await eventually(lambda: "re: n" in house.platform.texts)
    assert house.platform.texts.count("re: n") == 1


async def test_a_session_that_is_deleted_meanwhile_begins_nothing(house: House):
    """F-226: no container, no error."""
    session = await talking(house)
    actor = house.sessions.living(session.id)
    assert actor is not None
    with actor.accepting():
        await actor.store(note("n"))
    house.sessions.drop(session.id)
    await house.machine.stop_unit(f"nanoclaw-main@{session.id}.service")
    assert house.machine.starts == [session.id]
    assert not await house.sessions.deliver_system("zzzzzzzzzzzz", note("x"))


def _noted(connection: apsw.Connection, session_id: str) -> NewMessage:
    return note_to(connection, session_rows.by_id(connection, session_id), "go on")
