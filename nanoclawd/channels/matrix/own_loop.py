"""An event loop in a thread of its own, for all Matrix channels.

The Matrix library keeps its keys in SQLite and checks each event against a schema, all of it in the loop that calls it.
In the daemon's own loop that would hold up everybody's messages. One thread for all accounts, as the library's tables
(peewee's models) are bound to one account's database at a time, for the whole process.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, cast

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Host
from nanoclawd.routing.event import InboundEvent


class OwnLoop:
    """Runs coroutines in its thread. Borrowed, used and given back by one other loop."""

    _shared: ClassVar["OwnLoop | None"] = None

    def __init__(self) -> None:
        self._users = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="matrix", daemon=True)
        self._thread.start()

    @classmethod
    def borrow(cls) -> "OwnLoop":
        """Return the one that there is, made if nobody has it yet."""
        if cls._shared is None:
            cls._shared = cls()
        own = cls._shared
        own._users += 1  # noqa: SLF001  # its own
        return own

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
                with contextlib.suppress(BaseException):
                    self._loop.run_until_complete(task)
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def run[Result](self, call: Coroutine[Any, Any, Result]) -> Result:
        """Return a coroutine's result; cancelled here, it is cancelled there."""
        outcome = _outcome(call)
        try:
            future = asyncio.run_coroutine_threadsafe(outcome, self._loop)
        except RuntimeError:
            outcome.close()
            call.close()
            raise
        result, error = await asyncio.wrap_future(future)
        if error is not None:
            raise error
        return cast("Result", result)

    def start_soon(self, call: Callable[[], object]) -> None:
        """Call something there, without waiting; nothing happens after the stop."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    async def give_back(self) -> None:
        """Use it no more; after the last one the thread ends."""
        self._users -= 1
        if self._users == 0:
            OwnLoop._shared = None
            self.start_soon(self._loop.stop)
            await asyncio.to_thread(self._thread.join)


async def _outcome[Result](call: Coroutine[Any, Any, Result]) -> tuple[Result | None, Exception | None]:
    """Return what a call has come to: its result, or its error.

    An error that its task raised, and that nobody waits for any more, would be told to the journal with its traceback.
    """
    try:
        return await call, None
    except Exception as error:
        return None, error


class HostElsewhere:
    """The appliance's :class:`~nanoclawd.channels.adapter.Host`, called from another loop than its own."""

    def __init__(self, host: Host, own: OwnLoop) -> None:
        self._host = host
        self._own = own
        self._home = asyncio.get_running_loop()

    async def message(self, event: InboundEvent) -> None:
        """As the host's own."""
        await self._there(self._host.message(event))

    async def chat_named(self, chat: Address, name: str | None, *, is_group: bool | None = None) -> None:
        """As the host's own."""
        await self._there(self._host.chat_named(chat, name, is_group=is_group))

    async def chat_moved(self, chat: Address, platform_id: str) -> None:
        """As the host's own."""
        await self._there(self._host.chat_moved(chat, platform_id))

    async def handle(self, event_id: str, raw: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """As the host's own; ``work`` runs in the own loop."""
        return await self._there(self._host.handle(event_id, raw, lambda: self._own.run(work())))

    def reachable_again(self, address: Address) -> None:
        """As the host's own."""
        self._soon(self._host.reachable_again, address)

    def lost(self, reason: str) -> None:
        """As the host's own."""
        self._soon(self._host.lost, reason)

    def _soon(self, call: Callable[[Any], None], argument: object) -> None:
        with contextlib.suppress(RuntimeError):  # the daemon ends
            self._home.call_soon_threadsafe(call, argument)

    async def _there[Result](self, call: Awaitable[Result]) -> Result:
        async def awaited() -> Result:
            return await call

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaited(), self._home))
