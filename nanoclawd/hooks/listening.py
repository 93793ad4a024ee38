"""Whether anything listens for hooks, and where: systemd knows, whatever drop-ins say."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from nanoclawd.errors import NanoclawError
from nanoclawd.supervision.user_manager import UnitState

log = logging.getLogger(__name__)

SOCKET: Final = "nanoclaw-hooks.socket"
ENABLE: Final = f"sudo systemctl enable --now {SOCKET}"
_DEFAULT: Final = "127.0.0.1:8642"
_PATIENCE_SECONDS: Final = 5.0


class Manager(Protocol):
    """What is needed of :class:`~nanoclawd.supervision.user_manager.UserManager`, on the system's bus."""

    async def start(self) -> None:
        """Begin to keep a connection."""

    async def stop(self) -> None:
        """Let it go."""

    async def state(self, unit: str) -> UnitState:
        """Read a unit's state now."""

    async def addresses(self, unit: str) -> tuple[str, ...]:
        """Return where a socket unit listens, or would."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where hooks are reached from this machine, and whether they are."""

    base: str
    active: bool

    def url_of(self, name: str) -> str:
        """Return the URL of a hook."""
        return f"{self.base}/hooks/{name}"


async def listening(manager: Callable[[], Manager]) -> Listening:
    """Ask systemd; where that can't be, say what its unit says by default, and that it is not known to listen."""
    system = manager()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await system.start()
            state = await system.state(SOCKET)
            addresses = await system.addresses(SOCKET)
    except (NanoclawError, TimeoutError) as error:
        log.warning("whether hooks can be reached is not known: %s", error)
        return Listening(f"http://{_DEFAULT}", active=False)
    finally:
        await system.stop()
    return Listening(base_url(addresses), state.active == "active")


def base_url(addresses: tuple[str, ...]) -> str:
    """Return how the first of a socket unit's addresses is typed into a browser on this machine.

    >>> base_url(("[::]:8642",)), base_url(("/run/x.sock", "10.0.0.5:80"))
    ('http://[::1]:8642', 'http://10.0.0.5:80')
    """
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            ip = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            continue
        if ip.is_unspecified:
            ip = ipaddress.ip_address("::1" if isinstance(ip, ipaddress.IPv6Address) else "127.0.0.1")
        return f"http://[{ip}]:{port}" if isinstance(ip, ipaddress.IPv6Address) else f"http://{ip}:{port}"
    return f"http://{_DEFAULT}"
