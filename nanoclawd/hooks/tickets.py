"""Tickets for ``ncl hooks test``: each lets one request in, so that the way is tried without anybody's secret."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from nanoclawd.hooks.proof import BEARER, DEFAULT_HEADER, hashed, new_secret, token_of

LASTS_SECONDS: Final = 60.0
_MOST: Final = 100


class Tickets:
    """Those that were issued and not used; in memory."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open: dict[str, tuple[str, float]] = {}

    def issue(self, hook_id: str) -> str:
        """Return a token that lets one request in within a minute."""
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        ticket = new_secret()
        self._open[hashed(ticket)] = (hook_id, self._now() + LASTS_SECONDS)
        return ticket

    def redeem(self, hook_id: str, headers: Mapping[str, str]) -> bool:
        """Tell whether a request brings a ticket for this hook, and use it up."""
        if not self._open:
            return False
        token = hashed(token_of(headers, DEFAULT_HEADER[BEARER]))
        if self._open.get(token, ("", 0.0))[0] != hook_id:
            return False
        _, until = self._open.pop(token)
        return self._now() < until
