"""The card that asks which agent a chat is to have."""

from collections.abc import Sequence
from typing import Final

from nanoclaw_runner.contract.cards import Option
from nanoclawd.permissions import wording
from nanoclawd.routing.event import InboundEvent
from nanoclawd.store.approvals import Approval
from nanoclawd.store.chats import Chat

CONNECT: Final = "connect:"
CHOOSE: Final = "choose:"
NEW_AGENT: Final = Option("Make a new agent", "new-agent", "A new agent is made")
DENY: Final = Option("Not now", "deny", "Turned down")
DENY_ALWAYS: Final = Option("Reject this chat", "deny-always", "Rejected for good")

ON_FIRST: Final = 6
ON_OTHERS: Final = 7


def first_card(event: InboundEvent, chat: Chat, folders: Sequence[str]) -> tuple[str, str, tuple[Option, ...]]:
    """Return title, text and options of the card that comes first."""
    name = chat.name or event.chat_name
    title = f"Connect the chat “{wording.visible(name, 60)}”?" if name else "Connect a new chat?"
    if not event.is_group and event.sender.name:
        title = f"Connect the direct chat with “{wording.visible(event.sender.name, 60)}”?"
    sender = wording.person(event.sender.user_id, event.sender.name)
    hears = (
        "hears it when it is mentioned, and keeps in mind what those whom it knows say between"
        if event.is_group
        else "hears everything written there by people whom it knows"
    )
    lines = [
        f"{sender} wrote in {wording.place(event, chat)}, which has no agent:",
        wording.quoted(event.text),
        "",
        f"Connect to an agent: that agent {hears}; it may write to the chat from now on.",
    ]
    if event.sender.user_id is not None:
        lines.append("Whoever wrote this becomes a member of that agent group, and is answered now.")
    lines += [
        "Make a new agent: you are asked for its name; then the same with that agent.",
        "Not now: they are told, and may ask again.",
        "Reject this chat: they are told, and nobody is asked about it again.",
    ]
    options = [_connect(folder) for folder in folders[:ON_FIRST]]
    if len(folders) > ON_FIRST:
        options.append(_more("Choose another agent", 1))
    return title, "\n".join(lines), (*options, NEW_AGENT, DENY, DENY_ALWAYS)


def card_page(approval: Approval, folders: Sequence[str], page: int) -> tuple[str, str, tuple[Option, ...]]:
    """Return a later card, which has the agents for which the earlier ones had no room."""
    first = ON_FIRST + ON_OTHERS * (page - 1)
    options = [_connect(folder) for folder in folders[first : first + ON_OTHERS]]
    if len(folders) > first + ON_OTHERS:
        options.append(_more("More agents", page + 1))
    return approval.title, approval.body, (*options, NEW_AGENT, DENY)


def _connect(folder: str) -> Option:
    return Option(f"Connect to {folder}", f"{CONNECT}{folder}", f"Connected to {folder}")


def _more(label: str, page: int) -> Option:
    return Option(label, f"{CHOOSE}{page}", "More agents are on the next card")
