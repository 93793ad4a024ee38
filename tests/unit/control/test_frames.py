"""Frames that no honest client sends: the answer is a Varlink error, the daemon goes on."""

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_backend.harness import Client, serving

MALFORMED = "io.nanoclaw.Appliance.Malformed"
MIB = 2**20


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"method":1}',
        b'{"method":"io.nanoclaw.Groups.List","parameters":{},"extra":1}',
        b'{"method":"io.nanoclaw.Groups.List","parameters":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b'{"method":"io.nanoclaw.Groups.List","parameters":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * (MIB - 1),
        b"x" * (MIB + 1),
        b"x" * (4 * MIB),
    ],
    ids=lambda frame: f"{frame[:20]!r}-{len(frame)}",
)
async def test_a_malformed_frame_gets_an_error_and_a_clean_close(tmp_path: Path, frame: bytes):
    async with serving(tmp_path) as running, running.client() as client, running.client() as other:
        client.writer.write(frame + b"\0")
        assert (await client.reply())["error"] == MALFORMED
        assert await client.ended()
        assert "parameters" in await other.call("Appliance.Status")


async def test_a_frame_without_end_is_not_kept(tmp_path: Path):
    async with serving(tmp_path) as running, running.client() as client:
        client.writer.write(b"x" * (3 * MIB))
        assert (await client.reply())["error"] == MALFORMED
        assert await client.ended()


async def test_half_a_frame_is_not_waited_for(tmp_path: Path):
    async with serving(tmp_path, half_frame_seconds=0.2) as running, running.client() as client:
        client.writer.write(b'{"method":')
        assert (await client.reply())["error"] == MALFORMED
        assert await client.ended()


async def test_a_frame_that_trickles_in_is_not_waited_for(tmp_path: Path):
    async with serving(tmp_path, half_frame_seconds=0.3) as running, running.client() as client:
        reply = asyncio.ensure_future(client.reply())
        while not reply.done():
            client.writer.write(b" ")
            await asyncio.wait([reply], timeout=0.01)
        assert reply.result()["error"] == MALFORMED


async def test_half_a_frame_before_the_end_is_malformed_after_what_came_whole(tmp_path: Path):
    async with serving(tmp_path) as running, running.client() as client:
        client.post("Appliance.Doctor")
        client.writer.write(b'{"method":')
        client.writer.write_eof()
        assert "parameters" in await client.reply()
        assert (await client.reply())["error"] == MALFORMED
        assert await client.ended()


async def test_calls_before_a_half_close_are_answered(tmp_path: Path):
    async with serving(tmp_path) as running, running.client() as client:
        for _ in range(5):
            client.post("Appliance.Doctor")
        client.writer.write_eof()
        for _ in range(5):
            assert "parameters" in await client.reply()
        assert await client.ended()


async def test_an_idle_client_is_hung_up(tmp_path: Path):
    async with serving(tmp_path, idle_seconds=0.2) as running, running.client() as client:
        assert "parameters" in await client.call("Appliance.Doctor")
        assert await client.ended()


async def test_a_flood_of_calls_waits_in_the_socket(tmp_path: Path):
    async with serving(tmp_path) as running, running.client() as client:
        await client.call("Groups.Create", {"name": "main"})
        client.post("Chat.Attach", {"group": "main"}, more=True)
        assert (await client.reply())["continues"]
        call = json.dumps({"method": "io.nanoclaw.Groups.List"}).encode() + b"\0"
        writing = asyncio.ensure_future(_flood(client, call))
        _, pending = await asyncio.wait([writing], timeout=0.5)
        assert pending, "16 MiB were read ahead"
        writing.cancel()


async def _flood(client: Client, call: bytes) -> None:
    for _ in range(16 * MIB // len(call)):
        client.writer.write(call)
        await client.writer.drain()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
_methods = st.sampled_from([
    "io.nanoclaw.Groups.Create", "io.nanoclaw.Groups.Delete", "io.nanoclaw.Chat.Send", "io.nanoclaw.Sessions.Get",
    "io.nanoclaw.Images.List", "io.nanoclaw.Chats.Create", "io.nanoclaw.Chats.Update", "io.nanoclaw.Wirings.Create",
    "io.nanoclaw.Users.Create", "io.nanoclaw.Roles.Grant", "io.nanoclaw.Members.Add", "io.nanoclaw.Destinations.Add",
    "io.nanoclaw.Approvals.Decide", "io.nanoclaw.Routing.Explain", "io.nanoclaw.Routing.Dropped",
    "org.varlink.service.GetInfo", "org.varlink.service.GetInterfaceDescription", "x", ".", "",
]) | st.text(max_size=20)  # fmt: skip
_names = st.sampled_from([
    "name", "group", "text", "id", "interface", "zz", "chat", "channel", "user", "role", "limit", "sender", "option",
    "approval", "is_group", "engage_pattern",
])  # fmt: skip
_calls = st.fixed_dictionaries(
    {"method": _methods},
    optional={
        "parameters": st.dictionaries(_names, _json) | _json,
        "oneway": st.booleans() | st.none(),
        "upgrade": st.booleans(),
        "more": st.booleans(),
    },
)  # fmt: skip
_frames = st.binary(max_size=200) | _calls.map(lambda call: json.dumps(call).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(_frames, min_size=1, max_size=8), cut=st.integers(min_value=1, max_value=50))
def test_fuzzed_frames_get_json_or_an_end_and_the_next_client_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, frames: list[bytes], cut: int
):
    caplog.clear()
    asyncio.run(_fuzz(tmp_path, frames, cut))
    assert "control call" not in caplog.text, "a fuzzed frame reached a fault"
    assert "ended by a fault" not in caplog.text


async def _fuzz(tmp_path: Path, frames: list[bytes], cut: int) -> None:
    (tmp_path / "control.sock").unlink(missing_ok=True)
    async with serving(tmp_path, half_frame_seconds=1) as running, running.client() as client:
        data = b"\0".join(frames) + b"\0"
        for start in range(0, len(data), cut):
            client.writer.write(data[start : start + cut])
        client.writer.write_eof()
        async with asyncio.timeout(10):
            answer = await client.reader.read()
        assert answer == b"" or answer.endswith(b"\0")
        for reply in answer.split(b"\0")[:-1]:
            assert {"parameters", "error"} & json.loads(reply).keys()
        async with running.client() as other:
            assert "parameters" in await other.call("Appliance.Status")
