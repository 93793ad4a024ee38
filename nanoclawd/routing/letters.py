"""What an agent's session gets of an event: the row, and what is in it."""

import json

from nanoclawd.routing import ids
from nanoclawd.routing.decision import Action, WiringDecision
from nanoclawd.routing.event import InboundEvent
from nanoclawd.sessions.inbound import Earlier, NewMessage
from nanoclawd.sessions.received import Received, entry
from nanoclawd.store.chats import Chat


def letter_of(event: InboundEvent, chat: Chat, one: WiringDecision, files: tuple[Received, ...]) -> NewMessage:
    """Return the row: the message, a change of an earlier one, or a command as a row that is no text (W-4)."""
    row_id = row_of(event, chat, one)
    kind, content = _content(event, one)
    if files and one.command is None:
        content["attachments"] = [entry(row_id, file) for file in files]
    earlier = None
    if event.about is not None:
        earlier = Earlier(_row_id(event.about, chat, one), event.about)
    return NewMessage(
        id=row_id,
        content=json.dumps(content, ensure_ascii=False),
        address=event.address,
        kind=kind,
        trigger=one.action is not Action.ACCUMULATE,
        # A program's message is nowhere on a platform: nothing there can be answered or reacted to.
        platform_message_id=event.message_id if event.hook is None else None,
        files=files if one.command is None else (),
        earlier=earlier,
    )


def row_of(event: InboundEvent, chat: Chat, one: WiringDecision) -> str:
    """Return the id of an event's row in an agent's session."""
    return _row_id(event.message_id, chat, one)


def _content(event: InboundEvent, one: WiringDecision) -> tuple[str, dict[str, object]]:
    """Return a row's kind and the object in it."""
    if event.hook is not None:
        return "webhook", {"source": event.hook.source, "event": event.hook.event, "payload": event.text}
    sender: dict[str, object] = {"sender": event.sender.name, "senderId": event.sender.user_id or ""}
    if one.command is not None:
        return "system", {"type": "command", "name": one.command.name, "args": one.command.arguments, **sender}
    content = {"text": event.text, **sender, "isMention": event.is_addressed}
    if event.change is not None:
        return "chat", {**content, "change": {"kind": event.change.value, "id": event.about}}
    if event.quote is not None:
        quote = event.quote
        content["replyTo"] = {"text": quote.text, "sender": quote.sender}
        if quote.message_id is not None:
            content["replyTo"] = {"id": quote.message_id, "text": quote.text, "sender": quote.sender}
    return "chat", content


def known_as(chat: Chat, message_id: str) -> str:
    """Return a platform's message id as what it is: unique in a chat, until the platform moves that and counts anew."""
    return message_id if chat.moves == 0 else f"{chat.moves}~{message_id}"


def _row_id(message_id: str, chat: Chat, one: WiringDecision) -> str:
    of_chat = chat.id if one.session_mode == "agent-shared" else None
    return ids.row_id(known_as(chat, message_id), one.group, of_chat)
