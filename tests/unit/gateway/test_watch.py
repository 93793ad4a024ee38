"""What the gateway waits for instead of looking: a file that is put in another one's place."""

import asyncio
from pathlib import Path

from door_stage import inside

from nanoclawd.gateway.watch import Watch


async def test_a_file_that_takes_anothers_place_is_told(tmp_path: Path):
    (tmp_path / "a").mkdir()
    changed = asyncio.Event()
    watch = Watch((tmp_path / "a" / "agents.json", tmp_path / "not there" / "bundle.pem"), changed.set)
    for _ in range(2):
        changed.clear()
        (tmp_path / "a" / "new").write_text("x")
        (tmp_path / "a" / "new").rename(tmp_path / "a" / "agents.json")
        await asyncio.wait_for(changed.wait(), 5)
    watch.close()


async def test_a_watch_that_is_closed_is_told_nothing(tmp_path: Path):
    changed, witnessed = asyncio.Event(), asyncio.Event()
    watch = Watch((tmp_path / "agents.json",), changed.set)
    witness = Watch((tmp_path / "agents.json",), witnessed.set)
    watch.close()
    (tmp_path / "later").write_text("x")
    await asyncio.wait_for(witnessed.wait(), 5)
    assert not changed.is_set()
    witness.close()


async def test_the_door_writes_down_anew_whom_to_trust_when_it_is_told(tmp_path: Path):
    async with inside(tmp_path) as door:
        certificate = tmp_path / "trust" / "ca.pem"
        before = certificate.read_text()
        told = asyncio.Event()
        watch = Watch((door.gateway.agents_file,), door.gateway.door.look_again)
        shown = Watch((certificate,), told.set)
        door.bind(door.secret(places=[door.place_of("new.test")]))
        await asyncio.wait_for(told.wait(), 5)
        while certificate.read_text() == before:
            told.clear()
            await asyncio.wait_for(told.wait(), 5)
        watch.close()
        shown.close()
