"""A host's connection is used for the next request of the same agent's connection, and for nothing else."""

import asyncio
from collections.abc import Callable

import pytest
from door_stage import NAME, VALUE, Inside
from egress_stage import Serving, status
from http2_stage import client

from eventually import eventually
from nanoclawd.gateway.door import kept

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n---"


def always(door: Inside, said: Callable[[int], bytes], *, closes: bool = False) -> Serving:
    """Answer every request of a connection; the number of the connection says how."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = door.host.connections
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            door.host.heard.append(head)
            if (at := head.lower().find(b"content-length: ")) >= 0:
                door.host.heard.append(await reader.readexactly(int(head[at + 16 :].split(b"\r")[0])))
            writer.write(said(number))
            await writer.drain()
            if closes:
                return

    return serve


async def asked(door: Inside, *requests: tuple[str, bytes]) -> list[int]:
    """Ask on one connection, one after another; return the answers' status."""
    reader, writer = await door.open_tls()
    found = []
    async with asyncio.timeout(10):
        for method, body in requests:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            writer.write(f"{method} / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n{length}\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            found.append(status(answer))
            if found[-1] == 200:
                await reader.readexactly(3)
    writer.close()
    return found


async def test_one_connection_serves_several_requests_each_with_the_secret(door: Inside):
    door.host.serving = always(door, lambda _: ANSWER)
    assert await asked(door, ("GET", b""), ("POST", b"body"), ("GET", b"")) == [200, 200, 200]
    assert door.host.connections == 1
    assert sum(VALUE.encode() in heard for heard in door.host.heard) == 3
    assert await asked(door, ("GET", b"")) == [200]
    assert door.host.connections == 2, "another connection of the agent's has its own"


async def test_one_that_the_host_has_closed_is_not_missed(door: Inside):
    door.host.serving = always(door, lambda _: ANSWER, closes=True)
    assert await asked(door, *[("GET", b"")] * 5) == [200] * 5
    assert door.host.connections == 5


@pytest.mark.parametrize("said", [b"", ANSWER], ids=["its end", "an answer to nothing"])
async def test_one_on_which_something_has_come_meanwhile_is_not_used(door: Inside, said: bytes):
    """What can't be asked for once more would be lost there, and what was not asked for would be its answer."""
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        door.host.heard.append(head)
        writer.write(ANSWER if door.host.connections == 1 else ANSWER.replace(b"---", b"new"))
        await writer.drain()
        await go_on.wait()
        writer.write(said)
        if said:
            await reader.read()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    head = f"DELETE / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n\r\n".encode()
    writer.write(head)
    assert (await reader.readuntil(b"---")).startswith(b"HTTP/1.1 200 ")
    go_on.set()
    await asyncio.sleep(0.05)  # for it to arrive at the gateway, which tells nobody
    writer.write(head)
    assert (await asyncio.wait_for(reader.readuntil(b"new"), 10)).startswith(b"HTTP/1.1 200 ")
    assert door.host.connections == 2
    writer.close()


async def test_one_that_could_not_be_made_now_is_not_used(door: Inside):
    """The host's address is one that the owner has taken his word for back."""
    door.host.serving = always(door, lambda _: ANSWER)
    reader, writer = await door.open_tls()
    request = f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n\r\n".encode()
    writer.write(request)
    assert status(await reader.readuntil(b"---")) == 200
    door.bind(door.secret(), rules=[door.rule(private=False)])
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert status(answer) == 403
    assert b"--private" in answer
    assert len(door.host.heard) == 1
    writer.close()


async def test_a_few_are_kept_and_the_others_closed(door: Inside):
    """After many requests at once, as HTTP/2 has them."""
    release, open_ones = asyncio.Event(), set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(ANSWER)
        await reader.read()
        open_ones.discard(writer)

    door.host.serving = serve
    async with client(door) as found:
        numbers = [found.request(found.head()) for _ in range(kept.MOST + 4)]
        await found.flush()
        await eventually(lambda: len(open_ones) == kept.MOST + 4)
        release.set()
        assert {code for code, _ in (await found.answers(*numbers)).values()} == {200}
        await eventually(lambda: len(open_ones) == kept.MOST)


async def test_one_that_says_more_than_it_was_asked_is_not_used_again(door: Inside):
    """What stands behind an answer is nobody's answer."""
    door.host.serving = always(door, lambda _: ANSWER + ANSWER.replace(b"---", b"bad"))
    assert await asked(door, ("GET", b""), ("GET", b"")) == [200, 200]
    assert door.host.connections == 2


async def test_one_that_ends_without_an_answer_is_asked_for_once_more_where_that_does_no_harm(door: Inside):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")  # and no answer

    door.host.serving = serve
    assert await asked(door, ("GET", b""), ("GET", b"")) == [200, 200]
    assert door.host.connections == 2
    for number, once in enumerate((("POST", b"body"), ("DELETE", b""), ("GET", b"body")), 3):
        assert await asked(door, ("GET", b""), once) == [200, 502]
        assert door.host.connections == number


async def test_old_ones_are_not_used(door: Inside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    door.host.serving = always(door, lambda _: ANSWER)
    assert await asked(door, ("GET", b""), ("GET", b"")) == [200, 200]
    assert door.host.connections == 2


async def test_they_end_with_the_agents_connection(patient_door: Inside):
    patient_door.host.serving = always(patient_door, lambda _: ANSWER)
    assert await asked(patient_door, ("GET", b"")) == [200]
    await asyncio.wait_for(patient_door.host.gone.wait(), 5)
