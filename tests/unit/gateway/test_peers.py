"""The caller is who the kernel says: real processes under real uids."""

import asyncio
from pathlib import Path

import pytest
from gateway_stage import AGENTS, MAIN_UID, OTHER_UID, STRANGER_UID, Running, Upstream, call_as, error_of

from nanoclawd.gateway.policy import MAX_AGENTS_BYTES


async def test_each_uid_reaches_what_its_group_may_use(gateway: Running, upstream: Upstream):
    assert (await call_as(MAIN_UID, gateway, "/plain/models"))[0] == 200
    assert (await call_as(OTHER_UID, gateway, "/keyed/models"))[0] == 200
    assert len(upstream.targets) == 2


async def test_a_group_cannot_use_anothers_endpoint(gateway: Running, upstream: Upstream):
    status, body = await call_as(MAIN_UID, gateway, "/keyed/models")
    assert status == 403
    assert error_of(body)["message"] == "agent group main may not use endpoint keyed"
    assert not upstream.targets


@pytest.mark.parametrize("uid", [STRANGER_UID, 65_534, 1000])
async def test_an_unknown_uid_is_refused(gateway: Running, upstream: Upstream, uid: int):
    status, body = await call_as(uid, gateway, "/plain/models")
    assert (status, error_of(body)["type"]) == (403, "unknown_caller")
    assert not upstream.targets


async def test_a_newly_published_file_counts_at_once(gateway: Running):
    gateway.publish([*AGENTS, {"uid": 1004, "group": "late", "endpoints": ["plain"]}])
    assert (await call_as(STRANGER_UID, gateway, "/plain/models"))[0] == 200
    gateway.publish([agent for agent in AGENTS if agent["group"] != "main"])
    assert (await call_as(MAIN_UID, gateway, "/plain/models"))[0] == 403


async def test_one_groups_connections_do_not_count_against_another(gateway: Running):
    held = [await asyncio.open_unix_connection(str(gateway.socket)) for _ in range(4)]
    assert (await call_as(MAIN_UID, gateway, "/plain/models"))[0] == 200
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"version": 4, "agents": []}',
        b'{"version": 1, "agents": [{"uid": 0, "group": "main", "endpoints": []}]}',
        b'{"version": 1, "agents": [{"uid": 1, "group": "../x", "endpoints": []}]}',
        (
            b'{"version": 1, "agents": [{"uid": 1, "group": "a", "endpoints": []},'
            b' {"uid": 1, "group": "b", "endpoints": []}]}'
        ),
        b'{"version": 1, "agents": [], "more": 1}',
        b'{"version": 1, "agents": [], "\xff": 1}',
        b"[" * 100_000,
        b" " * (MAX_AGENTS_BYTES + 1),
    ],
    ids=range(10),
)
async def test_an_unusable_file_lets_nobody_through(gateway: Running, upstream: Upstream, content: bytes):
    gateway.agents_file.with_suffix(".new").write_bytes(content)
    gateway.agents_file.with_suffix(".new").rename(gateway.agents_file)
    async with gateway.client() as client, client.get("plain/models") as answer:
        assert (answer.status, error_of(await answer.read())["type"]) == (503, "gateway_unavailable")
    assert not upstream.targets


async def test_a_missing_file_or_a_link_lets_nobody_through(gateway: Running, place: Path):
    moved = gateway.agents_file.rename(place / "elsewhere.json")
    async with gateway.client() as client:
        async with client.get("plain/models") as answer:
            assert answer.status == 503
        gateway.agents_file.symlink_to(moved)
        async with client.get("plain/models") as answer:
            assert answer.status == 503
