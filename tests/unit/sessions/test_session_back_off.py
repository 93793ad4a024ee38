"""What can't be done now is tried again: later and later, and at once when there is news."""

from pathlib import Path

import pytest
from machine import House, at
from session_stage import CHAT, message

from eventually import eventually
from nanoclawd.sessions import actor as actor_module

FAILURES = 14
"""The pause after the last one would be the longest: a minute."""


async def test_news_ends_a_long_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus that has come back, say, or another message: nobody waits for the rest of a minute."""
    monkeypatch.setattr(actor_module, "_FIRST_PAUSE_SECONDS", 0.01)
    house = House(tmp_path)
    await house.open()
    start_unit, failed = house.machine.start_unit, 0

    async def fails(unit: str, patience: float = 0) -> str:
        nonlocal failed
        if failed == 2 * FAILURES:  # each try begins anew once
            return await start_unit(unit, patience)
        failed += 1
        return "failed"

    monkeypatch.setattr(house.machine, "start_unit", fails)
    session = await house.session(await house.group(), CHAT)
    await house.say(session, at(CHAT, message("one")))
    for number in range(1, FAILURES + 1):
        await eventually(lambda so_many=number: failed >= 2 * so_many)
        actor = house.sessions.living(session.id)
        assert actor is not None
        actor.nudge()
    await eventually(lambda: house.platform.texts[-1:] == ["re: one"])
    assert house.platform.texts[0].startswith("I can't work at the moment")
    assert len(house.platform.texts) == 2
    await house.end()
