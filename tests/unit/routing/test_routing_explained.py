"""What the router says about messages that came and messages that might."""

from pathlib import Path

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.config import Access
from nanoclawd.routing.decision import Action, EventDecision
from nanoclawd.store import roles
from unit.routing.house import House, open_house
from unit.routing.world import CHANNEL, event, person

PUBLIC = Access(unknown_chats="public", unknown_senders="strict", default_group="main")


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

    @pytest.mark.parametrize("known", [False, True])
    @pytest.mark.parametrize("threads", [False, True])
    @pytest.mark.parametrize("is_group", [False, True])
    @pytest.mark.parametrize("text", ["hello", "/help", "/clear"])
    @pytest.mark.parametrize("sender", ["ada", "x", None])
    async def test_an_unknown_chat_that_would_be_wired(
        self, tmp_path: Path, known: bool, threads: bool, is_group: bool, text: str, sender: str | None
    ):
        """What is said beforehand is what then comes of it, step by step; and nothing is wired by asking."""
        async with open_house(tmp_path, PUBLIC) as house:
            await house.group("main")
            await house.run(roles.grant, person("ada"), "owner")
            house.abilities[CHANNEL] = Capabilities(threads=threads)
            place = await house.chat(is_group=is_group) if known else Address(CHANNEL, "new")
            said = event(place, text, sender, mention=True, is_group=is_group, thread="t")
            foretold = await house.router.explain(said)
            assert await house.count("messaging_group_agents") == 0
            assert await house.count("messaging_groups") == int(known)
            assert (foretold.chat is not None) == known
            came = (await house.router.route(said)).decision
            assert foretold.steps[0].reason.endswith("it is wired to main")
            assert [one.wiring.id for one in foretold.wirings] == ["new"]
            assert _told(foretold) == _told(came)


def _told(decision: EventDecision) -> list[tuple[object, ...]]:
    """What is said of a message, without the ids and rules of what was made since then."""
    steps = [*decision.steps, *(step for one in decision.wirings for step in one.steps)]
    ends = [(one.group, one.action, one.reason, one.reply, one.session_mode, one.thread_id) for one in decision.wirings]
    return [(decision.action, decision.reason), *ends, *((one.name, one.outcome, one.reason) for one in steps)]
