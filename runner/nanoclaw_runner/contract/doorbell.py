"""The doorbell's frames: one SOCK_SEQPACKET packet each, either way.

A ring says "look again" and nothing else. A partial carries the answer being written, so that a terminal can show it
grow; it may be dropped at any time, and only a row in ``outbound.db`` is ever the answer.
"""

from dataclasses import dataclass

RING = b"\x01"
_PARTIAL = b"\x02"
_SEPARATOR = b"\x00"

MAX_FRAME_BYTES = 16 * 1024
"""A longer packet breaks the contract."""

MAX_PARTIALS_PER_SECOND = 10
"""The runner's own pace for partial frames."""

MAX_FRAMES_PER_SECOND = 1000
"""Above this the host ends the session: no honest runner comes near it."""


@dataclass(frozen=True, slots=True)
class Partial:
    """The text so far of the answer to one inbound message."""

    in_reply_to: str
    text: str


def encode_partial(partial: Partial) -> bytes:
    """Encode a partial; a text that does not fit keeps its end, which is what a reader watches."""
    head = _PARTIAL + partial.in_reply_to.encode() + _SEPARATOR
    room = MAX_FRAME_BYTES - len(head)
    body = partial.text.encode()[-room:] if room > 0 else b""
    return head + body.decode(errors="ignore").encode()


def decode(frame: bytes) -> Partial | None:
    """Decode a frame: a partial, or None for a ring.

    Raises:
        ValueError: the frame is empty, too long or of an unknown type.
    """
    if frame == RING:
        return None
    if not frame.startswith(_PARTIAL) or len(frame) > MAX_FRAME_BYTES:
        raise ValueError(f"not a doorbell frame: {len(frame)} bytes")
    reference, separator, text = frame[1:].partition(_SEPARATOR)
    if not separator:
        raise ValueError("a partial frame without its reference")
    return Partial(in_reply_to=reference.decode(errors="replace"), text=text.decode(errors="replace"))
