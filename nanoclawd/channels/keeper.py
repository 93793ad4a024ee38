"""Keeps one channel up: makes its adapter, sets it up, and does so again for ever when that fails or it is lost."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities, ChannelAdapter, Health, HealthState, Inbound
from nanoclawd.channels.attempts import Attempts
from nanoclawd.channels.bounded import bounded
from nanoclawd.channels.guard import GuardedInbound
from nanoclawd.channels.words import in_words, one_line
from nanoclawd.errors import InvalidName, NanoclawError, Refused, Unavailable
from nanoclawd.journal import Event, about

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 100_000
_DISABLED: Final = "what is said there waits until it is enabled"
_LOGGED: Final = {HealthState.OK: "up", HealthState.STARTING: "starting", HealthState.DISABLED: "disabled"}
"""States that are no fault, in the journal's words."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take and how soon they are tried again, in seconds.

    Attributes:
        setup: one attempt to connect.
        teardown: one attempt to disconnect.
        call: a question to the platform.
        first_retry: wait after the first failure; doubled with each further one.
        longest_retry: and never longer than this.
        settled: a channel that was up for so long begins with the first wait again.
    """

    setup: float = 60.0
    teardown: float = 10.0
    call: float = 20.0
    first_retry: float = 1.0
    longest_retry: float = 300.0
    settled: float = 60.0


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel is.

    Attributes:
        since: when it came into the state in which it is.
        next_try: when a channel that is down is set up again; None: now, or never.
        last_event: when somebody last said or chose something there; None: not since the daemon started.
        last_error: why it was down the last time, and when that began; empty: it was not.
        set_aside: how many events were given up because they made the daemon fail.
    """

    name: str
    type: str
    platform: str
    health: Health
    since: str
    next_try: str | None
    capabilities: Capabilities
    last_event: str | None = None
    last_error: str = ""
    last_error_at: str | None = None
    set_aside: int = 0


class ChannelKeeper:
    """One configured channel, for as long as the daemon runs."""

    def __init__(
        self, name: str, kind: str, make: Callable[[], Awaitable[ChannelAdapter]], pace: Pace, attempts: Attempts
    ) -> None:
        """Prepare; ``make`` may take its time, raises InvalidName for what only another configuration mends."""
        self.attempts = attempts
        self.name = name
        self._kind = kind
        self._make = make
        self._pace = pace
        self._made: ChannelAdapter | None = None
        self._guard: GuardedInbound | None = None
        self._task: asyncio.Task[None] | None = None
        self._health = Health(HealthState.STARTING)
        self._since = now_text()
        self._next_try: str | None = None
        self._last_event: str | None = None
        self._last_error = ""
        self._last_error_at: str | None = None
        self._waiting: dict[Address, None] = {}
        self._came_up: Callable[[str], None] = lambda _name: None
        self._hurry = asyncio.Event()
        self._decided = asyncio.Event()
        self.up = asyncio.Event()
        """Set while the adapter is set up."""
        self.made = asyncio.Event()
        """Set once the adapter was made: what the platform can is known, and does not change any more."""

    @property
    def adapter(self) -> ChannelAdapter | None:
        """The adapter while it is set up."""
        return self._made if self.up.is_set() else None

    @property
    def capabilities(self) -> Capabilities:
        """What the platform can; the defaults until the adapter was made."""
        return self._made.capabilities if self._made is not None else Capabilities()

    @property
    def platform(self) -> str:
        """The platform's name; the type's until the adapter was made, which is mostly the same."""
        return self._made.platform if self._made is not None else self._kind

    def start(self, inbound: Inbound, came_up: Callable[[str], None]) -> None:
        """Begin; returns at once. ``came_up`` is told the name after every successful setup."""
        self._came_up = came_up
        self._say(Health(HealthState.STARTING))
        self._task = asyncio.create_task(self._keep(inbound), name=f"channel {self.name}")

    async def stop(self) -> None:
        """Disconnect. Never raises."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        self._next_try = None
        await self._take_down()
        self._decide()

    async def disable(self) -> None:
        """Disconnect until it is started again; what is to be delivered there waits. Never raises."""
        await self.stop()
        self._say(Health(HealthState.DISABLED, _DISABLED))

    async def remake(self, make: Callable[[], Awaitable[ChannelAdapter]]) -> None:
        """Disconnect, and forget the adapter: the next one is made anew. Never raises."""
        await self.stop()
        self._make, self._made = make, None
        self.made.clear()

    async def outcome(self) -> None:
        """Return once it is known whether the channel works: after the attempt to set it up that is under way.

        Where the next one is some time away, it is made at once.
        """
        if self.up.is_set() or self._task is None or self._task.done():
            return
        decided = self._decided
        if self._next_try is not None:
            self._hurry.set()
        await decided.wait()

    def give_up_waiting(self, inbound: Inbound) -> None:
        """Have what waits for the channel tried, and so fail: the channel is gone for good."""
        waiting, self._waiting = self._waiting, {}
        for address in waiting:
            inbound.reachable_again(address)

    def state(self) -> ChannelState:
        """Return how the channel is."""
        health = self._health
        adapter = self.adapter
        if adapter is not None:
            try:
                told = adapter.health()
                health = replace(told, detail=one_line(told.detail))
            except Exception as error:
                log.exception("channel %s cannot say how it is", self.name, extra=about(channel=self.name))
                health = Health(HealthState.DEGRADED, f"cannot say how it is: {in_words(error)}")
        return ChannelState(
            self.name,
            self._kind,
            self.platform,
            health,
            self._since,
            self._next_try,
            self.capabilities,
            last_event=self._event_of(self._guard),
            last_error=self._last_error,
            last_error_at=self._last_error_at,
            set_aside=self.attempts.set_aside_count,
        )

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now; who is told no while the channel is down, is told when it is up."""
        adapter = self.adapter
        if adapter is None:
            if len(self._waiting) < _MAX_WAITING:
                self._waiting[address] = None
            return False
        try:
            return adapter.reachable(address)
        except Exception:
            log.exception("channel %s cannot say whom it reaches", self.name, extra=about(channel=self.name))
            return True

    async def ask[Answer](
        self,
        question: Callable[[ChannelAdapter], Awaitable[Answer]],
        *,
        seconds: float | None = None,
        refusable: bool = False,
    ) -> Answer:
        """Return the adapter's answer, within the pace's time unless it is said how long it may take.

        Raises:
            Unavailable: the channel is down, or it failed or took too long.
            Refused: it is ``refusable``, and the adapter refuses it.
        """
        adapter = self.adapter
        if adapter is None:
            raise Unavailable(f"channel {self.name} is not up: {self._health.detail or 'it is starting'}")

        async def call() -> Answer:
            return await question(adapter)

        try:
            return await bounded(call(), seconds or self._pace.call, f"channel {self.name}")
        except Exception as error:
            if refusable and isinstance(error, Refused):
                raise
            raise Unavailable(f"channel {self.name}: {in_words(error)}") from error

    async def _keep(self, inbound: Inbound) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                health, fault = Health(HealthState.FAILED, await self._live(await self._adapter(), inbound)), None
            except _WrongConfigurationError as error:
                self._say(Health(HealthState.FAILED, error.message, error.hint))
                return
            except Exception as error:
                health = Health(
                    HealthState.FAILED, in_words(error), error.hint if isinstance(error, NanoclawError) else None
                )
                fault = None if isinstance(error, NanoclawError | OSError) else error
            if self.up.is_set() and time.monotonic() - began >= self._pace.settled:
                failures = 0
            await self._take_down()
            wait = min(self._pace.first_retry * 2 ** min(failures, 30), self._pace.longest_retry)
            failures += 1
            self._next_try = now_text(plus_seconds=wait)
            self._hurry.clear()
            self._say(health, fault)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._hurry.wait()
            self._next_try = None

    async def _adapter(self) -> ChannelAdapter:
        """Return the adapter, made the first time."""
        if self._made is None:
            try:
                self._made = await bounded(_awaited(self._make()), self._pace.setup, f"making channel {self.name}")
            except InvalidName as error:
                raise _WrongConfigurationError(error.message, hint=error.hint) from error
            await asyncio.to_thread(self.attempts.open)
            self.made.set()
        return self._made

    async def _live(self, adapter: ChannelAdapter, inbound: Inbound) -> str:
        """Set up and wait until the connection is lost; return why."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        guard = GuardedInbound(
            self.name,
            adapter.platform,
            inbound,
            lambda reason: None if lost.done() else lost.set_result(reason),
            self.attempts,
        )
        self._guard = guard
        await bounded(adapter.setup(guard), self._pace.setup, f"setup of channel {self.name}")
        self.up.set()
        self._say(Health(HealthState.OK))
        waiting, self._waiting = self._waiting, {}
        for address in waiting:
            guard.reachable_again(address)
        self._came_up(self.name)
        return await lost

    async def _take_down(self) -> None:
        self.up.clear()
        if self._guard is None or self._made is None:
            return
        self._guard.closed = True
        self._last_event = self._event_of(self._guard)
        self._guard = None
        try:
            await bounded(self._made.teardown(), self._pace.teardown, f"teardown of channel {self.name}")
        except Exception:
            log.exception("channel %s was not torn down in good order", self.name, extra=about(channel=self.name))

    def _event_of(self, guard: GuardedInbound | None) -> str | None:
        return (guard.last_event if guard is not None else None) or self._last_event

    def _decide(self) -> None:
        """Let those go who wait for the outcome of an attempt."""
        decided, self._decided = self._decided, asyncio.Event()
        decided.set()

    def _say(self, health: Health, fault: Exception | None = None) -> None:
        """Note how the channel is, and log what is new about it, with the stack of what nobody expected."""
        before, self._health = self._health, health
        if before.state is not health.state:
            self._since = now_text()
        if health.state is not HealthState.STARTING:
            self._decide()
        if before == health:
            return
        if health.state in _LOGGED:
            log.info("channel %s is %s", self.name, _LOGGED[health.state], extra=about(channel=self.name))
            return
        self._last_error, self._last_error_at = health.detail, now_text()
        log.error(
            "channel %s is down: %s%s",
            self.name,
            health.detail,
            "" if self._next_try is None else "; it is tried again",
            exc_info=fault,
            extra=about(channel=self.name, event=Event.CHANNEL_DOWN),
        )


class _WrongConfigurationError(NanoclawError):
    """The adapter cannot be made of these options, however often it is tried."""


async def _awaited[Result](made: Awaitable[Result]) -> Result:
    return await made
