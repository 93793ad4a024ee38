"""Rows as both sides hand them on, and the bounds that a row must keep."""

from dataclasses import dataclass

MAX_MESSAGE_BYTES = 256 * 1024
"""A person's message, UTF-8. Longer ones are refused with this limit."""

MAX_CONTENT_BYTES = 512 * 1024
"""The ``content`` column of a row (JSON around a message; escapes may double it). The host reads no more than this."""

MAX_FIELD_BYTES = 1024
"""Every other text column: ids, addresses, times."""

AGENT = "agent"
"""The channel of an address that is another agent's: its chat is that one's folder. No channel has this name."""

TOOL_ROW_PREFIX = "k-"
"""Begins the ids of rows whose tool waits for what becomes of them, and tells the agent."""

TOOL_PATIENCE_SECONDS = 10.0
"""For so long after the row's time."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message belongs: a chat on a channel, and a thread in it where the channel has threads."""

    channel_type: str
    platform_id: str
    thread_id: str | None = None


@dataclass(frozen=True, slots=True)
class InboundRow:
    """A row of ``messages_in`` that waits for the agent.

    ``content`` is JSON; a chat row's has ``text``, ``sender`` (shown) and ``senderId`` (``<channel>:<handle>``).
    """

    id: str
    seq: int
    kind: str
    timestamp: str
    content: str
    trigger: bool = True
    on_wake: bool = False
    tries: int = 0
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class OutboundRow:
    """A row of ``messages_out``: what the agent wants said or done. A chat row's content has ``text``."""

    id: str
    seq: int
    kind: str
    timestamp: str
    content: str
    in_reply_to: str | None = None
    deliver_after: str | None = None
    address: Address | None = None
