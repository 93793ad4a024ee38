"""Wirings as people make them: defaults, checks, and that the agent's sessions learn of them."""

import pytest

from nanoclawd.channels.adapter import Capabilities
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound
from nanoclawd.routing.wirings import WiringRules, WiringService, default_wiring
from nanoclawd.store import chats, destinations
from unit.routing.house import House
from unit.routing.world import CHANNEL


@pytest.fixture
def projected() -> list[str]:
    return []


@pytest.fixture
def service(house: House, projected: list[str]) -> WiringService:
    async def project(agent_group_id: str) -> None:
        projected.append(agent_group_id)

    return WiringService(house.database, lambda name: house.abilities.get(name, Capabilities()), project)


@pytest.mark.parametrize(
    ("is_group", "threads", "mode", "pattern"),
    [
        (False, False, "pattern", "."),
        (False, True, "pattern", "."),
        (True, True, "mention-sticky", None),
        (True, False, "mention", None),
    ],
)
def test_defaults(is_group: bool, threads: bool, mode: str, pattern: str | None):
    """F-178 (a chat of two), F-179 (a group with threads), F-180 (another group), W-20 (no thread has a say)."""
    rules = default_wiring(is_group=is_group, threads=threads)
    assert rules == WiringRules("shared", 0, mode, pattern, "all", "drop")
    registered = default_wiring(is_group=is_group, threads=threads, registration=True)
    assert registered == WiringRules("shared", 0, mode, pattern, "known", "accumulate")


async def test_created_with_defaults(house: House, service: WiringService, projected: list[str]):
    """W-31: the destination comes with it, and the sessions are told."""
    group = await house.group("main")
    dm, room = await house.chat("dm", is_group=False), await house.chat("room")
    assert (await service.create(dm.id, group.id, WiringRules())).engage_pattern == "."
    assert (await service.create(room.id, group.id, WiringRules())).engage_mode == "mention-sticky"
    house.abilities[CHANNEL] = Capabilities()
    flat = await house.chat("flat")
    assert (await service.create(flat.id, group.id, WiringRules(priority=3))).engage_mode == "mention"
    assert projected == [group.id] * 3
    assert len(await house.run(destinations.of_group, group.id)) == 3


async def test_created_as_said(house: House, service: WiringService):
    group, room = await house.group("main"), await house.chat()
    said = WiringRules("agent-shared", 5, "pattern", "^!bot", "known", "accumulate")
    wiring = await service.create(room.id, group.id, said)
    assert (wiring.session_mode, wiring.priority, wiring.engage_mode) == ("agent-shared", 5, "pattern")
    assert (wiring.engage_pattern, wiring.sender_scope) == ("^!bot", "known")
    assert wiring.ignored_message_policy == "accumulate"
    with pytest.raises(AlreadyExists):
        await service.create(room.id, group.id, said)


async def test_a_pattern_alone_means_pattern(house: House, service: WiringService):
    group, room = await house.group("main"), await house.chat()
    wiring = await service.create(room.id, group.id, WiringRules(engage_pattern="^!bot"))
    assert wiring.engage_mode == "pattern"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (WiringRules(engage_pattern="("), "position 1"),
        (WiringRules(engage_pattern=""), "not empty"),
        (WiringRules(engage_mode="pattern"), "needs an engage_pattern"),
        (WiringRules(engage_mode="mention", engage_pattern="x"), "goes with engage_mode pattern"),
        (WiringRules(engage_mode="always"), "pattern, mention, mention-sticky"),
        (WiringRules(session_mode="thread"), "shared, per-thread, agent-shared"),
        (WiringRules(sender_scope="members"), "all, known"),
        (WiringRules(ignored_message_policy="keep"), "drop, accumulate"),
        (WiringRules(priority=10**9), "priority"),
    ],
)
async def test_what_cant_be(house: House, service: WiringService, rules: WiringRules, words: str):
    """Refused when it is written, with the reason (an invalid pattern with the place); nothing is made."""
    group, room = await house.group("main"), await house.chat()
    with pytest.raises(InvalidName, match=words):
        await service.create(room.id, group.id, rules)
    assert await house.run(chats.every_wiring) == []
    wiring = await service.create(room.id, group.id, WiringRules())
    with pytest.raises(InvalidName, match=words):
        await service.update(wiring.id, rules)
    assert await house.run(chats.wiring_by_id, wiring.id) == wiring


async def test_changed(house: House, service: WiringService):
    """What is left out stays; a pattern goes with its mode."""
    group, room = await house.group("main"), await house.chat()
    wiring = await service.create(room.id, group.id, WiringRules(engage_pattern="x", sender_scope="known"))
    changed = await service.update(wiring.id, WiringRules(ignored_message_policy="accumulate", priority=0))
    assert (changed.engage_pattern, changed.sender_scope) == ("x", "known")
    assert changed.ignored_message_policy == "accumulate"
    changed = await service.update(wiring.id, WiringRules(engage_mode="mention"))
    assert (changed.engage_mode, changed.engage_pattern) == ("mention", None)
    changed = await service.update(wiring.id, WiringRules(engage_pattern="^y"))
    assert (changed.engage_mode, changed.engage_pattern) == ("pattern", "^y")
    assert (await service.update(wiring.id, WiringRules())) == changed


async def test_ended(house: House, service: WiringService, projected: list[str]):
    group, room = await house.group("main"), await house.chat()
    wiring = await service.create(room.id, group.id, WiringRules())
    assert (await service.delete(wiring.id)) == wiring
    assert await house.run(destinations.of_group, group.id) == []
    assert projected == [group.id, group.id]
    with pytest.raises(NotFound):
        await service.delete(wiring.id)
    with pytest.raises(NotFound):
        await service.update(wiring.id, WiringRules())
    with pytest.raises(NotFound):
        await service.create("mg-none", group.id, WiringRules())
