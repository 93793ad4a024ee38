"""Calls and replies as Varlink has them: a JSON object each."""

import re
from typing import Any

import msgspec

from nanoclawd.control.wire import FrameError

_NO_PARAMETERS = msgspec.Raw(b"{}")
# msgspec names the place of a fault only in words: "… unknown field `x`", "… - at `$.name`".
_FAULTY_FIELD = re.compile(r"at `\$\.(\w+)|field `([^`]{1,100})`")


class Call(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A call; its parameters stay undecoded until the method is known, and so no nesting is ever built from them."""

    method: str
    parameters: msgspec.Raw = _NO_PARAMETERS
    oneway: bool | None = None
    more: bool | None = None
    upgrade: bool | None = None

    @property
    def interface(self) -> str:
        """The method's interface; empty when there is no dot in it."""
        return self.method.rpartition(".")[0]


class InvalidParameterError(Exception):
    """A parameter is missing, unknown, of the wrong type or out of its bound; the argument is its name."""


_call_decoder = msgspec.json.Decoder(Call)
_encoder = msgspec.json.Encoder()


def decode_call(frame: bytes) -> Call:
    """Read a frame.

    Raises:
        FrameError: it is not a call. Nesting deeper than the interpreter's own bound counts as that.
    """
    try:
        return _call_decoder.decode(frame)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a call: {error}") from None
    except UnicodeDecodeError:
        raise FrameError("not a call: not UTF-8") from None
    except RecursionError:
        raise FrameError("not a call: nested too deeply") from None


def decode_parameters[T](call: Call, kind: type[T]) -> T:
    """Read a call's parameters strictly: no unknown field, no conversion.

    Raises:
        InvalidParameterError: they don't fit.
    """
    raw = bytes(call.parameters).strip()
    try:
        return msgspec.json.decode(b"{}" if raw == b"null" else raw, type=kind)
    except msgspec.DecodeError as error:
        found = _FAULTY_FIELD.search(str(error))
        name = (found[1] or found[2]) if found else "parameters"
        raise InvalidParameterError(name) from None
    except (UnicodeDecodeError, RecursionError):
        raise InvalidParameterError("parameters") from None


def encode_reply(parameters: object, *, continues: bool = False) -> bytes:
    """Return a reply's frame; ``parameters`` is a dataclass, a struct or a dict of such."""
    reply: dict[str, Any] = {"parameters": parameters}
    if continues:
        reply["continues"] = True
    return _encoder.encode(reply)


def encode_error(name: str, **parameters: object) -> bytes:
    """Return an error's frame."""
    return _encoder.encode({"error": name, "parameters": parameters})
