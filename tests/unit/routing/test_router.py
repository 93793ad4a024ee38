"""From a chat's event to the sessions of the agents that hear it: real databases and actors, no user manager to start
a container with (what happens then is the system tests' matter)."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES, Address
from nanoclawd.config import Config
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.errors import NotFound, TooLarge
from nanoclawd.paths import StatePaths
from nanoclawd.routing.router import ChatMessage, Routed, Router
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import agent_groups, chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission, Bounds
from nanoclawd.supervision.user_manager import UserManager

ROOM = Address("matrix", "!room:example.org")
READER = OutboundReader()


@dataclass
class House:
    root: Path
    database: Database
    sessions: Sessions
    router: Router

    async def group(self, folder: str, address: Address = ROOM, priority: int = 0) -> str:
        """Make a group that hears a chat; returns its id."""

        def make(connection: apsw.Connection) -> str:
            group = agent_groups.create(connection, folder)
            chat = chats.by_address(connection, address.channel_type, address.platform_id) or chats.create(
                connection, address.channel_type, address.platform_id
            )
            chats.wire(connection, chat.id, group.id, priority=priority)
            return group.id

        return await self.database.run(make)

    async def route(self, message_id: str, text: str = "hello", address: Address = ROOM) -> list[Routed]:
        return await self.router.route(ChatMessage(address, message_id, text, "Ada", f"{address.channel_type}:ada"))

    def rows(self, routed: Routed) -> list[tuple[str, str, str]]:
        """What is stored in the session that a message went to: id, platform's id, text."""
        path = self.root / "sessions" / routed.session.group / routed.session.id / "in" / "inbound.db"
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            found = connection.execute(
                "SELECT id, platform_message_id, content FROM messages_in ORDER BY seq"
            ).fetchall()
        finally:
            connection.close()
        return [(row[0], row[1], json.loads(row[2])["text"]) for row in found]

    def directories(self) -> int:
        return len(list((self.root / "sessions").glob("*/*")))


async def always() -> bool:
    return True


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    paths = StatePaths(tmp_path)
    database = Database(paths.central_db)
    await database.open()
    sessions = Sessions(paths, database)
    jobs = SessionJobs()
    sessions.bind(
        Surroundings(
            database=database,
            manager=UserManager(f"unix:path={tmp_path}/nobody"),
            admission=Admission(Bounds(4, 2**40, 2**20, 0), tmp_path),
            jobs=jobs,
            reader=READER,
            port=DeliveryService([]),
            timeouts=Config().timeouts,
            runtime_directory=tmp_path,
            image_present=always,
            slept=sessions.slept,
        )
    )
    yield House(tmp_path, database, sessions, Router(database, sessions))
    sessions.close()
    jobs.close()
    await database.close()


async def test_a_message_is_stored_with_who_said_it(house: House):
    await house.group("main")
    (routed,) = await house.route("$1", "größer <b> \U0001f980\n")
    assert routed.stored
    assert house.rows(routed) == [("$1:main", "$1", "größer <b> \U0001f980\n")]
    path = house.root / "sessions" / "main" / routed.session.id / "in" / "inbound.db"
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5000)
    content = json.loads(connection.execute("SELECT content FROM messages_in").get)
    address = connection.execute("SELECT channel_type, platform_id, thread_id FROM messages_in").fetchall()
    connection.close()
    assert content == {"text": "größer <b> \U0001f980\n", "sender": "Ada", "senderId": "matrix:ada"}
    assert address == [(ROOM.channel_type, ROOM.platform_id, None)]


async def test_two_agents_of_a_chat(house: House):
    """F-166: each has a row of its own, with an id of its own; the higher priority first."""
    await house.group("second", priority=1)
    await house.group("first", priority=2)
    routed = await house.route("$1")
    assert [one.session.group for one in routed] == ["first", "second"]
    assert [one.message_id for one in routed] == ["$1:first", "$1:second"]
    assert [len(house.rows(one)) for one in routed] == [1, 1]


async def test_an_event_told_twice(house: House):
    """F-167: one row, also when both come at once; the second is not stored."""
    await house.group("main")
    results = await asyncio.gather(house.route("$1"), house.route("$1"), house.route("$1"))
    (later,) = await house.route("$1", "changed")
    assert sorted(one.stored for (one,) in results) == [False, False, True]
    assert not later.stored
    assert house.rows(later) == [("$1:main", "$1", "hello")]


async def test_a_new_chat_gets_one_session(house: House):
    """However many events of it come at once; and no directory is left over."""
    await house.group("main")
    results = await asyncio.gather(*(house.route(f"${number}") for number in range(20)))
    assert len({one.session.id for (one,) in results}) == 1
    assert all(one.stored for (one,) in results)
    assert len(house.rows(results[0][0])) == 20
    assert house.directories() == 1
    assert await house.database.run(session_rows.count) == 1


async def test_threads_are_sessions_of_their_own(house: House):
    await house.group("main")
    places = [ROOM, Address("matrix", ROOM.platform_id, "a"), Address("matrix", ROOM.platform_id, "b")]
    ids = set()
    for number, place in enumerate(places * 2):
        (routed,) = await house.route(f"${number}", address=place)
        ids.add(routed.session.id)
    assert len(ids) == 3


async def test_a_closed_session_gets_no_message(house: House):
    await house.group("main")
    (first,) = await house.route("$1")
    await house.database.run(session_rows.close, first.session.id)
    (second,) = await house.route("$2")
    assert second.session.id != first.session.id
    assert house.rows(second) == [("$2:main", "$2", "hello")]


async def test_a_chat_that_nobody_hears(house: House):
    with pytest.raises(NotFound, match="no agent"):
        await house.route("$1")
    await house.group("main")
    with pytest.raises(NotFound, match="no agent"):
        await house.route("$1", address=Address("irc", ROOM.platform_id))
    assert house.directories() == 0


async def test_an_agent_that_has_gone_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch):
    """Between finding who hears a chat and making a session: an expected failure, and nothing is left of it."""
    group_id = await house.group("main")
    create = house.sessions.create

    async def deleted_first(*arguments: str) -> object:
        await house.database.run(agent_groups.delete, group_id)
        return await create(*arguments)

    monkeypatch.setattr(house.sessions, "create", deleted_first)
    with pytest.raises(NotFound):
        await house.route("$1")


@pytest.mark.parametrize("text", ["x" * MAX_MESSAGE_BYTES, "ä" * (MAX_MESSAGE_BYTES // 2), "\0" * MAX_MESSAGE_BYTES])
async def test_the_longest_message(house: House, text: str):
    await house.group("main")
    (routed,) = await house.route("$1", text)
    assert house.rows(routed) == [("$1:main", "$1", text)]


@pytest.mark.parametrize("text", ["x" * (MAX_MESSAGE_BYTES + 1), "ä" * (MAX_MESSAGE_BYTES // 2) + "x"])
async def test_a_message_that_is_too_long(house: House, text: str):
    await house.group("main")
    with pytest.raises(TooLarge, match="256 KiB"):
        await house.route("$1", text)
    assert house.directories() == 0


async def test_half_a_character(house: House):
    """JSON can carry lone surrogates, UTF-8 can't: what else was said is worth storing."""
    await house.group("main")
    (routed,) = await house.route("$1", "a\ud83eb")
    assert house.rows(routed) == [("$1:main", "$1", "a?b")]
