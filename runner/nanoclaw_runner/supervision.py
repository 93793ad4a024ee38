"""What systemd hears from this runner: READY, the watchdog, a STATUS line, STOPPING.

The watchdog is fed by the event loop alone, whatever the model does: a slow model is no hang, a blocked loop is. That a
provider has gone silent is a separate judgement with its own bound.
"""

import asyncio
import logging
from collections.abc import Callable

import sdnotify

_log = logging.getLogger(__name__)

MAX_STATUS_CHARACTERS = 200
STATUS_SPACING_SECONDS = 1.0
_LONGEST_TIMER_SECONDS = 3600.0
STATUS_BURST = 4
"""So many lines may follow at once (a turn begins right after the start), then one a second."""


def clean_status(text: str) -> str:
    """Return a status of one bounded line without control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown[:MAX_STATUS_CHARACTERS]


class Supervision:
    """Speaks sd_notify from the running loop."""

    def __init__(self, notifier: sdnotify.SystemdNotifier, watchdog_seconds: float | None) -> None:
        """Prepare; nothing is sent before :meth:`ready`.

        Args:
            notifier: speaks to NOTIFY_SOCKET.
            watchdog_seconds: the unit's watchdog interval; None: it has none.
        """
        self._notifier = notifier
        self._watchdog_seconds = watchdog_seconds
        self._loop = asyncio.get_running_loop()
        self._describe: Callable[[], str] = lambda: "starting"
        self._last_status = ""
        self._status_allowance = float(STATUS_BURST)
        self._status_counted_at = self._loop.time()
        self._status_timer: asyncio.TimerHandle | None = None
        self._silence_seconds = 0.0
        self._last_sign = 0.0
        self._silence_timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Say that the session can be talked to, and begin to feed the watchdog."""
        self._notifier.notify("READY=1")
        # From here on a full or dead notify socket must not hold the loop up.
        if self._notifier.socket is not None:
            self._notifier.socket.setblocking(False)
        self._feed_watchdog()

    def stopping(self) -> None:
        """Say that the runner ends by itself."""
        self._notifier.notify("STOPPING=1\nSTATUS=idle, ending")

    def status(self, describe: Callable[[], str]) -> None:
        """Show what is being done; the words are asked for again whenever a line is sent."""
        self._describe = describe
        if self._status_timer is not None:
            self._status_timer.cancel()
            self._status_timer = None
        now = self._loop.time()
        earned = (now - self._status_counted_at) / STATUS_SPACING_SECONDS
        self._status_allowance = min(self._status_allowance + earned, STATUS_BURST)
        self._status_counted_at = now
        if self._status_allowance < 1:
            wait = (1 - self._status_allowance) * STATUS_SPACING_SECONDS
            self._status_timer = self._loop.call_later(wait, self._send_status)
            return
        self._send_status()

    def watch_silence(self, seconds: float) -> None:
        """Begin to judge the provider: without a sign for so many seconds the turn has stalled."""
        self._silence_seconds = seconds
        self.sign_of_life()
        self.stop_watching()
        self._check_silence()

    def allow(self, seconds: float) -> None:
        """Judge from now on by another bound: while a tool runs, by the tool's; ``inf``: not at all."""
        self._silence_seconds = seconds
        self.sign_of_life()
        if self._silence_timer is not None:
            self.stop_watching()
            self._check_silence()

    def sign_of_life(self) -> None:
        """Note that the provider did something; its turn's status is shown anew within a second."""
        self._last_sign = self._loop.time()
        if self._status_timer is None:
            self._status_timer = self._loop.call_later(STATUS_SPACING_SECONDS, self._send_status)

    def stop_watching(self) -> None:
        """Stop judging the provider."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    def _feed_watchdog(self) -> None:
        if self._watchdog_seconds is None:
            return
        self._notifier.notify("WATCHDOG=1")
        self._loop.call_later(self._watchdog_seconds / 2, self._feed_watchdog)
        # A turn's status counts its seconds; the ping is the occasion to show them without a timer of its own.
        if self._status_timer is None:
            self._send_status()

    def _send_status(self) -> None:
        self._status_timer = None
        words = clean_status(self._describe())
        if words == self._last_status:
            return
        self._last_status = words
        self._status_allowance -= 1
        self._notifier.notify(f"STATUS={words}")

    def _check_silence(self) -> None:
        quiet = self._loop.time() - self._last_sign
        if quiet < self._silence_seconds:
            wait = min(self._silence_seconds - quiet, _LONGEST_TIMER_SECONDS)
            self._silence_timer = self._loop.call_later(wait, self._check_silence)
            return
        self._silence_timer = None
        _log.error("stalled: the provider gave no sign for %.0f s", quiet)
        self._notifier.notify(f"STATUS=stalled: the provider gave no sign for {quiet:.0f} s\nWATCHDOG=trigger")
