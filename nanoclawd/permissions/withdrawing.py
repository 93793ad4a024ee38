"""What waits for a decision about an agent or a chat ends with it: who waits and who was asked are told."""

from typing import Final

import apsw

from nanoclawd.delivery.outbox import post_edit
from nanoclawd.permissions import cards, wording
from nanoclawd.permissions.kept import FIRST, tell_waiting
from nanoclawd.store import approvals, host_messages
from nanoclawd.store.approvals import Approval

AGENT_GONE: Final = "There is nothing to decide any more: the agent was deleted."
AGENT_GONE_TOLD: Final = "The agent that you wrote to was deleted, so your message was not passed on."
CHAT_GONE: Final = "There is nothing to decide any more: the chat was deleted."
CHAT_GONE_TOLD: Final = "This chat is not known here any more, so your message was not passed on."


def withdraw_for_group(connection: apsw.Connection, agent_group_id: str) -> None:
    """Tell everyone concerned; in the transaction that deletes the group, whose approvals and their rows go with it."""
    for approval in approvals.pending(connection):
        if approval.agent_group_id == agent_group_id:
            _withdraw(connection, approval, AGENT_GONE, AGENT_GONE_TOLD)


def withdraw_for_chat(connection: apsw.Connection, messaging_group_id: str) -> None:
    """Tell everyone concerned; in the transaction that deletes the chat, whose approvals and their rows go with it."""
    for approval in approvals.pending(connection):
        if approval.messaging_group_id == messaging_group_id:
            _withdraw(connection, approval, CHAT_GONE, CHAT_GONE_TOLD)


def _withdraw(connection: apsw.Connection, approval: Approval, gone: str, told: str) -> None:
    for card in cards.present(connection, approval):
        # It may be on its way, and its change has to wait behind it.
        host_messages.outlive(connection, card.id)
        post_edit(connection, card.id, wording.closed_card(approval, gone))
    if FIRST in approval.payload:
        tell_waiting(connection, approval, "withdrawn", told)
