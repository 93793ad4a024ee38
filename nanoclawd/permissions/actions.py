"""What an approval is for: each action (a sender, a chat, an agent's command…) has a handler."""

from dataclasses import dataclass
from typing import Final

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclawd.store.approvals import Approval
from nanoclawd.store.roles import Standing

GLOBAL: Final = "global"
"""In a payload, true: the effect concerns everybody, hence a group's admin may not decide it (W-58)."""

ORIGIN: Final = "origin"
"""In a payload: the channel on which approvers are asked first."""

APPROVE: Final = Option("Allow", "allow", "Allowed")
REJECT: Final = Option("Deny", "deny", "Denied")


@dataclass(frozen=True, slots=True)
class Decider:
    """Who decides. An operator (``ncl``) may decide everything: whoever reaches the control socket owns the appliance.

    Attributes:
        id: a user's id; of an operator ``terminal:<unix name>``.
        name: what others are shown.
    """

    id: str
    name: str
    is_operator: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What a decision came to.

    Attributes:
        status: ``approved`` or ``rejected``; ``pending`` where more has to be asked before anything is decided.
        words: one sentence for whoever decided, and under the card.
        new_card: the approval's card was changed: it is posted anew.
    """

    status: str
    words: str
    new_card: bool = False


class ActionHandler:
    """What one action does. The methods that get a connection run in a transaction of the service: they only write.

    A decision and what it changes in ``central.db`` are one commit. What lies outside of it (a message routed again, a
    command carried out) is :meth:`finish`, and an approval whose payload is not empty has that still before it.
    """

    def group_to_ask(self, approval: Approval) -> str | None:
        """Return the group whose admins may decide, beside global admins and owners; None: only those."""
        return None if approval.payload.get(GLOBAL) is True else approval.agent_group_id

    def may_decide(self, connection: apsw.Connection, approval: Approval, standing: Standing, option: Option) -> bool:
        """Tell whether a person has the right to choose this option, at this moment."""
        del connection, option
        return standing.may_administer(self.group_to_ask(approval))

    def apply(self, connection: apsw.Connection, approval: Approval, option: Option, by: Decider) -> Applied:
        """Change what the option says, and tell those who wait.

        Raises:
            NanoclawError: it can't be done; nothing is decided, and who decided is told why.
        """
        del connection, approval
        verb = "approved" if option.value == APPROVE.value else "rejected"
        return Applied(verb, f"{option.done} by {by.name}.")

    def review(self, connection: apsw.Connection) -> None:
        """Look whether what waits can still be decided by whom it waits for: rights may have changed."""

    def expire(self, connection: apsw.Connection, approval: Approval) -> None:
        """Tell those who wait that nobody has decided in time."""

    async def finish(self, approval: Approval, *, resumed: bool) -> str | None:
        """Do what lies outside of ``central.db`` after the approval ended, whichever way.

        Called until it returns, also by the next daemon. What it returns stands on the card, behind the
        decision: what came of it, in words, where the decision itself does not say that.

        Args:
            approval: with its status and decision.
            resumed: an earlier call may have begun and not ended: the daemon died, or it raised Unavailable.

        Raises:
            Unavailable: not now; it is called again.
        """
