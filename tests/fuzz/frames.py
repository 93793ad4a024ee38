"""Readers of frames: the control socket's calls, the loopback channel's lines, the doorbell's packets."""

import json
from typing import Any

import msgspec

from fuzz.shaped import Shaped
from memory_backend import Memory
from nanoclaw_runner.contract import doorbell
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.loopback import frames
from nanoclawd.control.agent_calls.rules import RULES
from nanoclawd.control.agent_calls.wording import command_line, visible
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.calls import InvalidParameterError, decode_call, decode_parameters, encode_error
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.served import methods_of
from nanoclawd.control.wire import FrameError
from nanoclawd.errors import InvalidName, TooLarge
from nanoclawd.routing.cleaning import cleaned, unusable
from nanoclawd.routing.event import InboundEvent, Quote, Sender

_backend: Any = Memory()
METHODS = methods_of(_backend, Bounds())
INTROSPECTION = Introspection()
_CALLED = (
    *sorted(METHODS), "org.varlink.service.GetInfo", "org.varlink.service.GetInterfaceDescription", "x.y", "x", "", "."
)  # fmt: skip
_FIELDS = sorted({name for one in METHODS.values() for name in one.parameters.__struct_fields__} | {"interface"})


def control(data: bytes) -> None:
    """A call on the control socket: parameters, or an error whose frame can be written; the library's part, too."""
    try:
        call = decode_call(data)
    except FrameError as error:
        _is_a_reply(encode_error("io.nanoclaw.Appliance.Malformed", message=str(error), hint=None))
        return
    method = METHODS.get(call.method)
    try:
        if method is None:
            decode_parameters(call, dict[str, Any])
            for reply in INTROSPECTION.answer(data):
                _is_a_reply(reply)
            return
        found = decode_parameters(call, method.parameters)
    except InvalidParameterError as error:
        _is_a_reply(encode_error("org.varlink.service.InvalidParameter", parameter=str(error)))
        return
    assert isinstance(found, method.parameters)
    given = msgspec.json.decode(bytes(call.parameters)) or {}
    if call.method in RULES:
        line = command_line(call.method, given)
        assert line.isprintable(), line
        assert visible(line) == line


def shaped_control(data: bytes) -> None:
    """The same with calls that name methods and their parameters."""
    shaped = Shaped(data)
    name = shaped.choice(_CALLED)
    method = METHODS.get(name)
    names = _FIELDS if method is None else method.parameters.__struct_fields__
    call: dict[str, Any] = {"method": name}
    if shaped.byte() < 230:
        call["parameters"] = shaped.fields(names)
    call |= {flag: shaped.flag() for flag in ("more", "oneway", "upgrade") if shaped.byte() > 200}
    control(json.dumps(call).encode())


def loopback(data: bytes) -> None:
    """A line of the loopback channel: a frame, or a refusal that can be told; a message goes on to the router."""
    try:
        frame = frames.parse(data)
    except frames.BadFrame as error:
        json.dumps({"re": error.number, "error": str(error)}).encode()
        str(error).encode()
        return
    if isinstance(frame, frames.Message):
        _is_an_event(frame)


def shaped_loopback(data: bytes) -> None:
    """The same with the right names."""
    shaped = Shaped(data)
    kinds = ("message", "click", "named", "conversations", "dm", "fail", "ack", "lose", "health", "watch")
    names = ("chat", "message_id", "text", "sender", "name", "thread", "chat_name", "timestamp")
    frame = {"op": shaped.choice(kinds), "id": shaped.byte(), **shaped.fields(names, right=0.95)}
    if shaped.flag():
        frame |= {
            "mention": shaped.flag(),
            "group": shaped.flag(),
            "quote": shaped.fields(("text", "sender", "message_id")),
        }
    loopback(json.dumps(frame).encode())


def bell(data: bytes) -> None:
    """A packet of the doorbell: a ring, a partial or a refusal; and what is written can be read."""
    try:
        found = doorbell.decode(data)
    except ValueError:
        return
    if found is None:
        assert data == doorbell.RING
        return
    again = doorbell.encode_partial(doorbell.Partial(found.in_reply_to[:200], found.text))
    assert len(again) <= doorbell.MAX_FRAME_BYTES
    assert doorbell.decode(again) == doorbell.Partial(found.in_reply_to[:200], found.text[-_fitting(found) :])


def _fitting(found: doorbell.Partial) -> int:
    """Return how many characters at the end of a partial fit a frame of its own."""
    room = doorbell.MAX_FRAME_BYTES - len(found.in_reply_to[:200].encode()) - 2
    return len(found.text.encode()[-room:].decode(errors="ignore")) or len(found.text) + 1


def _is_a_reply(frame: bytes) -> None:
    assert isinstance(json.loads(frame), dict)


def _is_an_event(frame: frames.Message) -> None:
    quote = frame.quote
    event = InboundEvent(
        address=Address("loop", frame.chat, frame.thread),
        message_id=frame.message_id,
        text=frame.text,
        sender=Sender(None if frame.sender is None else f"loopback:{frame.sender}", frame.name),
        is_mention=frame.mention,
        is_group=frame.group,
        chat_name=frame.chat_name,
        timestamp=frame.timestamp,
        quote=None if quote is None else Quote(quote.text, quote.sender, quote.message_id),
    )
    try:
        clean, _notes = cleaned(event)
    except (TooLarge, InvalidName):
        return
    if unusable(clean.address) is None:
        json.dumps([clean.text, clean.message_id, clean.sender.name, clean.chat_name], ensure_ascii=False).encode()
