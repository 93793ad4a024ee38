"""A container is ended in the moment in which the daemon is about to begin with it: neither undoes the other.

Each test holds the daemon in such a moment, has somebody end the container, and lets the daemon go on.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
from machine import PATIENCE, House, at, busy, echo
from session_stage import CHAT, message

from eventually import eventually
from nanoclawd.sessions.actor import SessionActor
from nanoclawd.sessions.aftermath import CLOSED, STOPPED
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.inbound import Destination
from nanoclawd.store.sessions import Session

OPERATOR_STOPPED = "The operator has stopped me while I worked on this."
BLOCKED_SECONDS = 0.2


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.open()
    made.machine.lasting = True
    yield made
    await made.end()


@asynccontextmanager
async def held_before_its_container(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Hold a daemon that has decided to serve a session, until the block is left; the event tells that it is there."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    project = SessionActor.project

    async def held(actor: SessionActor, destinations: Sequence[Destination]) -> None:
        reached.set()
        await go_on.wait()
        await project(actor, destinations)

    with monkeypatch.context() as patched:
        patched.setattr(SessionActor, "project", held)
        try:
            yield reached
        finally:
            go_on.set()


async def begun(house: House, session: Session) -> None:
    """Have a container that works on a message and will not end by itself."""
    house.machine.program = busy
    await house.say(session, at(CHAT, message("one")))
    await eventually(lambda: claimed(house, session) == ["one"])


def claimed(house: House, session: Session) -> list[str]:
    path = house.paths.session(session.group, session.id).outbound_db
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    try:
        return [str(row[0]) for row in connection.execute("SELECT message_id FROM processing_ack")]
    finally:
        connection.close()


def living(house: House, session: Session) -> SessionActor:
    actor = house.sessions.living(session.id)
    assert actor is not None
    return actor


async def answered_later(house: House, session: Session) -> None:
    house.machine.program = echo
    await house.say(session, at(CHAT, message("later")))
    await eventually(lambda: "re: later" in house.platform.texts)


async def idle(house: House, session: Session) -> None:
    """Have a container that has nothing to do."""
    await house.say(session, at(CHAT, message("one")))
    await eventually(lambda: house.platform.ended == [("one", True)])


async def test_a_stop_while_a_new_daemon_takes_an_idle_container_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is down, and stays down until there is work."""
    session = await house.session(await house.group(), CHAT)
    await idle(house, session)
    async with held_before_its_container(monkeypatch) as reached:
        assert await house.restart() == 1
        await asyncio.wait_for(reached.wait(), PATIENCE)
        assert await living(house, session).stop(Ended.BY_OPERATOR)
        assert house.machine.running == []
    await house.asleep()
    assert house.machine.running == []
    assert house.machine.starts == [session.id]
    assert house.platform.texts == ["re: one"]
    await answered_later(house, session)
    assert house.machine.starts == [session.id] * 2


async def test_a_stop_while_a_new_daemon_takes_a_busy_container_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked is told, as if the daemon had been there all the time."""
    session = await house.session(await house.group(), CHAT)
    await begun(house, session)
    async with held_before_its_container(monkeypatch) as reached:
        await house.restart()
        await asyncio.wait_for(reached.wait(), PATIENCE)
        assert await living(house, session).stop(Ended.BY_OPERATOR)
    await house.asleep()
    assert house.platform.texts == [OPERATOR_STOPPED]
    assert house.machine.starts == [session.id]
    await answered_later(house, session)


async def test_a_message_that_comes_with_the_stop_is_answered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await house.session(await house.group(), CHAT)
    await idle(house, session)
    async with held_before_its_container(monkeypatch) as reached:
        await house.restart()
        await asyncio.wait_for(reached.wait(), PATIENCE)
        assert await living(house, session).stop(Ended.FOR_RESTART)
        await house.say(session, at(CHAT, message("two")))
    await eventually(lambda: house.platform.texts == ["re: one", "re: two"])
    assert house.machine.starts == [session.id] * 2


async def test_a_container_that_ends_by_itself_is_not_started_again_by_a_new_daemon(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await house.session(await house.group(), CHAT)
    await idle(house, session)
    async with held_before_its_container(monkeypatch) as reached:
        await house.restart()
        await asyncio.wait_for(reached.wait(), PATIENCE)
        await house.machine.stop_unit(house.machine.running[0])
    await house.asleep()
    assert house.machine.starts == [session.id]


async def test_a_stop_while_the_doorbell_is_being_connected_waits_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before, the container would be started by the connection."""
    session = await house.session(await house.group(), CHAT)
    await idle(house, session)
    stops: list[asyncio.Task[bool]] = []
    start_unit = house.machine.start_unit

    async def stop_at_once(unit: str, patience: float = 0) -> str:
        stops.append(asyncio.create_task(living(house, session).stop(Ended.BY_OPERATOR)))
        await asyncio.wait(stops, timeout=BLOCKED_SECONDS)  # that it does nothing meanwhile is the subject
        return await start_unit(unit)

    monkeypatch.setattr(house.machine, "start_unit", stop_at_once)
    await house.restart()
    await house.asleep()
    assert [await stop for stop in stops] == [True]
    assert house.machine.running == []
    assert house.machine.starts == [session.id]


async def test_what_is_dropped_while_its_container_is_about_to_start_starts_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await house.session(await house.group(), CHAT)
    async with held_before_its_container(monkeypatch) as reached:
        await house.say(session, at(CHAT, message("one")))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        stopping = asyncio.create_task(house.sessions.stop_turn(session))
        await eventually(lambda: house.platform.texts == [STOPPED])
    assert await stopping
    await house.asleep()
    assert house.machine.starts == []
    await answered_later(house, session)
    assert house.platform.texts == [STOPPED, "re: later"]


async def test_a_session_that_closes_while_its_container_is_about_to_start_starts_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await house.session(await house.group(), CHAT)
    async with held_before_its_container(monkeypatch) as reached:
        await house.say(session, at(CHAT, message("one")))
        await asyncio.wait_for(reached.wait(), PATIENCE)
        await living(house, session).close()
    await house.asleep()
    assert house.platform.texts == [CLOSED]
    assert house.machine.starts == []


async def test_a_restart_that_is_asked_for_while_a_new_daemon_takes_over_is_made(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await house.session(await house.group(), CHAT)
    await idle(house, session)
    async with held_before_its_container(monkeypatch) as reached:
        await house.restart()
        await asyncio.wait_for(reached.wait(), PATIENCE)
        assert await living(house, session).restart_after_turn()
    await house.asleep()
    assert house.machine.running == []
    assert house.machine.starts == [session.id]


async def test_a_session_with_no_container_that_was_to_be_stopped_is_forgotten(house: House) -> None:
    session = await house.session(await house.group(), CHAT)
    actor = await house.sessions.actor(session, look_first=True)
    assert not await actor.stop(Ended.BY_OPERATOR)
    await house.asleep()


async def test_a_stop_by_a_person_is_no_loss_when_the_container_was_ending_for_another_reason(house: House) -> None:
    """The first reason is kept for the container; what was dropped stays dropped."""
    session = await house.session(await house.group(), CHAT)
    await begun(house, session)
    first, second = living(house, session).stop(Ended.FOR_RESTART), house.sessions.stop_turn(session)
    await asyncio.gather(first, second)
    await house.asleep()
    assert house.platform.texts == [STOPPED]
    assert house.machine.starts == [session.id]
