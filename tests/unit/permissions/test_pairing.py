"""Pairing (F-177, F-121): who sends the code is who had it made, the first the owner; guesses and time are bounded."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.config import Access
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.errors import InvalidName, NotFound, Refused, Unavailable
from nanoclawd.permissions import pairing
from nanoclawd.permissions.pairing import Pairing, Pairings, PairingState
from nanoclawd.routing.event import Change, InboundEvent, Sender
from nanoclawd.store import agent_groups, chats, host_messages, members, roles, user_dms
from nanoclawd.store.database import Database

ANN, BEA = "telegram:1001", "telegram:1002"


class Stage:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.projected: list[str] = []
        self.decided = 0
        nobody: Any = None
        outbox = HostOutbox(database, nobody)
        self.pairings = Pairings(
            database, outbox, lambda _name: Capabilities(threads=True), Access(), self._project, self._decided
        )
        self.messages = 0

    async def _project(self, group: str) -> None:
        self.projected.append(group)

    def _decided(self) -> None:
        self.decided += 1

    def event(self, text: str, user: str = ANN, **more: Any) -> InboundEvent:
        self.messages += 1
        handle = user.partition(":")[2]
        name = {ANN: "Ann", BEA: "Bea"}.get(user, "Cy")
        address = Address("tele", handle)
        return InboundEvent(address, str(self.messages), text, Sender(user, name), chat_name=name, **more)

    async def says(self, text: str, user: str = ANN, **more: Any) -> bool:
        return await self.pairings.take(self.event(text, user, **more))

    async def begin(self, group: str | None = None, role: str | None = None) -> Pairing:
        return await self.pairings.start("tele", group, role)

    async def now(self, shown: Pairing) -> Pairing:
        return await self.pairings.outcome(shown.id, 0)

    async def posted(self) -> list[str]:
        def read(connection: Any) -> list[str]:
            return [str(row[0]) for row in connection.execute("SELECT content FROM host_messages ORDER BY rowid")]

        return await self.database.run(read)


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(tmp_path / "central.db")
    await database.open()
    yield Stage(database)
    await database.close()


@pytest.fixture
async def stage(empty: Stage) -> Stage:
    """With an agent."""
    await empty.database.run(lambda connection: agent_groups.create(connection, "main"))
    return empty


async def test_the_first_who_sends_the_code_is_the_owner(stage: Stage):
    shown = await stage.begin()
    assert await stage.says(shown.code)
    over = await stage.now(shown)
    assert (over.state, over.user, over.name, over.role, over.group) == (
        PairingState.PAIRED,
        ANN,
        "Ann",
        "the owner",
        "main",
    )
    standing = await stage.database.run(roles.standing, ANN)
    assert standing.is_owner
    dm = await stage.database.run(user_dms.find, ANN, "tele")
    assert dm is not None
    assert dm.platform_id == "1001"
    (wiring,) = await stage.database.run(chats.every_wiring)
    assert (wiring.group, wiring.platform_id) == ("main", "1001")
    (said,) = await stage.posted()
    assert "you are the owner" in said
    assert len(stage.projected) == 1
    assert stage.decided == 1


@pytest.mark.parametrize(
    "spelling", ["{}", "/start {}", "/start@nano_bot {}", "  {} \n", "/START {}", "{lower}", "/start  {lower}"]
)
async def test_spellings_of_a_code(stage: Stage, spelling: str):
    shown = await stage.begin()
    text = spelling.replace("{lower}", shown.code.lower()).replace("{}", shown.code)
    assert await stage.says(text) is not spelling.startswith("/START")


async def test_a_code_is_used_once(stage: Stage):
    shown = await stage.begin()
    event = stage.event(shown.code)
    assert await stage.pairings.take(event)
    assert await stage.pairings.take(event), "the platform tells it again"
    assert not await stage.says(shown.code, BEA)
    assert len(await stage.posted()) == 1


async def test_two_at_once_are_one(stage: Stage):
    shown = await stage.begin()
    took = await asyncio.gather(stage.says(shown.code), stage.says(shown.code, BEA))
    assert sorted(took) == [False, True]
    owners = await stage.database.run(roles.grants)
    assert len(owners) == 1


async def test_later_ones_become_what_was_asked_for(stage: Stage):
    await stage.says((await stage.begin()).code)
    shown = await stage.begin()
    await stage.says(shown.code, BEA)
    assert (await stage.now(shown)).role == "known"
    assert [one.user_id for one in await stage.database.run(members.every)] == [BEA]
    shown = await stage.begin(role="admin")
    await stage.says(shown.code, "telegram:1003")
    assert (await stage.now(shown)).role == "an admin"
    assert not (await stage.database.run(roles.standing, "telegram:1003")).is_owner
    # Again is no fault, and takes nothing away.
    shown = await stage.begin()
    await stage.says(shown.code, "telegram:1003")
    assert (await stage.now(shown)).role == "an admin"
    shown = await stage.begin()
    await stage.says(shown.code)
    assert (await stage.now(shown)).role == "an owner"


async def test_wrong_codes_are_counted_whoever_sends_them(stage: Stage):
    shown = await stage.begin()
    for number in range(pairing.MAX_WRONG):
        assert await stage.says("AAAAA-AAAAA", f"telegram:{2000 + number}")
    over = await stage.now(shown)
    assert over.state is PairingState.ENDED
    assert "wrong" in over.reason
    assert not await stage.says(shown.code)
    assert not await stage.database.run(roles.has_owner)
    assert (await stage.posted())[0] == '{"text": "That code is not right."}'


async def test_what_is_no_code_is_an_ordinary_message(stage: Stage):
    shown = await stage.begin()
    for text in ("hello", "/start", f"my code is {shown.code}", shown.code.replace("-", ""), "", "whatever", "🙂" * 11):
        assert not await stage.says(text)
    assert not await stage.says(shown.code, is_group=True)
    assert not await stage.says(shown.code, change=Change.EDITED, about="1")
    event = stage.event(shown.code)
    assert not await stage.pairings.take(replace(event, sender=Sender(None)))
    assert not await stage.pairings.take(replace(event, address=Address("other", "1001")))
    assert (await stage.now(shown)).state is PairingState.WAITING


async def test_without_a_pairing_nothing_is_taken(stage: Stage):
    assert not await stage.says("ABCDE-FGHIJ")


async def test_a_code_ends_in_time(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pairing, "VALID_SECONDS", 0.05)
    shown = await stage.begin()
    over = await stage.pairings.outcome(shown.id, 20)
    assert over.state is PairingState.ENDED
    assert not await stage.says(shown.code)
    shown = await stage.begin()
    await asyncio.sleep(0.06)  # its time passes
    assert not await stage.says(shown.code), "also where nobody has looked meanwhile"


async def test_a_new_code_ends_the_one_before(stage: Stage):
    first, second = await stage.begin(), await stage.begin()
    assert (await stage.now(first)).state is PairingState.ENDED
    assert await stage.says(first.code), "a wrong one now"
    assert await stage.says(second.code)
    assert (await stage.now(second)).state is PairingState.PAIRED


async def test_who_waits_is_told_at_once(stage: Stage):
    shown = await stage.begin()
    waiting = asyncio.create_task(stage.pairings.outcome(shown.id, 20))
    await asyncio.sleep(0)
    await stage.says(shown.code)
    async with asyncio.timeout(5):
        assert (await waiting).state is PairingState.PAIRED


async def test_codes_cannot_be_guessed(stage: Stage):
    codes = {(await stage.begin()).code for _ in range(50)}
    assert len(codes) == 50
    assert all(len(code) == 11 for code in codes)


async def test_what_cannot_be_stored_is_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    shown = await stage.begin()
    event = stage.event(shown.code)

    def full(*_given: object) -> bool:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(host_messages, "post", full)
        with pytest.raises(Unavailable):
            await stage.pairings.take(event)
    assert not await stage.database.run(roles.has_owner), "all of it or nothing"
    assert await stage.pairings.take(event)
    assert (await stage.now(shown)).state is PairingState.PAIRED


async def test_which_agent_answers(stage: Stage):
    await stage.database.run(lambda connection: agent_groups.create(connection, "second"))
    with pytest.raises(Refused):
        await stage.begin()
    with pytest.raises(NotFound):
        await stage.begin("third")
    with pytest.raises(InvalidName):
        await stage.begin("second", "king")
    shown = await stage.begin("second")
    await stage.says(shown.code)
    assert (await stage.now(shown)).group == "second"
    with pytest.raises(NotFound):
        await stage.pairings.outcome("nothing", 0)


async def test_without_an_agent_there_is_an_owner_all_the_same(empty: Stage):
    shown = await empty.begin()
    await empty.says(shown.code)
    assert (await empty.now(shown)).role == "the owner"
    assert "no agent yet" in (await empty.posted())[0]


async def test_a_chat_that_was_refused_for_good_is_so_no_more(stage: Stage):
    def deny(connection: Any) -> None:
        chat = chats.create(connection, "tele", "1001")
        chats.deny(connection, chat.id, None)

    await stage.database.run(deny)
    await stage.says((await stage.begin()).code)
    chat = await stage.database.run(chats.by_address, "tele", "1001")
    assert chat is not None
    assert chat.denied_at is None
