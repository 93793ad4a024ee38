"""Behind io.nanoclaw.Requests: what agents ask for, and somebody decides about."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from nanoclawd.control.values import HeldRequest, RequestAnswer


class RequestsBackend(Protocol):
    """Behind io.nanoclaw.Requests."""

    async def hold(self, request: HeldRequest, tell: Callable[[RequestAnswer], Awaitable[None]]) -> RequestAnswer:
        """Return what becomes of a request, once that is decided; ``tell`` is told before that it is asked.

        Cancelled, nobody waits for it any more.
        """
