"""What an agent group's requests need at OneCLI's proxy: where it is, and the agent's own token; made when needed."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from nanoclawd.config import OneCli
from nanoclawd.gateway.onecli.client import OneCliError
from nanoclawd.gateway.onecli.messages import ContainerConfig

CONTAINERS_WORD: Final = "host.docker.internal"
"""What Docker's containers call the machine that they run on: it means OneCLI's own machine."""

_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_MAX_TOKEN_CHARACTERS: Final = 4096
_DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Access:
    """An agent's way through OneCLI.

    Attributes:
        host: of its proxy.
        port: of its proxy.
        authorization: the value of Proxy-Authorization: the agent's token. Never shown.
    """

    host: str
    port: int
    authorization: str = field(repr=False)


def read_access(given: ContainerConfig, settings: OneCli, gateway: str) -> Access:
    """Return what a container's configuration says of the proxy.

    Args:
        given: the configuration.
        settings: whose ``proxy`` is stronger.
        gateway: OneCLI's gateway, as it says itself; it is where a container's word for its machine leads.

    Raises:
        OneCliError: it says nothing that can be used.
    """
    text = next((given.env[name] for name in _VARIABLES if given.env.get(name)), "")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORT
        user, token = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        host = user = token = ""
        port = 0
    if not host or not token or parts.scheme != "http":
        raise OneCliError("OneCLI's container configuration names no http:// proxy with a token in HTTPS_PROXY")
    if (
        len(user) + len(token) > _MAX_TOKEN_CHARACTERS
        or not (user + token).isascii()
        or not (user + token).isprintable()
    ):
        raise OneCliError("OneCLI's token for the agent can't be sent in a header")
    if settings.proxy is not None:
        host, port = _place(settings.proxy)
    elif host.lower() == CONTAINERS_WORD:
        host = _place(gateway)[0]
    pair = base64.b64encode(f"{user}:{token}".encode()).decode()
    return Access(host, port, f"Basic {pair}")


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else _DEFAULT_PORT)
    except ValueError:
        raise OneCliError("OneCLI's address of its gateway can't be read") from None


def checked_certificate(pem: str) -> str:
    """Return an authority's certificate as one PEM block, and nothing beside it.

    Raises:
        OneCliError: it is none.
    """
    head, foot = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    begin, end = pem.find(head), pem.find(foot)
    try:
        if begin < 0 or end < begin:
            raise ValueError(pem)
        body = "".join(pem[begin + len(head) : end].split())
        base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise OneCliError("OneCLI's container configuration has no certificate of its authority") from None
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([head, *lines, foot, ""])
