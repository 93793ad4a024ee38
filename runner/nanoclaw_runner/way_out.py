"""What the agent's programs need to know to get out of the container: the standard variables, naming the forwarder."""

import logging
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.places import GATEWAY_SOCKET, TRUST_BUNDLE
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

_TRUSTING: Final = (
    # OpenSSL, hence Python, Ruby, git's and curl's builds with it; Go; httpx.
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
)
_APT_CONFIG: Final = Path(__file__).parents[1] / "etc" / "apt.conf"
"""Published beside this package; apt knows no variable for what it trusts."""


class WayOut:
    """Opens the forwarder when something is started that could use it."""

    def __init__(self, gateway: Path) -> None:
        self._gateway = gateway
        self.forwarder = Forwarder(gateway)

    async def variables(self) -> dict[str, str]:
        """Return the variables for a program of the agent's; none where the container has no loopback."""
        try:
            return variables(await self.forwarder.open(), self._gateway)
        except OSError as error:
            _log.warning("there is no way out for the agent's programs: %s", error)
            return {}


def variables(address: str, gateway: Path = GATEWAY_SOCKET) -> dict[str, str]:
    """Return the variables that name a proxy, and what is to be trusted on the way through it.

    The gateway makes what is to be trusted when it is first started; before, programs trust what they do anyway.
    ALL_PROXY is an http:// address like the others: a socks5h:// one would keep Python's httpx from starting where a
    library for it is missing. Who wants SOCKS finds it at the same port.
    """
    proxies = dict.fromkeys(_PROXIES, address) | {"NO_PROXY": _OWN}
    # Curl and git read the small ones only, other programs the large ones only.
    found = {**proxies, **{name.lower(): value for name, value in proxies.items()}, **_MANNERS}
    bundle = gateway.parent / TRUST_BUNDLE.relative_to(GATEWAY_SOCKET.parent)
    if bundle.is_file():
        found |= dict.fromkeys(_TRUSTING, str(bundle))
        if _APT_CONFIG.is_file():
            found["APT_CONFIG"] = str(_APT_CONFIG)
    return found
