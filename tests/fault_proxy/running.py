"""The proxy for tests that have no loop: it runs in one of its own, in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from fault_proxy.proxy import FaultProxy, Weather


class RunningProxy:
    """A :class:`FaultProxy` that any thread can talk to."""

    def __init__(self, upstream: int, port: int = 0) -> None:
        """Prepare.

        Args:
            upstream: the server's port on 127.0.0.1.
            port: where to listen; 0: anywhere.
        """
        self._proxy = FaultProxy(upstream, port=port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._proxy.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._do(self._proxy.__aexit__(kind, error, stack))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._proxy.port

    @property
    def taken(self) -> int:
        """How many connections were taken so far."""
        return self._proxy.taken

    @property
    def torn(self) -> frozenset[int]:
        """The ports from which the server was asked something last of which the client has not got the answer."""
        return frozenset(self._proxy.torn)

    def change(self, weather: Weather) -> None:
        """Let the weather be another from now on."""
        self._do(self._proxy.change(weather))

    def cut(self, *, reset: bool = False) -> None:
        """End what is open, and take new connections as before."""
        self._do(self._proxy.cut(reset=reset))

    def _do[Result](self, call: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(30)
