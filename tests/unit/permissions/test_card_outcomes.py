"""What came of a decision, where that is known only after it: it is said on the card."""

from nanoclawd.errors import Unavailable
from nanoclawd.permissions.actions import APPROVE, REJECT, ActionHandler
from nanoclawd.permissions.approvals import NewRequest
from nanoclawd.store.approvals import Approval
from unit.permissions.permission_stage import Stage


class Cook(ActionHandler):
    """Does something after it was allowed."""

    def __init__(self) -> None:
        self.fails: list[Exception] = []

    async def finish(self, approval: Approval, *, resumed: bool) -> str | None:
        del resumed
        if self.fails:
            raise self.fails.pop()
        return "the soup is hot." if approval.status == "approved" else None


async def asked(stage: Stage, owner: str, *fails: Exception) -> None:
    cook = Cook()
    cook.fails = list(fails)
    stage.permissions.approvals.register("cook", cook)
    await stage.person(owner, "Ada", "owner")
    await stage.permissions.approvals.request(
        NewRequest("cook", "soup", "May it cook?", "Soup, a pot of it.", (APPROVE, REJECT), {"pot": 1})
    )
    await stage.rest()


async def decided(stage: Stage, option: str) -> None:
    (approval,) = await stage.pending()
    await stage.permissions.approvals.decide(approval.id, option, "root")
    await stage.rest()


async def test_it_stands_behind_the_decision(stage: Stage):
    await asked(stage, "chat:ada")
    await decided(stage, "allow")
    (shown,) = stage.channels["chat"].in_chat("dm-ada")
    assert shown.text == "May it cook?\n\nSoup, a pot of it.\n\n→ Allowed by root: the soup is hot."
    (approval,) = await stage.every_approval()
    assert approval.payload == {}


async def test_where_nothing_can_be_changed_it_is_a_short_message(stage: Stage):
    await asked(stage, "plain:ada")
    await decided(stage, "allow")
    assert stage.channels["plain"].texts("dm-ada")[-1] == "May it cook?\n→ Allowed by root: the soup is hot."


async def test_nothing_is_added_to_a_refusal(stage: Stage):
    await asked(stage, "chat:ada")
    await decided(stage, "deny")
    (shown,) = stage.channels["chat"].texts("dm-ada")
    assert shown.endswith("→ Denied by root.")


async def test_nothing_is_added_where_nobody_knows(stage: Stage):
    """The journal has it."""
    await asked(stage, "chat:ada", ZeroDivisionError())
    await decided(stage, "allow")
    (shown,) = stage.channels["chat"].texts("dm-ada")
    assert shown.endswith("→ Allowed by root.")


async def test_a_daemon_that_can_not_finish_leaves_it_to_the_next(stage: Stage):
    """What came of it is said with the same commit that says that nothing is left to do."""
    await asked(stage, "chat:ada", Unavailable("the disk is full"))
    (approval,) = await stage.pending()
    await stage.permissions.approvals.decide(approval.id, "allow", "root")
    stage.cut_off = True
    await stage.end()
    await stage.start()
    stage.permissions.approvals.register("cook", Cook())
    await stage.permissions.approvals._go_on()
    await stage.rest()
    (shown,) = stage.channels["chat"].texts("dm-ada")
    assert shown.endswith("→ Allowed by root: the soup is hot.")
