"""Talking to people: messages, files, changes of messages, reactions."""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from nanoclaw_runner import confined
from nanoclaw_runner.contract.files import check_name
from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES, Address
from nanoclaw_runner.contract.text import storable
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.places import Places
from nanoclaw_runner.store.inbox import NotYetError
from nanoclaw_runner.tools.base import Tool, ToolError
from nanoclaw_runner.tools.emoji import emoji_of
from nanoclaw_runner.tools.outcome import address_of, told, write

_MAX_NUMBER: Final = 2**53

type _To = Annotated[str | None, Meta(description="a destination's name; without it: where the message came from")]
type _Number = Annotated[
    int, Meta(gt=0, le=_MAX_NUMBER, description="the message's number, its id in the conversation")
]


class SendMessage(Struct, frozen=True):
    """Arguments of ``send_message``."""

    text: Annotated[str, Meta(description="what is said, in Markdown")]
    to: _To = None


class SendFile(Struct, frozen=True):
    """Arguments of ``send_file``."""

    path: Annotated[str, Meta(description="the file; a relative path begins at /workspace")]
    to: _To = None
    text: Annotated[str, Meta(description="words that go with it")] = ""
    filename: Annotated[str | None, Meta(description="the name under which it is shown")] = None


class EditMessage(Struct, frozen=True, rename="camel"):
    """Arguments of ``edit_message``."""

    message_id: _Number
    text: Annotated[str, Meta(description="what the message says from now on")]


class AddReaction(Struct, frozen=True, rename="camel"):
    """Arguments of ``add_reaction``."""

    message_id: _Number
    emoji: Annotated[str, Meta(description="an emoji or its name, e.g. thumbs_up")]


def tools(places: Places, desk: Desk) -> list[Tool[Any]]:
    """Return the tools of this family."""
    core = _Core(places, desk)
    return [
        Tool(
            "send_message",
            "Say something now, before the answer, or to another chat or agent. The answer itself needs no tool.",
            SendMessage,
            core.send_message,
        ),
        Tool("send_file", "Send a file from the workspace, /tmp or the files received.", SendFile, core.send_file),
        Tool("edit_message", "Change a message that you have sent.", EditMessage, core.edit_message),
        Tool("add_reaction", "React to a message with an emoji.", AddReaction, core.add_reaction),
    ]


class _Core:
    def __init__(self, places: Places, desk: Desk) -> None:
        self._places = places
        self._desk = desk

    async def send_message(self, arguments: SendMessage) -> str:
        text = _said(arguments.text)
        to = address_of(self._desk, arguments.to)
        key = self._desk.key("send_message", arguments)
        number = write(self._desk, "chat", _json({"text": text}), to, key)
        return await told(self._desk, key, number, f"delivered as #{number}")

    async def send_file(self, arguments: SendFile) -> str:
        to = address_of(self._desk, arguments.to)
        name = storable(arguments.filename if arguments.filename is not None else Path(arguments.path).name)
        try:
            check_name(name)
        except ValueError as error:
            raise ToolError(str(error)) from None
        if arguments.text:
            _said(arguments.text)
        key = self._desk.key("send_file", arguments)
        number = self._desk.written(key)
        if number is None:
            taken = await self._copied(arguments.path, name)
            content = _json({"text": storable(arguments.text), "files": [taken]})
            try:
                number = write(self._desk, "chat", content, to, key)
            except BaseException:
                (self._places.outbound_files / taken).unlink(missing_ok=True)
                raise
        return await told(self._desk, key, number, f"{name}: delivered as #{number}")

    async def edit_message(self, arguments: EditMessage) -> str:
        text = _said(arguments.text)
        number = arguments.message_id
        address = self._desk.sent(number)
        if address is None:
            if self._heard(number) is not None:
                raise ToolError(f"#{number} is not yours: only messages that you have sent can be edited")
            raise ToolError(f"#{number} not found")
        return await self._change("edit_message", arguments, address, {"operation": "edit", "text": text}, "edited")

    async def add_reaction(self, arguments: AddReaction) -> str:
        emoji = emoji_of(arguments.emoji)
        if emoji is None:
            raise ToolError(f"{arguments.emoji[:40]!r} is no emoji: give the character itself, or a name as thumbs_up")
        number = arguments.message_id
        address = self._desk.sent(number) or self._heard(number)
        if address is None:
            raise ToolError(f"#{number} not found")
        change: dict[str, object] = {"operation": "reaction", "emoji": emoji}
        return await self._change("add_reaction", arguments, address, change, f"reacted with {emoji} to")

    async def _change(
        self,
        tool: str,
        arguments: EditMessage | AddReaction,
        address: Address,
        change: dict[str, object],
        done: str,
    ) -> str:
        key = self._desk.key(tool, arguments)
        number = write(self._desk, "chat", _json({**change, "messageId": arguments.message_id}), address, key)
        return await told(self._desk, key, number, f"{done} #{arguments.message_id}")

    def _heard(self, number: int) -> Address | None:
        try:
            return self._desk.heard(number)
        except NotYetError:
            raise ToolError("the messages cannot be looked at right now: try again") from None

    async def _copied(self, path: str, name: str) -> str:
        """Copy a file to where the host takes it from; return the name that it has there."""
        places = self._places
        stopped = threading.Event()

        def copy() -> str:
            root, rest = confined.find(path, places.workspace, (places.temporary, places.inbound_files))
            source, _size = confined.open_beneath(root, rest)
            try:
                return confined.copy(source, places.outbound_files, name, stopped.is_set)
            finally:
                os.close(source)

        copying = asyncio.create_task(asyncio.to_thread(copy))
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            # The thread goes on: it is told, and nothing of what it has made may be left.
            stopped.set()
            copying.add_done_callback(self._forget)
            raise
        except confined.FileRefusedError as error:
            raise ToolError(str(error)) from None

    def _forget(self, copying: asyncio.Task[str]) -> None:
        if not copying.cancelled() and copying.exception() is None:
            (self._places.outbound_files / copying.result()).unlink(missing_ok=True)


def _said(text: str) -> str:
    if not text.strip():
        raise ToolError("the text is empty")
    size = len(text.encode(errors="replace"))
    if size > MAX_MESSAGE_BYTES:
        raise ToolError(f"the text is too long: {size} bytes, {MAX_MESSAGE_BYTES} fit; send it in parts or as a file")
    return storable(text)


def _json(content: dict[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False)
