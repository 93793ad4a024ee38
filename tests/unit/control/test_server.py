"""The control socket over real sockets, with an in-memory backend. Owns F-105's promise: one message, one commit."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memory_backend.harness import Client, Running, serving
from nanoclawd.control.api import ChatScreen, ClientGone
from nanoclawd.control.values import ChatEvent, EventType

LONG = "t" * (256 * 1024 + 1)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path) as found:
        yield found


async def test_a_call_is_answered_and_the_peer_is_who_the_kernel_says(running: Running):
    async with running.client() as client:
        reply = await client.call("Groups.Create", {"name": "main"})
        assert reply["parameters"]["group"]["model"] == "embedded/smollm2"
        assert reply["parameters"]["group"]["name"] == "main"
    (peer,) = running.memory.peers
    assert (peer.uid, peer.gid, peer.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert peer.user_name


async def test_pipelined_calls_are_answered_in_order(running: Running):
    async with running.client() as client:
        for number in range(200):
            client.post("Groups.Create", {"name": f"g{number}"})
        names = [(await client.reply())["parameters"]["group"]["name"] for _ in range(200)]
    assert names == [f"g{number}" for number in range(200)]


async def test_oneway_is_carried_out_and_not_answered(running: Running):
    async with running.client() as client:
        client.post("Groups.Create", {"name": "quiet"}, oneway=True)
        client.post("Groups.Create", {"name": "-"}, oneway=True)
        reply = await client.call("Groups.List")
    assert [group["name"] for group in reply["parameters"]["groups"]] == ["quiet"]


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("Groups.Get", {"name": "none"}, "io.nanoclaw.Groups.NotFound"),
        ("Groups.Create", {"name": "a b"}, "io.nanoclaw.Groups.InvalidName"),
        ("Sessions.Get", {"id": "aaaa"}, "io.nanoclaw.Sessions.InvalidName"),
        ("Sessions.Reset", {"id": "aaaab"}, "io.nanoclaw.Sessions.Refused"),
        ("Chat.Send", {"group": "x", "text": LONG, "client_token": "12345678"}, "io.nanoclaw.Chat.TooLarge"),
        ("Groups.Create", {"name": "a", "instructions": LONG}, "io.nanoclaw.Groups.TooLarge"),
        ("Groups.Get", {}, "org.varlink.service.InvalidParameter"),
        ("Groups.Get", {"name": 3}, "org.varlink.service.InvalidParameter"),
        ("Groups.Get", {"name": [[[[]]]]}, "org.varlink.service.InvalidParameter"),
        ("Groups.Get", {"name": "n" * 300}, "org.varlink.service.InvalidParameter"),
        ("Groups.Get", {"name": "a", "more": 1}, "org.varlink.service.InvalidParameter"),
        ("Groups.Nope", {}, "org.varlink.service.MethodNotFound"),
        ("Nope.List", {}, "org.varlink.service.InterfaceNotFound"),
        ("Images.Build", {}, "org.varlink.service.ExpectedMore"),
    ],
)  # fmt: skip
async def test_what_is_refused_has_a_typed_error_and_the_connection_lives(
    running: Running, method: str, parameters: dict[str, object], error: str
):
    async with running.client() as client:
        reply = await client.call(method, parameters)
        assert reply["error"] == error
        if error.startswith("io."):
            assert reply["parameters"]["message"]
        assert "parameters" in await client.call("Appliance.Status")


async def test_upgrade_is_refused(running: Running):
    async with running.client() as client:
        assert (await client.call("Groups.List", upgrade=True))["parameters"] == {"parameter": "upgrade"}


async def test_a_fault_of_the_daemon_has_a_reference_that_the_log_has_too(
    running: Running, caplog: pytest.LogCaptureFixture
):
    async with running.client() as client:
        await client.call("Groups.Create", {"name": "main"})
        reply = await client.call("Chat.Send", {"group": "main", "text": "!bug", "client_token": "12345678"})
    assert reply["error"] == "io.nanoclaw.Chat.Internal"
    assert "a fault of ours" not in json.dumps(reply)
    assert reply["parameters"]["reference"] in caplog.text


async def test_a_build_streams_and_only_its_last_reply_ends_it(running: Running):
    async with running.client() as client:
        client.post("Images.Build", more=True)
        replies = [await client.reply() for _ in range(6)]
        assert [reply.get("continues", False) for reply in replies] == [True] * 5 + [False]
        assert [reply["parameters"]["event"] for reply in replies] == ["stage", "line", "done"] * 2
        reply = await client.call("Images.Build", {"name": "nope"}, more=True)
        assert reply["error"] == "io.nanoclaw.Images.NotFound"


async def test_all_attached_clients_see_the_same_and_the_turn_ends_last(running: Running):
    async with running.client() as one, running.client() as two, running.client() as sender:
        await sender.call("Groups.Create", {"name": "main"})
        for client in (one, two):
            reply = await client.call("Chat.Attach", {"group": "main"}, more=True)
            assert (reply["continues"], reply["parameters"]["type"]) == (True, "attached")
        sent = await sender.call("Chat.Send", {"group": "main", "text": "hi", "client_token": "12345678"})
        for client in (one, two):
            seen = []
            while not seen or seen[-1]["type"] != "turn":
                seen.append((await client.reply())["parameters"])
            assert [event["text"] for event in seen if event["type"] == "message"] == ["echo: hi"]
            assert seen[-1]["in_reply_to"] == sent["parameters"]["message_id"]
            assert seen[-1]["state"] == "completed"


async def test_a_repeated_send_is_one_message(running: Running):
    async with running.client() as client:
        await client.call("Groups.Create", {"name": "main"})
        call = {"group": "main", "text": "hi", "client_token": "12345678"}
        first = await client.call("Chat.Send", call)
        assert (await client.call("Chat.Send", call))["parameters"]["message_id"] == first["parameters"]["message_id"]
    assert len(running.memory.state.sent) == 1


async def test_messages_of_the_absence_come_at_the_next_attach(running: Running):
    async with running.client() as client:
        await client.call("Groups.Create", {"name": "main"})
        await client.call("Chat.Send", {"group": "main", "text": "one", "client_token": "12345678"})
        while running.memory.running:
            await asyncio.gather(*running.memory.running)
        client.post("Chat.Attach", {"group": "main"}, more=True)
        seen = [(await client.reply())["parameters"] for _ in range(2)]
    assert [(event["type"], event["text"]) for event in seen] == [("attached", ""), ("message", "echo: one")]


async def test_a_client_that_leaves_is_forgotten(running: Running):
    async with running.client() as client:
        await client.call("Groups.Create", {"name": "main"})
    async with running.client() as client:
        await client.call("Chat.Attach", {"group": "main"}, more=True)
        (screen,) = running.memory.screens["main"]
    await running.memory.screens_are("main", 0)
    with pytest.raises(ClientGone):
        await screen.show(ChatEvent(EventType.MESSAGE, text="late"))
    screen.hint(ChatEvent(EventType.PARTIAL, text="late"))


async def test_a_client_that_does_not_read_is_disconnected_and_others_are_served(tmp_path: Path):
    async with serving(tmp_path, write_seconds=0.3) as running, running.client() as fast:
        await fast.call("Groups.Create", {"name": "main"})
        slow = socket.socket(socket.AF_UNIX)
        slow.connect(running.path)
        slow.sendall(b'{"method":"io.nanoclaw.Chat.Attach","parameters":{"group":"main"},"more":true}\0')
        (screen,) = await running.memory.screens_are("main", 1)
        with pytest.raises(ClientGone):
            await _show_much(screen)
        for _ in range(1000):
            screen.hint(ChatEvent(EventType.PARTIAL, text="x" * 16_000))
        assert "parameters" in await fast.call("Appliance.Status")
        await running.memory.screens_are("main", 0)
        slow.close()


async def _show_much(screen: ChatScreen) -> None:
    for _ in range(100):
        await screen.show(ChatEvent(EventType.MESSAGE, text="x" * 100_000))


async def test_waiting_events_are_bounded(tmp_path: Path):
    async with serving(tmp_path, write_seconds=0.5, waiting_events=10) as running, running.client() as slow:
        await slow.call("Groups.Create", {"name": "main"})
        await slow.call("Chat.Attach", {"group": "main"}, more=True)
        slow.writer.transport.pause_reading()
        (screen,) = running.memory.screens["main"]
        event = ChatEvent(EventType.MESSAGE, text="x" * 1_000_000)
        results = await asyncio.gather(*(screen.show(event) for _ in range(50)), return_exceptions=True)
        assert sum(isinstance(result, Exception) for result in results) >= 39


async def test_hints_are_dropped_while_something_waits(running: Running):
    async with running.client() as client:
        await client.call("Groups.Create", {"name": "main"})
        await client.call("Chat.Attach", {"group": "main"}, more=True)
        client.writer.transport.pause_reading()
        (screen,) = running.memory.screens["main"]
        for _ in range(10_000):
            screen.hint(ChatEvent(EventType.PARTIAL, text="x" * 16_000))
        client.writer.transport.resume_reading()
        await screen.show(ChatEvent(EventType.MESSAGE, text="the end"))
        count = 0
        while (await client.reply())["parameters"]["text"] != "the end":
            count += 1
        assert count < 500


async def test_connections_of_a_user_are_bounded(tmp_path: Path):
    async with serving(tmp_path, connections_per_user=3) as running:
        clients = [Client(*await asyncio.open_unix_connection(running.path)) for _ in range(3)]
        for client in clients:
            await client.call("Appliance.Status")
        async with running.client() as extra:
            assert (await extra.reply())["error"] == "io.nanoclaw.Appliance.Unavailable"
            assert await extra.ended()
        clients.pop().close()
        async with asyncio.timeout(5):
            while True:
                async with running.client() as again:
                    if "parameters" in await again.call("Appliance.Status") and not again.reader.at_eof():
                        break
        for client in clients:
            client.close()


async def test_stop_ends_streams_and_finishes_calls(tmp_path: Path):
    async with serving(tmp_path) as running, running.client() as client, running.client() as other:
        await other.call("Groups.Create", {"name": "main"})
        await client.call("Chat.Attach", {"group": "main"}, more=True)
        async with asyncio.timeout(3):
            await running.server.stop()
        assert await client.ended()
        assert await other.ended()
        assert running.memory.screens["main"] == []
