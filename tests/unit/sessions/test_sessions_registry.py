"""Whole sessions: many at once, in every mode, stopped and closed, asleep and over a restart."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from machine import Agent, House, at, busy, echo
from session_stage import message

from eventually import eventually
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import Unavailable
from nanoclawd.sessions import drain
from nanoclawd.sessions.aftermath import CLOSED, STOPPED
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.ports import Delivered, Text, Undelivered
from nanoclawd.store import agent_groups, destinations
from nanoclawd.store import sessions as session_rows

DEN = Address("irc", "#den")
HALL = Address("irc", "#hall")
THREAD = Address("irc", "#den", "t1")


def statuses(house: House, session: session_rows.Session) -> dict[str, str]:
    return dict(house.query(session, "SELECT id, status FROM messages_in"))


async def test_many_agents_hear_one_message(house: House):
    """Each has its row, is marked as at work, woken and answers; one central commit notes all of them."""
    groups = [await house.group(f"agent-{number}") for number in range(20)]
    chat = await house.chat(groups[0], DEN)
    sessions = [await house.sessions.create(group.id, group.folder, chat.id) for group in groups]
    commits = 0

    def count(connection: apsw.Connection) -> None:
        def committed(_connection: object, _name: str, _pages: int) -> int:
            nonlocal commits
            commits += 1
            return 0

        connection.set_wal_hook(committed)

    await house.database.run(count)
    house.machine.program = busy
    stored = await house.sessions.accept_all([(session, at(DEN, message("m"))) for session in sessions])
    assert stored == [True] * 20
    assert commits == 1
    assert len(await house.database.run(session_rows.awake)) == 20
    assert {actor.ref.id for actor in house.sessions.actors} == {session.id for session in sessions}
    await eventually(lambda: len(house.machine.running) == 20)
    again = await house.sessions.accept_all([(session, at(DEN, message("m"))) for session in sessions])
    assert again == [False] * 20


async def test_one_agents_trouble_is_nothing_to_the_others(house: House):
    """Its result is the exception; the others' rows are stored and answered."""
    groups = [await house.group(name) for name in ("one", "two", "three")]
    chat = await house.chat(groups[0], DEN)
    sessions = [await house.sessions.create(group.id, group.folder, chat.id) for group in groups]
    house.paths.session("two", sessions[1].id).inbound_db.unlink()
    results = await house.sessions.accept_all([(session, at(DEN, message("m"))) for session in sessions])
    assert [results[0], results[2]] == [True, True]
    assert isinstance(results[1], Unavailable)
    await eventually(lambda: house.platform.texts == ["re: m", "re: m"])


async def test_a_locked_session_holds_nobody_up(house: House):
    """A container that holds a read lock on its own database: the others' messages are answered meanwhile."""
    locked = await house.session(await house.group("locked"), DEN)
    free = await house.session(await house.group("free"), HALL)
    lock = apsw.Connection(str(house.paths.session("locked", locked.id).inbound_db), flags=apsw.SQLITE_OPEN_READONLY)
    lock.execute("BEGIN")
    lock.execute("SELECT count(*) FROM messages_in").fetchall()
    both = asyncio.create_task(
        house.sessions.accept_all([(locked, at(DEN, message("m"))), (free, at(HALL, message("n")))])
    )
    await eventually(lambda: house.platform.texts == ["re: n"])
    assert not both.done()
    lock.close()
    assert await both == [True, True]
    await eventually(lambda: sorted(house.platform.texts) == ["re: m", "re: n"])


async def test_a_caller_that_gives_up_leaves_no_message_unanswered(house: House):
    """What was stored by then is answered; the rest was not accepted, and is handed in again."""
    sessions = [await house.session(await house.group(name), Address("irc", name)) for name in ("one", "two")]
    lock = apsw.Connection(str(house.paths.session("two", sessions[1].id).inbound_db), flags=apsw.SQLITE_OPEN_READONLY)
    lock.execute("BEGIN")
    lock.execute("SELECT count(*) FROM messages_in").fetchall()
    call = asyncio.create_task(
        house.sessions.accept_all([(session, at(Address("irc", session.group), message("m"))) for session in sessions])
    )
    await eventually(lambda: statuses(house, sessions[0]))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    lock.close()
    await eventually(lambda: house.platform.texts)


async def test_a_session_that_closed_meanwhile_takes_no_message(house: House):
    """Whoever routes has found it a moment ago: the message is handed in again, and finds a new one."""
    group = await house.group()
    session = await house.session(group, DEN)
    other = await house.session(await house.group("other"), HALL)
    await house.database.run(session_rows.close, session.id)
    closed, fine = await house.sessions.accept_all([(session, at(DEN, message("m"))), (other, at(HALL, message("n")))])
    assert isinstance(closed, Unavailable)
    assert fine is True
    assert statuses(house, session) == {}
    await house.database.run(agent_groups.delete, group.id)
    (gone,) = await house.say(session, at(DEN, message("m")))
    assert isinstance(gone, Unavailable)
    assert house.sessions.living(session.id) is None


async def test_nothing_is_accepted_on_a_full_disk(house: House, monkeypatch: pytest.MonkeyPatch):
    """Neither by who is at work nor by who sleeps; the next message after it is."""
    awake = await house.session(await house.group("awake"), DEN)
    asleep = await house.session(await house.group("asleep"), HALL)
    house.machine.program = busy
    assert await house.say(awake, at(DEN, message("m"))) == [True]
    await eventually(lambda: house.machine.running)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=-1))
        (busy_one,) = await house.say(awake, at(DEN, message("n")))
        (sleeper,) = await house.say(asleep, at(HALL, message("n")))
    for result in (busy_one, sleeper):
        assert isinstance(result, Unavailable)
        assert "almost full" in result.message
    assert (list(statuses(house, awake)), statuses(house, asleep)) == (["m"], {})
    assert house.sessions.living(asleep.id) is None
    assert await house.say(awake, at(DEN, message("n"))) == [True]


async def test_nothing_is_nothing(house: House):
    assert await house.sessions.accept_all([]) == []


@pytest.mark.parametrize(("mode", "address"), [("shared", DEN), ("per-thread", THREAD)])
async def test_a_sessions_answers_go_where_it_was_asked(house: House, mode: str, address: Address):
    group = await house.group()
    chat = await house.chat(group, DEN)
    session = await house.sessions.create(group.id, "main", chat.id, address.thread_id, mode)
    assert (session.mode, session.thread_id) == (mode, address.thread_id)
    await house.say(session, at(address, message("m")))
    await eventually(lambda: house.platform.got)
    assert [outgoing.address for outgoing in house.platform.got] == [address]


async def test_the_chats_of_an_agent_meet_in_one_session(house: House):
    """agent-shared: it belongs to no chat; answers, notices and what is shown go to the chat that asked."""
    group = await house.group()
    for address in (DEN, HALL):
        await house.chat(group, address)
        house.rules.chats.add((address.channel_type, address.platform_id))
    session = await house.sessions.create(group.id, "main", None, None, "agent-shared")
    await house.say(session, at(DEN, message("one")), at(HALL, message("two")))
    await eventually(lambda: len(house.platform.got) == 2)
    assert {(outgoing.address, outgoing.body) for outgoing in house.platform.got} == {
        (DEN, Text("re: one")),
        (HALL, Text("re: two")),
    }
    house.machine.program = busy
    await house.restart()
    await house.say(session, at(HALL, message("three")))
    await eventually(lambda: house.sessions.actors)
    assert await house.sessions.stop_turn(session)
    await eventually(lambda: house.platform.texts[2:] == [STOPPED])
    assert house.platform.got[2].address == HALL


async def test_two_sessions_of_an_agent_are_never_shared(house: House):
    """The directories of the one that lost the race are gone, too."""
    group = await house.group()
    await house.sessions.create(group.id, "main", None, None, "agent-shared")
    with pytest.raises(apsw.ConstraintError):
        await house.sessions.create(group.id, "main", None, None, "agent-shared")
    assert len(list(house.paths.sessions_of("main").iterdir())) == 1


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_nobody_saw_is_shown_when_somebody_comes(house: House, restarts: bool):
    """Also of an agent-shared session, of another chat than the session's own, and after a restart of the daemon."""
    group = await house.group()
    shared = await house.sessions.create(group.id, "main", None, None, "agent-shared")
    own = await house.session(group, HALL)
    house.rules.chats.add((DEN.channel_type, DEN.platform_id))
    house.platform.away = True
    await house.say(shared, at(DEN, message("one")))
    await house.say(own, at(DEN, message("two")))
    await eventually(lambda: len(house.machine.starts) == 2)
    await eventually(lambda: {statuses(house, shared)["one"], statuses(house, own)["two"]} == {"completed"})
    await house.machine.stop()
    await house.asleep()
    assert house.platform.got == []
    if restarts:
        assert await house.restart() == 2
        await house.asleep()
    house.sessions.attached(HALL)
    house.platform.away = False
    house.sessions.attached(DEN)
    await eventually(lambda: sorted(house.platform.texts) == ["re: one", "re: two"])
    await house.asleep()
    assert await house.restart() == 0


async def test_a_context_row_does_not_make_it_forget_who_waits(house: House):
    group = await house.group()
    session = await house.session(group, DEN)
    house.platform.away = True
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: statuses(house, session)["one"] == "completed")
    await house.machine.stop()
    await house.asleep()
    session = await house.database.run(session_rows.by_id, session.id)
    await house.say(session, at(DEN, message("context", trigger=False)))
    await house.asleep()
    assert await house.restart() == 1
    await house.asleep()
    house.platform.away = False
    house.sessions.attached(DEN)
    await eventually(lambda: house.platform.texts == ["re: one"])


async def test_a_stopped_turn(house: House):
    """Its people are told, nothing of it is tried again, and what is planned for later stays."""
    session = await house.session(await house.group(), DEN)
    house.machine.program = busy
    later = now_text(plus_seconds=3600)
    await house.say(session, at(DEN, message("now")), at(DEN, message("later", process_after=later)))
    await eventually(lambda: house.machine.running)
    assert await house.sessions.stop_turn(session)
    await house.asleep()
    assert house.machine.running == []
    assert statuses(house, session) == {"now": "failed", "later": "pending"}
    assert [(outgoing.in_reply_to, outgoing.body) for outgoing in house.platform.got] == [("now", Text(STOPPED))]
    assert not await house.sessions.stop_turn(session)
    await house.asleep()


async def test_what_waits_for_a_place_is_stopped_without_a_container(tmp_path: Path):
    house = House(tmp_path, places=1)
    await house.open()
    first = await house.session(await house.group("first"), DEN)
    second = await house.session(await house.group("second"), HALL)
    house.machine.program = busy
    await house.say(first, at(DEN, message("one")))
    await eventually(lambda: house.machine.running)
    await house.say(second, at(HALL, message("two")))
    await eventually(house.admission.waiting)
    assert await house.sessions.stop_turn(second)
    assert house.platform.texts == [STOPPED]
    assert await house.sessions.stop_turn(first)
    await house.asleep()
    assert house.machine.starts == [first.id]
    await house.end()


async def test_a_message_after_the_stop_is_answered(house: House):
    session = await house.session(await house.group(), DEN)
    house.machine.program = busy
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.machine.running)
    await house.sessions.stop_turn(session)
    house.machine.program = echo
    await house.say(session, at(DEN, message("two")))
    await eventually(lambda: "re: two" in house.platform.texts)
    assert "re: one" not in house.platform.texts


async def test_a_closed_session(house: House):
    """Its container ends, who waits is told, its files stay, and it is never woken again."""
    session = await house.session(await house.group(), DEN)
    house.machine.program = busy
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.machine.running)
    await house.sessions.close_session(session)
    await house.asleep()
    assert house.machine.running == []
    assert statuses(house, session) == {"one": "failed"}
    assert house.platform.texts == [CLOSED]
    row = await house.database.run(session_rows.by_id, session.id)
    assert (row.status, row.next_due_at) == ("closed", None)
    assert not await house.sessions.deliver_system(session.id, at(DEN, message("note", kind="system")))
    assert await house.sessions.stored_content(session.id, "one") is None
    assert house.paths.session("main", session.id).inbound_db.exists()
    assert await house.restart() == 0


@pytest.mark.parametrize("trigger", [True, False])
async def test_a_row_of_the_hosts_own(house: House, trigger: bool):
    """It reaches a sleeping session as well; one that asks for a turn wakes it; the same twice is one."""
    session = await house.session(await house.group(), DEN)
    content = json.dumps({"type": "question_response", "reference": "r", "value": "yes", "text": "yes"})
    note = NewMessage(id="answer-1", kind="system", content=content, address=DEN, trigger=trigger)
    assert await house.sessions.deliver_system(session.id, note)
    assert not await house.sessions.deliver_system(session.id, note)
    assert await house.sessions.stored_content(session.id, "answer-1") == content
    assert await house.sessions.stored_content(session.id, "answer-2") is None
    assert house.query(session, "SELECT kind, content, trigger FROM messages_in") == [("system", content, int(trigger))]
    if trigger:
        await eventually(lambda: house.platform.texts == ["re: yes"])
        await house.machine.stop()
    await house.asleep()
    assert len(house.machine.starts) == int(trigger)
    assert not await house.sessions.deliver_system("0" * 12, note)
    assert await house.sessions.stored_content("0" * 12, "answer-1") is None


async def test_destinations_are_known_to_the_agent(house: House):
    """F-125: at each wake, and at once where it is awake."""
    group = await house.group()
    other = await house.group("other")
    session = await house.session(group, DEN)

    def book() -> list[tuple[str, str, str | None]]:
        found = house.query(session, "SELECT name, type, coalesce(platform_id, agent_group) FROM destinations")
        return sorted((str(row[0]), str(row[1]), row[2]) for row in found)

    assert book() == []
    house.machine.program = busy
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.machine.running)
    own = await house.database.run(destinations.of_group, group.id)
    assert book() == [(own[0].local_name, "channel", "#den")]
    await house.database.run(destinations.add_agent, group.id, other.id, "friend")
    await house.sessions.project_destinations(group.id)
    assert ("friend", "agent", "other") in book()
    await house.database.run(destinations.remove, group.id, "friend")
    await house.sessions.project_destinations(group.id)
    assert len(book()) == 1


async def test_a_sign_of_work_lasts_as_long_as_the_work(house: House):
    session = await house.session(await house.group(), DEN)
    go_on = asyncio.Event()
    begun = asyncio.Event()

    async def slow(agent: Agent) -> None:
        begun.set()
        await go_on.wait()
        await echo(agent)

    house.machine.program = slow
    await house.say(session, at(THREAD, message("one")))
    await begun.wait()
    await eventually(lambda: house.platform.at_work == {session.id: THREAD})
    go_on.set()
    await eventually(lambda: house.platform.texts == ["re: one"])
    await eventually(lambda: house.platform.at_work == {})
    assert house.machine.running, "the container idles on, without a sign"


@pytest.mark.parametrize("end", ["stop", "close", "drop", "daemon"])
async def test_a_sign_of_work_ends_with_the_session(house: House, end: str):
    session = await house.session(await house.group(), DEN)
    house.machine.program = busy
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.machine.running and house.platform.at_work)
    match end:
        case "stop":
            await house.sessions.stop_turn(session)
        case "close":
            await house.sessions.close_session(session)
        case "drop":
            house.sessions.drop(session.id)
        case "daemon":
            house.sessions.close()
    await eventually(lambda: house.platform.at_work == {})


async def test_a_delivery_is_tried_again_while_the_container_is_awake(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drain, "FIRST_RETRY_SECONDS", 0.05)
    results = [Undelivered("down"), Undelivered("down")]
    house.platform.answer = lambda _outgoing: results.pop() if results else Delivered()
    session = await house.session(await house.group(), DEN)
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.platform.texts == ["re: one"])
    assert house.machine.running
    assert house.machine.starts == [session.id]
    await eventually(lambda: house.platform.ended == [("one", True)])


async def test_a_turn_has_ended_when_its_answer_was_seen(house: House):
    """Not when the agent has written it: whoever waits for the end would go without the answer."""
    session = await house.session(await house.group(), DEN)
    house.platform.away = True
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: statuses(house, session) == {"one": "completed"})
    await house.machine.stop()
    await house.asleep()
    assert house.platform.ended == []
    await house.restart()
    house.platform.away = False
    house.sessions.attached(DEN)
    await eventually(lambda: house.platform.ended == [("one", True)])
    assert house.platform.texts == ["re: one"]
    assert house.machine.starts == [session.id]


async def test_a_failed_wake_is_told(house: House):
    """W-77: who waits hears why nobody answers, with what the operator can run; it is tried again, and not for ever."""
    house.machine.broken = True
    session = await house.session(await house.group(), DEN)
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.platform.texts)
    assert "can't start" in house.platform.texts[0]
    assert f"ncl sessions logs {session.id}" in house.platform.texts[0]
    assert house.platform.got[0].in_reply_to == "one"
    await house.asleep()
    assert house.platform.at_work == {}
    row = await house.database.run(session_rows.by_id, session.id)
    assert row.next_due_at is not None
    assert row.next_due_at > now_text()
    assert await house.sessions.stop_turn(session), "what waits for another try can be stopped"
    assert statuses(house, session) == {"one": "failed"}
    await house.asleep()


async def test_failed_is_failed(house: House):
    """W-67: an acknowledgement that says failed is taken over as failed, and the channel is told so."""
    session = await house.session(await house.group(), DEN)

    async def fails(agent: Agent) -> None:
        for message_id, _, _ in agent.asked():
            agent.fail(message_id)
        while await agent.rung():
            pass

    house.machine.program = fails
    await house.say(session, at(DEN, message("one")))
    await eventually(lambda: house.platform.ended)
    assert house.platform.ended == [("one", False)]
    assert statuses(house, session) == {"one": "failed"}


async def test_one_session_restarts_alone_and_after_its_turn(house: House):
    """W-29: what an agent may ask for; the turn in which it asks is answered first."""
    group = await house.group()
    session, other = await house.session(group, DEN), await house.session(group, HALL)
    go_on = asyncio.Event()

    async def slow(agent: Agent) -> None:
        await go_on.wait()
        await echo(agent)

    house.machine.program = slow
    await house.say(session, at(DEN, message("one")))
    await house.say(other, at(HALL, message("two")))
    await eventually(lambda: len(house.machine.running) == 2)
    actor = house.sessions.living(session.id)
    assert actor is not None
    assert await actor.restart_after_turn()
    assert len(house.machine.running) == 2
    go_on.set()
    await eventually(lambda: sorted(house.platform.texts) == ["re: one", "re: two"])
    await eventually(lambda: house.machine.running == [f"nanoclaw-main@{other.id}.service"])
    await eventually(lambda: house.sessions.living(session.id) is None)
    await house.say(session, at(DEN, message("three")))
    await eventually(lambda: "re: three" in house.platform.texts)
