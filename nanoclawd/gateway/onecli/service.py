"""Everything of OneCLI in the gateway, from its start to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from nanoclawd.config import OneCli
from nanoclawd.gateway.credentials import Credentials
from nanoclawd.gateway.onecli.approving import Approvals, Asker
from nanoclawd.gateway.onecli.client import OneCliClient
from nanoclawd.gateway.onecli.link import PAUSE_SECONDS, STANDS_AFTER_SECONDS, Link
from nanoclawd.gateway.onecli.through import Through
from nanoclawd.gateway.policy import AgentDirectory
from nanoclawd.gateway.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Service:
    """What the rest of the gateway uses.

    Attributes:
        link: how it stands.
        through: connections by way of it.
    """

    link: Link
    through: Through


@asynccontextmanager
async def serving(
    settings: OneCli,
    credentials: Credentials,
    agents: AgentDirectory,
    asker: Asker,
    trust: Callable[[str], None],
    *,
    pause: float = PAUSE_SECONDS,
    stands_after: float = STANDS_AFTER_SECONDS,
) -> AsyncIterator[Service]:
    """Keep the link until the block ends; the parameters are those of :class:`Link`."""
    key = None
    with suppress(Refusal):  # the first request will be refused, and say so
        key = credentials.key(settings.credential) if settings.credential is not None else None
    async with OneCliClient(settings, key) as client:
        approvals = Approvals(client, asker, pause=pause)
        link = Link(settings, client, agents, approvals, trust, pause=pause, stands_after=stands_after)
        running = asyncio.create_task(link.run())
        try:
            yield Service(link, Through(link))
        finally:
            link.end()
            running.cancel()
            await asyncio.wait({running})
            link.forget_all()
            await approvals.close()
