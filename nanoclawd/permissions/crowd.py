"""A bound for what strangers can cause: approvers are not flooded with cards, whatever is written to the appliance."""

from typing import Final

import apsw

from nanoclawd.delivery.outbox import words
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.ids import words_id
from nanoclawd.store import approvals, host_messages

MAX_OF_CHAT: Final = 20
MAX_OF_STRANGERS: Final = 200
STRANGERS: Final = frozenset({"sender", "chat"})
FULL: Final = "Too many people wait for a decision already, so nobody was asked about you. Try again later."


def is_crowded(connection: apsw.Connection, action: str, subject: str, chat_id: str) -> bool:
    """Tell whether one more question about strangers would be one too many; what is asked already never is."""
    waiting = [one for one in approvals.pending(connection) if one.action in STRANGERS]
    if any((one.action, one.subject) == (action, subject) for one in waiting):
        return False
    of_chat = sum(one.messaging_group_id == chat_id for one in waiting)
    return len(waiting) >= MAX_OF_STRANGERS or of_chat >= MAX_OF_CHAT


def tell_crowded(connection: apsw.Connection, event: InboundEvent) -> None:
    """Tell a person that nobody is asked about them, once in each chat."""
    message_id = words_id("crowded", event.address, str(event.sender.user_id))
    host_messages.post(connection, words(message_id, event.address, FULL, event.message_id))
