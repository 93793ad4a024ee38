"""Messages that wait for an approval, kept in its payload and routed in their order once it is given."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any, Final

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.delivery.outbox import words
from nanoclawd.errors import Unavailable
from nanoclawd.journal import about
from nanoclawd.permissions import wording
from nanoclawd.routing.event import InboundEvent, InboundFile, Quote, Sender
from nanoclawd.routing.ids import words_id
from nanoclawd.store import host_messages
from nanoclawd.store.approvals import Approval
from nanoclawd.store.host_messages import HostMessage

log = logging.getLogger(__name__)

EVENTS: Final = "events"
"""In a payload: the messages."""

FIRST: Final = "first"
"""In a payload: where and by whom it was written first, without the text."""

MAX_KEPT: Final = 10
MAX_KEPT_CHARACTERS: Final = 64 * 1024
"""Of all texts of one approval together; a message beyond it is not kept, and strangers fill no disk."""

type Replay = Callable[[InboundEvent], Awaitable[bool]]
"""Routes a message as if it had been written now; the ids make one row of a message that is routed twice.

False: nobody heard it, and nothing was said to it."""


def keep(payload: dict[str, Any], event: InboundEvent) -> dict[str, Any] | None:
    """Return a payload with one more message; None where it is there already or there is no room."""
    kept = payload.get(EVENTS, [])
    new = asdict(event)
    if any((one["address"], one["message_id"]) == (new["address"], new["message_id"]) for one in kept):
        return None
    characters = sum(_size(one) for one in kept) + _size(new)
    if len(kept) >= MAX_KEPT or characters > MAX_KEPT_CHARACTERS:
        return None
    return {**payload, EVENTS: [*kept, new]}


def begun(event: InboundEvent) -> tuple[dict[str, Any], HostMessage]:
    """Return the payload of a new question, and the word to who wrote: somebody is asked."""
    payload = {FIRST: asdict(replace(event, text="", quote=None, files=()))}
    kept = keep(payload, event)
    text = wording.ASKED_TOO_LONG if kept is None else wording.ASKED
    # By the message: who writes to a chat with two agents is told once.
    message_id = words_id("asked", event.address, event.message_id)
    return kept or payload, words(message_id, event.address, text, event.message_id)


def events(payload: dict[str, Any]) -> list[InboundEvent]:
    """Return the kept messages, oldest first."""
    return [_event(one) for one in payload.get(EVENTS, [])]


async def replay_all(payload: dict[str, Any], replay: Replay) -> bool:
    """Route the kept messages in their order; one that fails does not keep back the rest.

    Returns:
        Whether anything came of any: what has changed meanwhile may keep all of them from the agent.

    Raises:
        Unavailable: not now; all of them are routed again then.
    """
    heard = False
    for event in events(payload):
        try:
            heard |= await replay(event)
        except Unavailable:
            raise
        except Exception:
            log.exception("a kept message could not be routed", extra=about(channel=event.address.channel_type))
    return heard


def tell_waiting(connection: apsw.Connection, approval: Approval, kind: str, text: str) -> None:
    """Tell a person that their waiting is over, where they wrote first; in a caller's transaction."""
    event = _event(approval.payload[FIRST])
    message_id = words_id(f"{kind}-{approval.id}", event.address, event.message_id)
    host_messages.post(connection, words(message_id, event.address, text))


def _size(found: dict[str, Any]) -> int:
    quote = found["quote"] or {}
    return len(found["text"]) + len(quote.get("text", ""))


def _event(found: dict[str, Any]) -> InboundEvent:
    quote = found["quote"]
    parts = {
        "address": Address(**found["address"]),
        "sender": Sender(**found["sender"]),
        "quote": None if quote is None else Quote(**quote),
        "files": tuple(InboundFile(**file) for file in found.get("files", ())),
    }
    return InboundEvent(**{**found, **parts})
