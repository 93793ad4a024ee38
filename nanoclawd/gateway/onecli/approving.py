"""What OneCLI holds until somebody decides: each is asked about once, at the same time as others, and told OneCLI."""

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from nanoclawd.gateway.onecli.client import OneCliClient, OneCliError
from nanoclawd.gateway.onecli.messages import ApprovalRequest

MAX_AT_ONCE: Final = 50
"""More than these wait at OneCLI, whose time for them runs; it says no to what nobody has decided."""

MARGIN_SECONDS: Final = 1.0
"""Nobody can decide any more so long before OneCLI's own time is over."""

LEAST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 5.0
"""Until OneCLI is told again what it could not be told."""


log = logging.getLogger(__name__)


class Asker(Protocol):
    """Has a person decide."""

    async def decide(self, request: ApprovalRequest, seconds: float) -> bool:
        """Return whether it is approved: by somebody, within a time. Never raises but when cancelled."""


class Approvals:
    """All that is being decided; implements :class:`~nanoclawd.gateway.onecli.link.Approving`."""

    def __init__(self, client: OneCliClient, asker: Asker, *, pause: float = PAUSE_SECONDS) -> None:
        self._client = client
        self._asker = asker
        self._pause = pause
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def in_flight(self) -> frozenset[str]:
        """The ids of what is being decided."""
        return frozenset(self._tasks)

    def take(self, gateway: str, requests: tuple[ApprovalRequest, ...]) -> bool:
        """Begin to ask about each that is new; tell whether there was one."""
        before = len(self._tasks)
        for request in requests:
            if request.id in self._tasks or len(self._tasks) >= MAX_AT_ONCE:
                continue
            task = asyncio.create_task(self._one(gateway, request))
            self._tasks[request.id] = task
            task.add_done_callback(partial(self._ended, request.id))
        return len(self._tasks) > before

    def _ended(self, request_id: str, _task: asyncio.Task[None]) -> None:
        self._tasks.pop(request_id, None)

    async def close(self) -> None:
        """Withdraw everything, and wait until that is done."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, gateway: str, request: ApprovalRequest) -> None:
        approve = await self._asker.decide(request, seconds_left(request.expires_at))
        words = f"a request to {request.host[:255]!r} was {'approved' if approve else 'denied'}"
        while True:
            try:
                counted = await self._client.decide(gateway, request.id, approve=approve)
            except OneCliError as error:
                if seconds_left(request.expires_at) <= LEAST_SECONDS:
                    log.warning("%s, and OneCLI could not be told: %s", words, error.message)
                    return
                # It tells nobody when it is back, and forgets the request when its time is over.
                await asyncio.sleep(self._pause)
                continue
            log.info("%s%s", words, "" if counted else ", too late for OneCLI")
            return


def seconds_left(expires_at: str) -> float:
    """Return how long somebody may think about it.

    >>> seconds_left("not a time")
    1.0
    """
    try:
        moment = datetime.fromisoformat(expires_at)
    except ValueError:
        return LEAST_SECONDS
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = (moment - datetime.now(UTC)).total_seconds() - MARGIN_SECONDS
    return min(max(left, LEAST_SECONDS), _MOST_SECONDS)
