"""What goes wrong for one agent touches no other, and what can be told again loses no message."""

import apsw
import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import InvalidName, Unavailable
from nanoclawd.store import agent_groups
from nanoclawd.store.sessions import Session
from unit.routing.house import House
from unit.routing.world import CHANNEL, event


class TestFailures:
    async def test_one_wirings_failure_is_its_own(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """F-162: what is not foreseen is logged and told in a word; the others have their rows; nothing is raised."""
        chat = await house.heard("bad", "good")
        create = house.sessions.create

        async def fails_for_bad(*arguments: str) -> Session:
            if "bad" in arguments:
                raise ZeroDivisionError
            return await create(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(house.sessions, "create", fails_for_bad)
        routed = await house.router.route(event(chat))
        assert [one.session.group for one in routed.stored] == ["good"]
        assert len(house.rows(routed)) == 1
        ((_, _, text, _),) = await house.words()
        assert "went wrong" in text

    async def test_what_can_be_told_again_is_told_again(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """The others store it at once; told again, each has one row."""
        chat = await house.heard("full", "good")
        create = house.sessions.create
        fails = True

        async def sometimes(*arguments: str) -> Session:
            if fails and "full" in arguments:
                raise Unavailable("the disk is full")
            return await create(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(house.sessions, "create", sometimes)
        with pytest.raises(Unavailable):
            await house.router.route(event(chat))
        assert house.directories() == 1
        fails = False
        routed = await house.router.route(event(chat))
        assert [(one.session.group, one.stored) for one in routed.stored] == [("full", True), ("good", False)]
        assert [len(house.rows(routed, number)) for number in range(2)] == [1, 1]
        assert await house.words() == []

    async def test_an_agent_that_has_gone_meanwhile(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """Between finding who hears a chat and making a session: nothing is left of it, nothing is raised."""
        chat = await house.heard("main", "stays")
        group = await house.run(agent_groups.by_folder, "main")
        create = house.sessions.create

        async def deleted_first(*arguments: str) -> Session:
            if group.id in arguments:
                await house.run(agent_groups.delete, group.id)
            return await create(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(house.sessions, "create", deleted_first)
        routed = await house.router.route(event(chat))
        assert [one.session.group for one in routed.stored] == ["stays"]
        assert house.directories() == 1

    async def test_asking_that_fails(self, house: House, monkeypatch: pytest.MonkeyPatch):
        """What is not foreseen is told and not raised; what can be told again is raised, and told again it works."""
        chat = await house.chat(policy="request_approval")
        await house.wire(chat, await house.group("main"))
        unknown = event(Address(CHANNEL, "new"), sender="x", is_group=True, mention=True)
        for error in (ZeroDivisionError(), Unavailable("later")):

            async def fails(*_: object, error: Exception = error) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(house.asked, "sender_unknown", fails)
                patch.setattr(house.asked, "chat_unknown", fails)
                for said in (event(chat, sender="x"), unknown):
                    if isinstance(error, Unavailable):
                        with pytest.raises(Unavailable):
                            await house.router.route(said)
                    else:
                        assert (await house.router.route(said)).stored == ()
        assert [text for _, _, text, _ in await house.words()] == [_wrong()] * 2
        await house.router.route(event(chat, sender="x"))
        await house.router.route(unknown)
        assert (len(house.asked.senders), len(house.asked.chats)) == (1, 1)

    async def test_a_field_of_a_wrong_type(self, house: House):
        chat = await house.heard("main")
        for wrong in (None, 7, b"text", ["x"]):
            with pytest.raises(InvalidName, match="text is a text"):
                await house.router.route(event(chat, wrong))  # type: ignore[arg-type]


async def test_a_database_that_somebody_holds_loses_no_message(house: House):
    """The channel is told to tell it again, and then it is one row; nobody is told that something went wrong."""
    chat = await house.heard("main")
    first = await house.router.route(event(chat, message_id="0"))
    await house.run(lambda connection: connection.set_busy_timeout(10))
    other = apsw.Connection(str(house.root / "central.db"))
    other.execute("BEGIN IMMEDIATE")
    house.sessions.drop(first.stored[0].session.id)
    with pytest.raises(Unavailable):
        await house.router.route(event(chat, message_id="1"))
    other.execute("ROLLBACK")
    other.close()
    routed = await house.router.route(event(chat, message_id="1"))
    assert [row.id for row in house.rows(routed)] == ["0:main", "1:main"]
    assert await house.words() == []


def _wrong() -> str:
    return "Something went wrong with this message here. The journal of the appliance has the details."
