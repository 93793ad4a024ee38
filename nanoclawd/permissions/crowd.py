"""A bound for what strangers can cause: approvers are not flooded with cards, whatever is written to the appliance."""

from typing import Final

import apsw

from nanoclawd.delivery.outbox import words
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.ids import words_id
from nanoclawd.store import approvals, host_messages

MAX_OF_CHAT: Final = 20
MAX_OF_STRANGERS: Final = 100
STRANGERS: Final = ("sender", "chat")
FULL: Final = "Too many people wait for a decision already, so nobody was asked about you. Try again later."


def is_crowded(connection: apsw.Connection, action: str, subject: str, chat_id: str) -> bool:
    """Tell whether one more question about strangers would be one too many; what is asked already never is."""
    if approvals.is_waiting(connection, action, subject):
        return False
    if sum(approvals.count_waiting(connection, one) for one in STRANGERS) >= MAX_OF_STRANGERS:
        return True
    return approvals.count_waiting(connection, action, chat_id) >= MAX_OF_CHAT


def tell_crowded(connection: apsw.Connection, event: InboundEvent) -> None:
    """Tell a person that nobody is asked about them, once in each chat."""
    message_id = words_id("crowded", event.address, str(event.sender.user_id))
    host_messages.post(connection, words(message_id, event.address, FULL, event.message_id))
