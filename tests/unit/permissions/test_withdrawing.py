"""An agent is deleted while people wait for a decision about it."""

import apsw

from nanoclaw_runner.contract.transaction import writing
from nanoclawd.permissions import withdrawing
from nanoclawd.store import agent_groups, host_messages
from unit.permissions.permission_stage import Stage, written

OWNER = "chat:ada"


async def test_nobody_waits_for_an_agent_that_has_gone(stage: Stage):
    """The group is deleted between card and click: who waits is told, the card says so, and a click is answered."""
    await stage.person(OWNER, "Ada", "owner")
    group, other = await stage.group("helper"), await stage.group("other")
    for one, chat in ((group, "team"), (other, "den")):
        await stage.wire(written(chat=chat), one)
        await stage.unknown_sender(written(chat=chat), one)
    card = stage.channels["chat"].cards("dm-ada")[0]

    def delete(connection: apsw.Connection) -> None:
        with writing(connection):
            withdrawing.withdraw(connection, group.id)
            agent_groups.delete(connection, group.id)

    await stage.database.run(delete)
    stage.outbox.nudge()
    await stage.rest()
    platform = stage.channels["chat"]
    assert platform.texts("team")[-1] == withdrawing.TOLD
    assert withdrawing.TOLD not in platform.texts("den")
    assert platform.texts("dm-ada")[0].endswith(f"→ {withdrawing.GONE}")
    assert len(platform.cards("dm-ada")) == 1, "the other's is open"
    assert await stage.press(OWNER, card, "allow") == "This card is not open any more."
    assert [one.group for one in await stage.pending()] == ["other"]
    due = await stage.database.run(host_messages.due, "9999-01-01T00:00:00.000Z")
    assert due == []
