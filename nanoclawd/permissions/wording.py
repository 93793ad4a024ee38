"""Words of cards and notices. What strangers chose (names, texts) is bounded, and nothing in it is invisible."""

import unicodedata
from collections.abc import Callable
from typing import Final

from nanoclaw_runner.contract.cards import literal
from nanoclawd.routing.event import InboundEvent
from nanoclawd.store.approvals import Approval
from nanoclawd.store.chats import Chat

ASKED: Final = "Somebody has to allow this first; I have asked."

ASKED_TOO_LONG: Final = f"{ASKED} Your message is too long to be kept until then: write it again afterwards."
LET_IN: Final = "You were let in, but your message did not reach an agent here: write it again."
CONNECTED: Final = "This chat was connected to an agent, but your message did not reach it: write it again."
EXPIRED: Final = "Nobody decided in time: this has expired."
WITHDRAWN: Final = "withdrawn"
"""In place of a decision, where who waited for it does not wait any more."""

NOBODY_ANSWERED: Final = "Nobody answered in time."

_QUOTE_CHARACTERS: Final = 600
_QUOTE_LINES: Final = 12
_NAME_CHARACTERS: Final = 80
_ID_CHARACTERS: Final = 160
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# The joiners of emoji and of Indic and Persian writing; they hide and reorder nothing.
_JOINERS: Final = frozenset("\u200c\u200d")
# Letters, marks and a symbol that show nothing, whatever their category says.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_SELECTORS: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def visible(text: str, limit: int = _NAME_CHARACTERS) -> str:
    r"""Return a text on one line, bounded; what nobody would see is spelled out, like ``\n`` or ``\u202e``.

    >>> visible("Ada\n\u202eevil")
    'Ada\\n\\u202eevil'
    """
    shown = "".join(_spelled(char) for char in text[:limit])
    return shown if len(text) <= limit and len(shown) <= limit else f"{shown[:limit]}…"


def quoted(text: str, limit: int = _QUOTE_CHARACTERS) -> str:
    """Return a text as a quotation: every line marked, so that nothing in it looks like the appliance's own words."""
    return _quoted(text, limit, str)


def verbatim(text: str, limit: int = _QUOTE_CHARACTERS) -> str:
    """Return a text as a quotation of which every character is seen: blank letters, and what Markdown would hide."""
    return _quoted(text, limit, lambda line: literal("".join(map(_without_blank, line))))


def person(user_id: str | None, name: str | None) -> str:
    """Return how a person is shown on a card: the name is what they say, the id is what the channel vouches for."""
    if user_id is None:
        return f"somebody whom the channel doesn't identify (“{visible(name)}”)" if name else "somebody unidentified"
    shown_id = visible(user_id, _ID_CHARACTERS)
    return f"“{visible(name)}” ({shown_id})" if name and name != user_id else shown_id


def who(user_id: str, name: str | None) -> str:
    """Return a short name for sentences."""
    if name:
        return visible(name)
    return visible(user_id.partition(":")[2] or user_id)


def place(event: InboundEvent, chat: Chat) -> str:
    """Return where something was written, in words."""
    address = event.address
    name = chat.name or event.chat_name
    ids = f"{visible(address.channel_type)}: {visible(address.platform_id, _ID_CHARACTERS)}"
    kind = "the group chat" if event.is_group else "a direct chat"
    where = f"{kind} “{visible(name)}” ({ids})" if name else f"{kind} ({ids})"
    if address.thread_id is not None:
        where += f", thread {visible(address.thread_id, _ID_CHARACTERS)}"
    return where


def closed_card(approval: Approval, words: str) -> str:
    """Return what stands in a card's place once it has ended: what was asked stays readable."""
    return f"{approval.title}\n\n{approval.body}\n\n→ {words}"


def already(approval: Approval, decided_by: str | None) -> str:
    """Return the answer to somebody who is late."""
    if approval.status == "expired":
        if approval.decision == WITHDRAWN:
            return "This does not wait any more."
        return "Nobody decided in time: this has expired."
    verb = "allowed" if approval.status == "approved" else "refused"
    return f"{decided_by or 'Somebody'} {'have' if decided_by == 'You' else 'has'} {verb} this already."


def _quoted(text: str, limit: int, written: Callable[[str], str]) -> str:
    cut = text[:limit]
    lines = cut.replace("\r\n", "\n").split("\n")
    shown = ["> " + written(visible(line, limit)) for line in lines[:_QUOTE_LINES]]
    left = len(text) - len("\n".join(lines[:_QUOTE_LINES]))
    if len(text) > len(cut) or len(lines) > _QUOTE_LINES:
        shown.append(f"(and {left} more characters)")
    return "\n".join(shown)


def _without_blank(char: str) -> str:
    is_space = unicodedata.category(char) == "Zs" and char != " "
    if is_space or char in _JOINERS or char in _BLANK or any(ord(char) in selectors for selectors in _SELECTORS):
        return char.encode("unicode_escape").decode("ascii")
    return char


def _spelled(char: str) -> str:
    if unicodedata.category(char) in _HIDDEN and char not in _JOINERS:
        return char.encode("unicode_escape").decode("ascii")
    return char
