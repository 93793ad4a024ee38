"""What waits for a decision about an agent ends with the agent: who waits and who was asked are told."""

from typing import Final

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.delivery.outbox import platform_edit
from nanoclawd.permissions import cards, wording
from nanoclawd.permissions.kept import FIRST, tell_waiting
from nanoclawd.store import approvals, host_messages

GONE: Final = "There is nothing to decide any more: the agent was deleted."
TOLD: Final = "The agent that you wrote to was deleted, so your message was not passed on."


def withdraw(connection: apsw.Connection, agent_group_id: str) -> None:
    """Tell everyone concerned; in the transaction that deletes the group, whose approvals and their rows go with it."""
    for approval in approvals.pending(connection):
        if approval.agent_group_id != agent_group_id:
            continue
        for card in cards.present(connection, approval):
            if card.status != "delivered":
                continue
            address = Address(card.channel_type, card.platform_id, card.thread_id)
            text = wording.closed_card(approval, GONE)
            # No row of the approval: it has to outlive it.
            row = platform_edit(f"withdrawn-{card.id}", address, card.platform_message_id, text)
            host_messages.post(connection, row)
        if FIRST in approval.payload:
            tell_waiting(connection, approval, "withdrawn", TOLD)
