"""Has a service take what is stored: systemd gives a service its credentials when it starts, and only then."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nanoclawd.control.values import Taken
from nanoclawd.credentials.names import DAEMON, GATEWAY, Name
from nanoclawd.errors import NanoclawError

NETWORK_DROP_IN: Final = Path("/run/systemd/generator/nanoclawd.service.d/20-network.conf")
"""What nanoclawd-generator writes while the daemon has a credential; see units/."""

_SYSTEMCTL: Final = ("/usr/bin/systemctl", "--no-ask-password")
_RESTART_SECONDS: Final = 150.0
"""Longer than stopping and starting the daemon may take (its unit's TimeoutStopSec= and TimeoutStartSec=)."""

log = logging.getLogger(__name__)


class Consumers:
    """The services that use credentials, told by systemctl."""

    def __init__(self, systemctl: Sequence[str] = _SYSTEMCTL, network_drop_in: Path = NETWORK_DROP_IN) -> None:
        self._systemctl = tuple(systemctl)
        self._network_drop_in = network_drop_in

    async def take(self, name: Name, *, daemon_has_some: bool) -> Taken:
        """Restart the service that a credential is for; never raises: what was stored stays stored.

        Args:
            name: of the credential that was stored or removed.
            daemon_has_some: whether any credential of the daemon is stored, which decides about its network.
        """
        try:
            return await self._take(name, daemon_has_some=daemon_has_some)
        except NanoclawError as error:
            log.error("%s did not take %s: %s", name.consumer, name.text, error)  # noqa: TRY400  # a stack says nothing
            return Taken.FAILED

    async def _take(self, name: Name, *, daemon_has_some: bool) -> Taken:
        if name.consumer == DAEMON and self._network_drop_in.exists() != daemon_has_some:
            # Its unit changes with its first credential and with its last one.
            await self._run("daemon-reload")
        if await self._state(name.unit) in {"inactive", "failed", "deactivating"}:
            return Taken.STOPPED
        if name.consumer == GATEWAY:
            # It lets running answers end, which may take a minute. Who asks meanwhile waits in its socket's queue.
            await self._run("--no-block", "try-restart", name.unit)
            return Taken.RESTARTING
        await self._run("try-restart", name.unit)
        return Taken.RESTARTED

    async def _state(self, unit: str) -> str:
        return await self._run("show", "--value", "--property=ActiveState", unit)

    async def _run(self, *words: str) -> str:
        """Run systemctl and return what it says.

        Raises:
            NanoclawError: it failed or took too long.
        """
        process = await asyncio.create_subprocess_exec(
            *(*self._systemctl, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_RESTART_SECONDS):
                output, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NanoclawError(f"systemctl {words[-1]} did not end within {_RESTART_SECONDS:g} s") from None
        if process.returncode != 0:
            raise NanoclawError(
                " ".join(said.decode(errors="replace").split()) or f"systemctl {' '.join(words)} failed"
            )
        return output.decode(errors="replace").strip()
