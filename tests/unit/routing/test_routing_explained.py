"""What the router says about messages that came and messages that might."""

from nanoclaw_runner.contract.rows import Address
from nanoclawd.routing.decision import Action
from unit.routing.house import House
from unit.routing.world import CHANNEL, event


class TestExplaining:
    async def test_a_past_message(self, house: House):
        """By the platform's id and by a row's, newest first; what was said is not kept."""
        chat = await house.heard("main")
        await house.router.route(event(chat, "a secret", message_id="1"))
        await house.router.route(event(chat, "/clear my secret", message_id="1"))
        for known in ("1", "1:main"):
            newest, oldest = house.router.recent(known)
            assert oldest.wirings[0].action is Action.ENGAGE
            assert newest.wirings[0].action is Action.REPLY
            assert "secret" not in repr((newest, oldest))
        assert house.router.recent("2") == []

    async def test_only_so_many_are_kept(self, house: House):
        said = event(Address(CHANNEL, "quiet"), is_group=True)
        for _ in range(2010):
            await house.router.route(said)
        assert len(house.router.recent("1")) == 2000

    async def test_asking_changes_nothing(self, house: House):
        chat = await house.chat(policy="request_approval")
        await house.wire(chat, await house.group("main"))
        before = await house.run(lambda connection: connection.total_changes())
        for said in (event(chat, sender="x"), event(chat, "/clear", "x"), event(Address(CHANNEL, "new"), "hi")):
            assert (await house.router.explain(said)).deciding.reason
        assert await house.run(lambda connection: connection.total_changes()) == before
        assert house.asked.senders == []
        assert house.router.recent("1") == []
