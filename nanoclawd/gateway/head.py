"""Which headers go through, each way: closed sets by the endpoint's API, and the key that is put in.

What a container adds beyond them (authorization, cookies, forwarding headers) ends here.
"""

from collections.abc import Mapping
from typing import Final

from nanoclawd.config import Endpoint
from nanoclawd.gateway.credentials import Credentials

OAUTH_BETA: Final = "oauth-2025-04-20"
"""What Anthropic's API wants to see beside a token instead of a key."""

_BETA: Final = "Anthropic-Beta"
_REQUEST: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("Accept", "Content-Type"),
    "anthropic": ("Accept", "Content-Type", "Anthropic-Version", _BETA),
    "mcp": ("Accept", "Content-Type", "Mcp-Session-Id", "Mcp-Protocol-Version", "Last-Event-Id"),
}
_ANSWER: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("Content-Type", "Content-Encoding", "Cache-Control", "Retry-After", "X-Request-Id"),
    "anthropic": (
        *("Content-Type", "Content-Encoding", "Cache-Control", "Retry-After", "Request-Id", "X-Should-Retry"),
    ),
    "mcp": ("Content-Type", "Content-Encoding", "Cache-Control", "Retry-After", "Mcp-Session-Id"),
}
_ANSWER_PREFIX: Final = {"anthropic": "anthropic-ratelimit-"}


def of_request(sent: Mapping[str, str], endpoint: Endpoint, credentials: Credentials) -> dict[str, str]:
    """Return the headers that an endpoint gets.

    Raises:
        Refusal: its key is not stored.
    """
    headers = {name: sent[name] for name in _REQUEST[endpoint.api] if name in sent}
    # The body goes through as it comes, and it must be readable for redaction and for streaming.
    headers["Accept-Encoding"] = "identity"
    headers["User-Agent"] = "nanoclawd"
    if endpoint.credential is None:
        return headers
    key, scheme = credentials.key(endpoint.credential), endpoint.scheme()
    if scheme == "x-api-key":
        headers["X-Api-Key"] = key
        return headers
    headers["Authorization"] = f"Bearer {key}"
    if scheme == "oauth":
        flags = [flag for flag in headers.get(_BETA, "").split(",") if flag and flag != OAUTH_BETA]
        headers[_BETA] = ",".join([*flags, OAUTH_BETA])
    return headers


def of_answer(given: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """Return the headers that the caller gets."""
    headers = {name: given[name] for name in _ANSWER[endpoint.api] if name in given}
    prefix = _ANSWER_PREFIX.get(endpoint.api)
    if prefix is not None:
        headers |= {name: value for name, value in given.items() if name.lower().startswith(prefix)}
    return headers
