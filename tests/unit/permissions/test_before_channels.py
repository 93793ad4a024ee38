"""What a daemon does of its own accord at its start: not before it is known what the channels can (F-122, F-179)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanoclawd.errors import Unavailable
from nanoclawd.routing.event import InboundEvent
from nanoclawd.store import approvals, chats
from unit.permissions.permission_stage import BUTTONS, Platform, Stage, dm, written

OWNER = "chat:ada"


class ThreadedStage(Stage):
    """One channel, whose threads are conversations; remembers what was known of it when a message was routed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, {"chat": Platform("chat", replace(BUTTONS, threads=True))})
        self.known: list[bool] = []

    async def _replay(self, event: InboundEvent) -> None:
        self.known.append(self.manager.capabilities("chat").threads)
        await super()._replay(event)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[ThreadedStage]:
    stage = ThreadedStage(tmp_path)
    await stage.start()
    await stage.person(OWNER, "Ada", "owner")
    yield stage
    await stage.end()


async def test_kept_messages_are_routed_when_their_threads_count(stage: ThreadedStage):
    group = await stage.group("helper")
    event = written(thread="t1")
    await stage.wire(event, group)
    await stage.unknown_sender(event, group)
    stage.replay_fails.append(Unavailable("the disk is full"))
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.permissions.approvals.click(card.card_id, "allow", OWNER)
    await stage.replay_failed.wait()
    await stage.restart()
    await stage.rest()
    assert [one.address.thread_id for one in stage.replayed] == ["t1"]
    assert stage.known == [True, True]


async def test_an_agent_whose_name_was_given_is_wired_as_its_channel_wants(stage: ThreadedStage):
    event = written()
    chat = await stage.unknown_chat(event)
    (card,) = stage.channels["chat"].cards("dm-ada")
    await stage.press(OWNER, card, "new-agent")
    (approval,) = await stage.pending()
    stage.create_fails.append(RuntimeError("the daemon dies here"))
    with pytest.raises(RuntimeError):
        await stage.permissions.name_given(dm("Helper", by=OWNER), approval.id)
    await stage.restart()
    await stage.rest()
    (wiring,) = await stage.database.run(chats.wirings_of_chat, chat.id)
    assert (wiring.group, wiring.engage_mode) == ("helper", "mention-sticky")
    assert stage.known == [True]
    (ended,) = await stage.database.run(approvals.every)
    assert ended.status == "approved"
