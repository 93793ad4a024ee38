"""What a client of the loopback channel may send: one JSON object a line, at most 1 MiB of it.

Each has an ``op``, and an ``id`` that comes back as ``re`` in its reply. Only the shape is checked here: texts and
names may be anything, as on a hostile platform.
"""

import json
from typing import Annotated, Final, Literal

import msgspec

MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_CONVERSATIONS: Final = 10_000

type _Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]
type _Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
type _Wait = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class BadFrame(ValueError):  # noqa: N818  # named for what was read
    """A line is no frame; the message says why. ``id`` is the frame's, where it could be read."""

    def __init__(self, problem: str, number: int | None = None) -> None:
        super().__init__(problem)
        self.number = number


class _Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    id: _Number


class Quoted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The message that a message answers."""

    text: str
    sender: str = ""
    message_id: str | None = None


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that comes with a message.

    Attributes:
        data: its content in base64; None: the platform has lost it.
        size: what the platform says; it need not be true.
        times: so many attempts to fetch it fail first.
    """

    data: str | None
    name: str = ""
    media_type: str = ""
    size: _Number | None = None
    times: _Count = 0


class Watch(_Frame, frozen=True, tag="watch"):
    """From now on events are sent here, and this client confirms deliveries."""


class Message(_Frame, frozen=True, tag="message"):
    """Somebody wrote. ``sender`` is a handle; None: the platform knows none."""

    chat: str
    message_id: str
    text: str
    sender: str | None
    name: str = ""
    thread: str | None = None
    mention: bool = False
    group: bool = False
    chat_name: str | None = None
    timestamp: str | None = None
    quote: Quoted | None = None
    files: Annotated[tuple[File, ...], msgspec.Meta(max_length=100)] = ()


class Click(_Frame, frozen=True, tag="click"):
    """Somebody pressed a button: ``option`` counts from 1; ``value`` is what it means."""

    card: str
    sender: str
    chat: str
    option: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    value: str | None = None
    name: str = ""
    thread: str | None = None


class Named(_Frame, frozen=True, tag="named"):
    """The platform tells a chat's name or kind."""

    chat: str
    name: str | None = None
    group: bool | None = None


class Ack(_Frame, frozen=True, tag="ack"):
    """The answer to a delivery (its ``id`` is the event's number): taken under ``message``, or not, for ``error``."""

    message: str | None = None
    error: str | None = None
    permanent: bool = False
    retry_after: _Wait | None = None


class Fail(_Frame, frozen=True, tag="fail"):
    """The next ``times`` calls of a kind fail.

    Attributes:
        after: the platform takes the delivery, and only then it is said to have failed.
        hang: the call does not end.
    """

    what: Literal["setup", "deliver", "typing", "open_dm", "teardown"]
    times: _Count = 1
    reason: str = "told to fail"
    permanent: bool = False
    retry_after: _Wait | None = None
    after: bool = False
    hang: bool = False


class Lose(_Frame, frozen=True, tag="lose"):
    """The platform goes away: the channel is torn down and set up again."""

    reason: str = "told to lose the connection"


class Health(_Frame, frozen=True, tag="health"):
    """What the channel says of itself from now on; empty: that all is well."""

    degraded: str = ""


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chat that the account is in."""

    chat: str
    name: str | None = None
    group: bool = False


class Conversations(_Frame, frozen=True, tag="conversations"):
    """The chats that the account is in."""

    chats: Annotated[tuple[Member, ...], msgspec.Meta(max_length=MAX_CONVERSATIONS)]


class DirectMessage(_Frame, frozen=True, tag="dm"):
    """The direct chat with a person; None: they can't be reached. Without a word a handle is its own direct chat."""

    handle: str
    chat: str | None = None


type Frame = Watch | Message | Click | Named | Ack | Fail | Lose | Health | Conversations | DirectMessage

_KINDS = Watch | Message | Click | Named | Ack | Fail | Lose | Health | Conversations | DirectMessage


def parse(line: bytes) -> Frame:
    """Return a line's frame.

    Raises:
        BadFrame: it is none.
    """
    if len(line) > MAX_FRAME_BYTES:
        raise BadFrame(f"a frame has {MAX_FRAME_BYTES} bytes at most")
    number: int | None = None
    try:
        # Not msgspec's parser: it refuses halves of characters, which other platforms' libraries let through.
        found = json.loads(line.decode())
        if isinstance(found, dict) and type(found.get("id")) is int:
            number = found["id"]
        frame: Frame = msgspec.convert(found, _KINDS)
    except UnicodeDecodeError:
        raise BadFrame("not UTF-8") from None
    except msgspec.ValidationError as error:
        raise BadFrame(str(error).encode(errors="backslashreplace").decode(), number) from None
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"not JSON: {type(error).__name__}") from None
    return frame
