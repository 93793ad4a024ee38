"""Knows how it stands with the gateway outside, as our gateway tells it, and holds the groups that depend on it.

The daemon asks, by the socket that agents use: asking starts the gateway where it does not run, and a gateway that
restarts is found by its connection's end. Nothing is asked twice while a connection stands.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.egress.outside import MAX_LINE_BYTES, STATE_PATH, Outside
from nanoclawd.supervision.admission import Admission, Hold

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 20.0
"""A gateway that starts, restarts or begins to reach OneCLI has so long until people are told that it does not work."""

_OK: Final = b"HTTP/1.1 200"
_SILENT: Final = Outside(
    "away", "the appliance's gateway does not answer", "systemctl status nanoclaw-gateway.socket nanoclaw-gateway"
)
_STARTING: Final = Outside("starting", "the appliance's gateway is being reached")

log = logging.getLogger(__name__)


class OutsideWatch:
    """Watches, and has the admission hold groups.

    Attributes:
        state: how it stands.
    """

    def __init__(
        self,
        socket: Path,
        admission: Admission,
        concerns: Callable[[str], bool],
        *,
        first_pause: float = FIRST_PAUSE_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Prepare.

        Args:
            socket: our gateway's.
            admission: told whom to hold.
            concerns: tells of a group whether it can go anywhere through the gateway outside.
            first_pause: seconds until the gateway is asked again after it has gone; longer each time.
            patience: see :data:`PATIENCE_SECONDS`.
        """
        self.state = _STARTING
        self._socket = socket
        self._admission = admission
        self._concerns = concerns
        self._first_pause = first_pause
        self._patience = patience
        self._outage = ""
        self._late: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Hold whom it concerns until the gateway has said that it works, and begin to ask."""
        self._see(_STARTING)
        self._task = asyncio.create_task(self._watch(), name="the gateway outside")

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
        if self._late is not None:
            self._late.cancel()

    async def _watch(self) -> None:
        pause = self._first_pause
        while True:
            try:
                async for state in _told(self._socket):
                    pause = self._first_pause
                    self._see(state)
            except (OSError, EOFError, ValueError) as error:
                log.debug("the gateway does not say how it stands: %s", error)
            if self.state.state == "ready":
                self._see(_STARTING)
            # It is another program, which systemd starts again; nothing tells when.
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _see(self, state: Outside) -> None:
        if state.state != "starting":
            self._patient(None)
        elif self.state.state == "away":
            return  # who was told that it does not work hears of it when it does
        elif self._late is None:
            self._patient(_SILENT)
        before, self.state = self.state, state
        if state.state == "ready":
            self._outage = ""
            self._admission.hold(None)
        else:
            if state.state == "away":
                self._outage = self._outage or now_text()
            self._admission.hold(Hold(state.reason, self._concerns, self._outage))
        if (before.state, before.reason) != (state.state, state.reason):
            if state.state == "ready":
                log.info("OneCLI is there: agents that may go out are woken")
            elif state.state == "away":
                log.warning("messages to agents that may go out are held: %s", state.reason)

    def _patient(self, then: Outside | None) -> None:
        """Say something when the patience is at its end, or nothing any more."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if then is not None:
            self._late = asyncio.get_running_loop().call_later(self._patience, self._lost, then)

    def _lost(self, then: Outside) -> None:
        self._late = None
        self._see(then)


async def _told(socket: Path) -> AsyncIterator[Outside]:
    """Ask the gateway; yield what it tells, until it ends.

    Raises:
        OSError, EOFError, ValueError: it is not there, or does not speak as it should.
    """
    reader, writer = await asyncio.open_unix_connection(socket, limit=MAX_LINE_BYTES)
    try:
        writer.write(f"GET {STATE_PATH} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(_OK) or b"transfer-encoding: chunked" not in head.lower():
            raise ValueError(head[:60])
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            if not 0 < size <= MAX_LINE_BYTES:
                return
            piece = (await reader.readexactly(size + 2))[:-2]
            for line in piece.splitlines():
                yield msgspec.json.decode(line, type=Outside)
    finally:
        writer.close()
