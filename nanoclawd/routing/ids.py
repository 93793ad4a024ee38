"""Ids of rows and of the appliance's own answers, made of what a platform calls a message.

A platform's id is unique in its chat only, may be of any length and may hold anything; a row's id has to be unique in
its session, short and printable, and the same whenever the same event is told again (F-166, F-167).
"""

import hashlib
import unicodedata

from nanoclaw_runner.contract.rows import MAX_FIELD_BYTES, Address

MAX_PLATFORM_ID_BYTES = 512
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def row_id(message_id: str, group: str, chat_id: str | None = None) -> str:
    """Return a row's id.

    Args:
        message_id: the platform's id.
        group: the agent group's folder.
        chat_id: where the messages of several chats meet in one session (agent-shared), the chat's id.
    """
    own = f"{_key(message_id)}:{group}"
    return own if chat_id is None else f"{chat_id}/{own}"


def command_answer_id(chat_id: str, message_id: str) -> str:
    """Return the id of the appliance's answer to a command: one for each command, however often it is told."""
    return f"cmd-{chat_id}/{_key(message_id)}"


def words_id(kind: str, address: Address, message_id: str) -> str:
    """Return the id of other words of the appliance about a message, in a chat that may have no row."""
    parts = (address.channel_type, address.platform_id, address.thread_id or "", message_id)
    return f"{kind}-{_hash(chr(0).join(parts))[:32]}"


def usable(message_id: str) -> str:
    """Return a platform's id as it is, or what stands for one that no column holds: too long, or no UTF-8."""
    bounded = len(message_id) <= MAX_FIELD_BYTES and len(message_id.encode(errors="replace")) <= MAX_FIELD_BYTES
    if bounded and not any(unicodedata.category(char) == "Cs" for char in message_id):
        return message_id
    return f"h-{_hash(message_id)}"


def is_printable(text: str, limit: int) -> bool:
    """Tell whether a text has no control characters, line ends or halves of characters, and at most so many bytes."""
    if len(text) > limit or any(unicodedata.category(char) in _UNPRINTABLE for char in text):
        return False
    return len(text.encode()) <= limit


def _key(message_id: str) -> str:
    if message_id.isprintable() and len(message_id.encode()) <= MAX_PLATFORM_ID_BYTES:
        return message_id
    return f"h-{_hash(message_id)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
