"""A OneCLI on loopback, and our gateway's side of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway_stage import FIRST_UID

from nanoclawd.config import OneCli as Settings
from nanoclawd.egress.outside import Outside
from nanoclawd.gateway.onecli.messages import ApprovalRequest
from onecli_api.server import OneCli
from onecli_api.world import World

GROUP_ID = "ag-1700000000000-abc123"
PAUSE = 0.05


@dataclass
class Person:
    """Somebody who is asked."""

    asked: list[ApprovalRequest] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    says: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def decide(self, request: ApprovalRequest, seconds: float) -> bool:
        self.asked.append(request)
        self.seconds.append(seconds)
        self.news.set()
        return await asyncio.shield(self.says)


@asynccontextmanager
async def onecli(place: Path, *, says: str = "127.0.0.1", upstream_ca: Path | None = None) -> AsyncIterator[OneCli]:
    """A OneCLI that runs until the block ends."""
    await asyncio.to_thread(place.mkdir, exist_ok=True)
    found = OneCli(World(), place, upstream_ca, says)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


def settings(api: OneCli, **more: object) -> Settings:
    return Settings(url=api.url, **more)  # type: ignore[arg-type]


async def until(states: AsyncIterator[Outside], wanted: Callable[[Outside], bool]) -> Outside:
    """Return the first state that is as wanted."""
    async with asyncio.timeout(20):
        async for state in states:
            if wanted(state):
                return state
    raise AssertionError("it ended before that")


AGENT: dict[str, object] = {"uid": 1, "group": "tests", "endpoints": [], "id": GROUP_ID, "name": "Tests"}
OTHER: dict[str, object] = {"uid": FIRST_UID, "group": "other", "endpoints": [], "id": "ag-2", "name": "Other"}
