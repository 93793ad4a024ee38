"""What a rule that allows still bounds: how often, and how much each way."""

import asyncio

import pytest
from egress_stage import Out, answers, post, status
from gateway_stage import call_as

from eventually import eventually

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


async def test_a_rule_lets_so_many_through(way_out: Out):
    way_out.allow(way_out.host.rule(rate={"count": 2, "seconds": 3600}))
    way_out.host.serving = answers(OK, b"hello")
    assert [status(await way_out.get()) for _ in range(3)] == [200, 200, 429]
    refused = await way_out.get()
    (after,) = [line for line in refused.splitlines() if line.startswith(b"Retry-After: ")]
    assert 1700 <= int(after.split()[1]) <= 1800
    assert b"(allow 127.0.0.1:" in refused
    assert b"lets 2/h through" in refused
    # Another rule has an account of its own, and so has the same one with another bound.
    way_out.allow(way_out.host.rule(id=2, rate={"count": 2, "seconds": 3600}))
    assert status(await way_out.get()) == 200
    way_out.allow(way_out.host.rule(rate={"count": 3, "seconds": 3600}))
    assert [status(await way_out.get()) for _ in range(4)] == [200, 200, 200, 429]


async def test_what_a_group_has_used_up_is_another_groups_still(way_out: Out):
    way_out.allow(way_out.host.rule(rate={"count": 1, "seconds": 3600}))
    way_out.host.serving = answers(OK, b"hello")
    assert [status(await way_out.get()) for _ in range(2)] == [200, 429]
    found = call_as(101_000, way_out.gateway, f"http://127.0.0.1:{way_out.host.port}/")
    assert (await asyncio.wait_for(found, 10))[0] == 200


async def test_with_time_there_is_room_again(way_out: Out):
    way_out.allow(way_out.host.rule(rate={"count": 5, "seconds": 1}))
    way_out.host.serving = answers(OK, b"hello")

    async def answered(code: int) -> bool:
        return status(await way_out.get()) == code

    await eventually(lambda: answered(429), "more than five in a second are too many")
    await eventually(lambda: answered(200), "there is room again")


async def test_a_rule_bounds_what_is_sent(way_out: Out):
    way_out.allow(way_out.host.rule(max_sent=10))
    assert status(await way_out.ask(post(way_out.host, b"x" * 11))) == 413
    assert not way_out.host.connections, "it is announced: nothing is sent"
    where = f"127.0.0.1:{way_out.host.port}"
    head = f"POST http://{where}/ HTTP/1.1\r\nHost: {where}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert status(await way_out.ask(head + b"6\r\nxxxxxx\r\n" * 2 + b"0\r\n\r\n")) == 413


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_rule_bounds_what_is_received(way_out: Out, chunked: bool):
    """An answer that says that it is larger is not begun; one that turns out to be is cut."""
    way_out.allow(way_out.host.rule(max_received=10))
    way_out.host.serving = (
        answers("HTTP/1.1 200 Fine\nTransfer-Encoding: chunked", b"6\r\nfirst.\r\n6\r\nsecond\r\n0\r\n\r\n")
        if chunked
        else answers("HTTP/1.1 200 Fine\nContent-Length: 11", b"x" * 11)
    )
    answer = await way_out.get()
    if chunked:
        assert b"second" not in answer
        assert not answer.endswith(b"0\r\n\r\n")
    else:
        assert status(answer) == 502
        assert b"lets answers of 10 bytes through" in answer


async def test_a_rule_bounds_a_tunnel_each_way(way_out: Out):
    way_out.allow(way_out.host.rule(max_received=10))
    reader, writer = await way_out.connect()
    writer.write(b"x" * 10)
    assert await reader.readexactly(10) == b"x" * 10
    writer.write(b"y")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
