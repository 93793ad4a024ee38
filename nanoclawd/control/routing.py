"""io.nanoclaw.Routing: what becomes of messages."""

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES
from nanoclawd.control.api import RoutingBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary
from nanoclawd.control.values import Caller, Hypothesis
from nanoclawd.errors import TooLarge

ROUTING = "io.nanoclaw.Routing"


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
