"""The loopback channel's adapter: what a platform's adapter does, with a socket where the platform would be."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    BaseAdapter,
    Capabilities,
    ChannelPlaces,
    Conversation,
    Health,
    HealthState,
    Host,
)
from nanoclawd.channels.loopback import frames
from nanoclawd.channels.loopback.server import LoopbackServer
from nanoclawd.channels.markup.markdown import in_pieces
from nanoclawd.errors import NotFound, Unavailable
from nanoclawd.routing.event import Click, InboundEvent, InboundFile, Quote, Sender
from nanoclawd.sessions.ports import (
    Attachment,
    Delivered,
    Edit,
    Outgoing,
    Progress,
    Reaction,
    ShownCard,
    Text,
    Undelivered,
)

PLATFORM: Final = "loopback"
MAX_FILES_KEPT: Final = 1000
_INLINE_BYTES: Final = 64 * 1024


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the configuration may say of a loopback channel: what it can, and how its first setups go."""

    threads: bool = False
    buttons: bool = False
    edits: bool = False
    reactions: bool = False
    idempotent: bool = False
    typing_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] | None = None
    max_text: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] = 4096
    max_attachment: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0
    fail_setups: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    hang_setups: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class LoopbackAdapter(BaseAdapter):
    """One account of the loopback platform."""

    platform = PLATFORM

    def __init__(self, name: str, options: Options, places: ChannelPlaces) -> None:
        self.name = name
        self.capabilities = Capabilities(
            threads=options.threads,
            buttons=options.buttons,
            edits=options.edits,
            reactions=options.reactions,
            idempotent=options.idempotent,
            typing_seconds=options.typing_seconds,
            max_text=options.max_text,
            max_attachment=options.max_attachment,
        )
        self._server = LoopbackServer(places.runtime / f"{name}.sock", self._handle, self._watched)
        self._inbound: Host | None = None
        self._failures: dict[str, list[frames.Fail]] = {}
        first = [(options.hang_setups, True), (options.fail_setups, False)]
        self._failures["setup"] = [frames.Fail(id=0, what="setup", hang=hang) for n, hang in first for _ in range(n)]
        self._degraded = ""
        self._chats: tuple[frames.Member, ...] = ()
        self._direct: dict[str, str | None] = {}
        self._unseen: dict[Address, None] = {}
        self._files: dict[str, frames.File] = {}

    async def setup(self, inbound: Host) -> None:
        """Listen.

        Raises:
            Unavailable: it was told to fail.
        """
        await self._fail_if_told("setup")
        self._inbound = inbound
        await self._server.start()

    async def teardown(self) -> None:
        """Hang up on all clients."""
        self._inbound = None
        await self._server.stop()
        await self._fail_if_told("teardown")

    def health(self) -> Health:
        """Tell what a client said to tell."""
        return Health(HealthState.DEGRADED, self._degraded) if self._degraded else Health(HealthState.OK)

    def reachable(self, address: Address) -> bool:
        """Tell whether a client watches: without one there is no platform."""
        if not self._server.is_watched:
            self._unseen[address] = None
            return False
        return True

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Hand a body to the client, in as many messages as its text needs; the first one's id counts."""
        objection = self._objection(outgoing)
        if objection is not None:
            return Undelivered(objection, permanent=True)
        failure = self._next_failure("deliver")
        if failure is not None and not failure.after:
            return await _fail(failure)
        outcome = await self._hand_over(outgoing)
        if failure is not None and isinstance(outcome, Delivered):
            return await _fail(failure)
        return outcome

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Tell it."""
        self._server.tell({"event": "progress", **_place(address), "of": type(progress).__name__, **asdict(progress)})

    async def set_typing(self, address: Address) -> None:
        """Tell it.

        Raises:
            Unavailable: it was told to fail.
        """
        await self._fail_if_told("typing")
        self._server.tell({"event": "typing", **_place(address)})

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Tell it."""
        self._server.tell({"event": "turn", **_place(address), "message": message_id, "completed": completed})

    async def subscribe(self, address: Address) -> None:
        """Tell it."""
        self._server.tell({"event": "subscribed", **_place(address)})

    async def open_dm(self, handle: str) -> str | None:
        """Return a person's direct chat: the handle itself, unless a client has said something else.

        Raises:
            Unavailable: it was told to fail.
        """
        await self._fail_if_told("open_dm")
        return self._direct.get(handle, handle)

    async def conversations(self) -> Sequence[Conversation]:
        """Return what a client has said."""
        return tuple(Conversation(one.chat, one.name, one.group) for one in self._chats)

    async def chat_name(self, platform_id: str) -> str | None:
        """Return what a client has said."""
        return next((one.name for one in self._chats if one.chat == platform_id), None)

    # What comes from clients.

    async def _handle(self, frame: frames.Frame) -> dict[str, Any]:
        inbound = self._inbound
        if inbound is None:
            raise Unavailable(f"channel {self.name} was torn down")
        match frame:
            case frames.Message():
                await inbound.message(self._event(frame))
            case frames.Click():
                return {"words": await inbound.click(self._click(frame))}
            case frames.Named():
                await inbound.chat_named(Address(self.name, frame.chat), frame.name, is_group=frame.group)
            case frames.Lose():
                inbound.lost(frame.reason)
            case _:
                self._instruct(frame)
        return {}

    def _instruct(self, frame: frames.Frame) -> None:
        """Do what a client says about the platform."""
        match frame:
            case frames.Fail():
                self._failures.setdefault(frame.what, []).extend([frame] * frame.times)
            case frames.Health():
                self._degraded = frame.degraded
            case frames.Conversations():
                self._chats = frame.chats
            case frames.DirectMessage():
                self._direct[frame.handle] = frame.chat
            case _:
                raise AssertionError(f"{type(frame).__name__} is the server's own")

    def _click(self, frame: frames.Click) -> Click:
        value = frame.value if frame.value is not None else f"#{frame.option}"
        address = Address(self.name, frame.chat, frame.thread)
        return Click(frame.card, value, f"{PLATFORM}:{frame.sender}", address, frame.name)

    def _event(self, frame: frames.Message) -> InboundEvent:
        quote = frame.quote
        return InboundEvent(
            address=Address(self.name, frame.chat, frame.thread),
            message_id=frame.message_id,
            text=frame.text,
            sender=Sender(None if frame.sender is None else f"{PLATFORM}:{frame.sender}", frame.name),
            is_mention=frame.mention,
            is_group=frame.group,
            chat_name=frame.chat_name,
            timestamp=frame.timestamp,
            quote=None if quote is None else Quote(quote.text, quote.sender, quote.message_id),
            files=tuple(map(self._keep, frame.files)),
        )

    def _keep(self, file: frames.File) -> InboundFile:
        reference = secrets.token_hex(8)
        self._files[reference] = file
        if len(self._files) > MAX_FILES_KEPT:
            del self._files[next(iter(self._files))]
        return InboundFile(reference, file.name, file.media_type, file.size)

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give what a client has sent."""
        file = self._files.get(reference)
        if file is None or file.data is None:
            raise NotFound("the platform has this file no more")
        if file.times:
            self._files[reference] = msgspec.structs.replace(file, times=file.times - 1)
            raise Unavailable("the platform is busy")
        yield base64.b64decode(file.data)

    def _watched(self) -> None:
        unseen, self._unseen = self._unseen, {}
        if self._inbound is not None:
            for address in unseen:
                self._inbound.reachable_again(address)

    # What goes to clients.

    def _objection(self, outgoing: Outgoing) -> str | None:
        """Return what the platform can't, where the host has asked for it all the same."""
        body, can = outgoing.body, self.capabilities
        if isinstance(body, Text) and any(file.size > can.max_attachment for file in body.files):
            return "a file is too large for this platform"
        for kind, possible in ((ShownCard, can.buttons), (Edit, can.edits), (Reaction, can.reactions)):
            if isinstance(body, kind) and not possible:
                return f"this platform has no {kind.__name__.lower()}s"
        return None

    async def _hand_over(self, outgoing: Outgoing) -> Delivered | Undelivered:
        delivered: Delivered | None = None
        for number, content in enumerate(await self._contents(outgoing)):
            ack = await self._server.ask(
                {
                    "event": "delivery",
                    "id": outgoing.id if number == 0 else f"{outgoing.id}#{number}",
                    **_place(outgoing.address),
                    "in_reply_to": outgoing.in_reply_to,
                    "notice": outgoing.is_notice,
                    **content,
                }
            )
            if ack is None:
                return Undelivered("nobody watches this channel any more")
            if ack.error is not None:
                return Undelivered(ack.error, permanent=ack.permanent, retry_after=ack.retry_after)
            delivered = delivered or Delivered(ack.message)
        return delivered or Delivered()

    async def _contents(self, outgoing: Outgoing) -> list[dict[str, Any]]:
        body = outgoing.body
        match body:
            case Text():
                pieces = in_pieces(body.text, self.capabilities.max_text)
                files = [await asyncio.to_thread(_file, file) for file in body.files]
                return [
                    {"kind": "text", "text": piece, "files": files if number == 0 else []}
                    for number, piece in enumerate(pieces)
                ]
            case ShownCard():
                options = [{"label": one.label, "value": one.value} for one in body.card.options]
                shown = {"card": body.card_id, "title": body.card.title, "text": body.card.text, "options": options}
                return [{"kind": "card", **shown}]
            case Edit():
                return [{"kind": "edit", "target": body.platform_message_id, "text": body.text}]
            case Reaction():
                return [{"kind": "reaction", "target": body.platform_message_id, "text": body.emoji}]

    # Failures on demand.

    def _next_failure(self, what: str) -> frames.Fail | None:
        planned = self._failures.get(what)
        return planned.pop(0) if planned else None

    async def _fail_if_told(self, what: str) -> None:
        failure = self._next_failure(what)
        if failure is not None:
            await _fail(failure)
            raise Unavailable(failure.reason)


async def _fail(failure: frames.Fail) -> Undelivered:
    if failure.hang:
        await asyncio.Event().wait()
    return Undelivered(failure.reason, permanent=failure.permanent, retry_after=failure.retry_after)


def _place(address: Address) -> dict[str, str | None]:
    return {"chat": address.platform_id, "thread": address.thread_id}


def _file(file: Attachment) -> dict[str, Any]:
    """Read an attachment to its end; a short one goes along whole."""
    digest = hashlib.sha256()
    head = b""
    size = 0
    while block := file.file.read(_INLINE_BYTES):
        digest.update(block)
        size += len(block)
        head = head or block
    data = base64.b64encode(head).decode() if size == len(head) else None
    return {"name": file.name, "size": size, "sha256": digest.hexdigest(), "data": data}
