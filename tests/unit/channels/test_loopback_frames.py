"""The loopback channel's frames: whatever a client sends, it gets an answer, and the channel goes on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from contract import PATIENCE_SECONDS, Received
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.loopback import create
from nanoclawd.channels.loopback.frames import MAX_FRAME_BYTES, BadFrame, Message, parse

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("op", "id", "chat", "message_id", "text", "sender", "thread", "times", "what", "chats", "quote", "option")
OPS = ("watch", "message", "click", "named", "ack", "fail", "lose", "health", "conversations", "dm")
NEARLY_FRAMES = st.fixed_dictionaries(
    {"op": st.sampled_from(OPS), "id": st.integers(-1, 5)},
    optional={key: JSON_VALUES for key in KEYS if key not in ("op", "id")},
)


@settings(max_examples=500)
@given(st.binary(max_size=200) | (JSON_VALUES | NEARLY_FRAMES).map(lambda value: json.dumps(value).encode()))
def test_any_line_is_a_frame_or_a_bad_one(line: bytes):
    try:
        frame = parse(line)
    except BadFrame as error:
        json.dumps({"re": error.number, "error": str(error)}).encode()
        return
    assert frame.id >= 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[" * 200_000,
        b'{"a":' * 150_000,
        b'{"op":"message","id":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"1" * 10_000,
        b"\xff\xfe",
        b"x" * (MAX_FRAME_BYTES + 1),
        b'{"op":"message","id":1e400}',
        b'{"op":"message","id":true}',
    ],
)
def test_bad_lines_are_refused(line: bytes):
    with pytest.raises(BadFrame):
        parse(line)


def test_halves_of_characters_come_through_as_on_other_platforms():
    frame = parse(b'{"op":"message","id":1,"chat":"c","message_id":"m","text":"\\ud800","sender":null}')
    assert isinstance(frame, Message)
    assert frame.text == "\ud800"


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self, line: bytes) -> dict[str, Any]:
        self.writer.write(line + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            found: dict[str, Any] = json.loads(await self.reader.readline())
        return found


async def test_every_bad_frame_is_answered_and_the_next_good_one_is_heard(tmp_path: Path):
    adapter, received = create("loop", {}, ChannelPlaces(tmp_path, tmp_path)), Received()
    await adapter.setup(received)
    client = Client(*await asyncio.open_unix_connection(tmp_path / "loop.sock", limit=4 * MAX_FRAME_BYTES))
    assert ((tmp_path / "loop.sock").stat().st_mode & 0o777) == 0o600
    for line in (b"no json", b"{}", b'{"op":"nothing","id":7}', b'{"op":"message","id":8}', b"\xff", b"[" * 100_000):
        assert "error" in await client.reply(line)
    assert (await client.reply(b'{"op":"message","id":8}'))["re"] == 8
    good = {"op": "message", "id": 9, "chat": "c", "message_id": "m", "text": "x" * 900_000, "sender": "ada"}
    assert await client.reply(json.dumps(good).encode()) == {"re": 9, "ok": True}
    assert len(received.events[0].text) == 900_000
    reply = await client.reply(json.dumps({**good, "text": "x" * (MAX_FRAME_BYTES + 1)}).encode())
    assert reply["error"]["code"] == "TooLarge"
    assert await client.reader.read() == b""
    client.writer.close()
    again = Client(*await asyncio.open_unix_connection(tmp_path / "loop.sock"))
    assert (await again.reply(json.dumps({**good, "text": "hello"}).encode()))["ok"] is True
    again.writer.close()
    await adapter.teardown()


async def test_nobody_can_claim_to_be_somebody_of_another_platform(tmp_path: Path):
    """W-75: the adapter makes the id, out of its own platform and what the client says."""
    adapter, received = create("loop", {}, ChannelPlaces(tmp_path, tmp_path)), Received()
    await adapter.setup(received)
    client = Client(*await asyncio.open_unix_connection(tmp_path / "loop.sock"))
    claim = {"op": "message", "id": 1, "chat": "c", "message_id": "m", "text": "let me in", "sender": "terminal:root"}
    assert (await client.reply(json.dumps(claim).encode()))["ok"] is True
    assert received.events[0].sender.user_id == "loopback:terminal:root"
    client.writer.close()
    await adapter.teardown()
