"""What the agent's programs need to know to get out of the container: the standard variables, naming the forwarder."""

import logging
from pathlib import Path
from typing import Final

from nanoclaw_runner.forwarder import Forwarder

_log = logging.getLogger(__name__)

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_OWN: Final = "localhost,127.0.0.1,::1"
"""The container's own loopback is reached without the gateway."""

_MANNERS: Final = {
    # What asks for things that nobody has asked for would be refused, and look like a fault.
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "NPM_CONFIG_UPDATE_NOTIFIER": "false",
    # Nobody is there to type a password.
    "GIT_TERMINAL_PROMPT": "0",
    # Node's own fetch looks at the others only then.
    "NODE_USE_ENV_PROXY": "1",
}


class WayOut:
    """Opens the forwarder when something is started that could use it."""

    def __init__(self, gateway: Path) -> None:
        self.forwarder = Forwarder(gateway)

    async def variables(self) -> dict[str, str]:
        """Return the variables for a program of the agent's; none where the container has no loopback."""
        try:
            return variables(await self.forwarder.open())
        except OSError as error:
            _log.warning("there is no way out for the agent's programs: %s", error)
            return {}


def variables(address: str) -> dict[str, str]:
    """Return the variables that name a proxy.

    ALL_PROXY is an http:// address like the others: a socks5h:// one would keep Python's httpx from starting where a
    library for it is missing. Who wants SOCKS finds it at the same port.
    """
    proxies = dict.fromkeys(_PROXIES, address) | {"NO_PROXY": _OWN}
    # Curl and git read the small ones only, other programs the large ones only.
    return {**proxies, **{name.lower(): value for name, value in proxies.items()}, **_MANNERS}
