"""io.nanoclaw.Channels and Routing: where messages come in, and what becomes of them."""

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES
from nanoclawd.control.api import ChannelsBackend, RoutingBackend
from nanoclawd.control.methods import Listing, Methods, Name, NoParameters, Parameters, Reference, Unary
from nanoclawd.control.values import Caller, Hypothesis
from nanoclawd.errors import TooLarge

CHANNELS = "io.nanoclaw.Channels"
ROUTING = "io.nanoclaw.Routing"


class _Conversations(Parameters, frozen=True):
    channel: Name


def channels(backend: ChannelsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Channels."""

    async def list_all(_caller: Caller, _call: NoParameters) -> object:
        return {"channels": await backend.list()}

    async def conversations(_caller: Caller, call: _Conversations) -> object:
        return {"conversations": await backend.conversations(call.channel)}

    return {
        f"{CHANNELS}.List": Unary(NoParameters, list_all),
        f"{CHANNELS}.Conversations": Unary(_Conversations, conversations),
    }


class _Explain(Parameters, frozen=True):
    channel: Name
    chat: Reference
    sender: str
    text: str
    thread: Reference | None = None
    mention: bool | None = None
    group: bool | None = None


class _ExplainMessage(Parameters, frozen=True):
    id: Reference


class _Dropped(Listing, frozen=True):
    channel: Name | None = None
    chat: Reference | None = None
    user: Reference | None = None


def routing(backend: RoutingBackend) -> Methods:
    """Return the methods of io.nanoclaw.Routing."""

    async def explain(_caller: Caller, call: _Explain) -> object:
        if len(call.text.encode(errors="replace")) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"a message is {MAX_MESSAGE_BYTES // 1024} KiB of UTF-8 at most")
        message = Hypothesis(
            call.channel, call.chat, call.thread, call.sender, call.text, bool(call.mention), call.group
        )
        return {"decision": await backend.explain(message)}

    async def explain_message(_caller: Caller, call: _ExplainMessage) -> object:
        return {"decisions": await backend.explain_message(call.id)}

    async def dropped(_caller: Caller, call: _Dropped) -> object:
        return {"dropped": await backend.dropped(call.channel, call.chat, call.user, call.bound)}

    return {
        f"{ROUTING}.Explain": Unary(_Explain, explain),
        f"{ROUTING}.ExplainMessage": Unary(_ExplainMessage, explain_message),
        f"{ROUTING}.Dropped": Unary(_Dropped, dropped),
    }
