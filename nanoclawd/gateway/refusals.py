"""What a caller gets instead of an endpoint's answer, in words that an operator can act on."""

import logging
import time

import aiohttp
import msgspec
from aiohttp import web

from nanoclawd.config.model import EMBEDDED, Endpoint
from nanoclawd.journal import Event, about

MAX_LOGGED_PER_MINUTE = 20
"""For each caller: a container cannot drown the journal in its own refusals."""

_MINUTE = 60.0
_FIRST_FAULT_OF_OTHERS = 500

log = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818  # an answer, not a fault
    """A request that is not forwarded, or whose endpoint failed: the answer's status, type and words.

    Attributes:
        status: HTTP status.
        kind: ``type`` in the error object.
        message: what is wrong and, where an operator can mend it, how. Never holds a credential.
        retry: whether asking again can help; OpenAI's and Anthropic's clients obey ``x-should-retry``.
    """

    def __init__(self, status: int, kind: str, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.retry = retry


def answer(refusal: Refusal) -> web.Response:
    """Return a refusal as the error object that OpenAI's and Anthropic's clients understand."""
    return web.Response(
        status=refusal.status,
        body=error_object(refusal),
        content_type="application/json",
        headers={} if refusal.retry else {"x-should-retry": "false"},
    )


def error_object(refusal: Refusal) -> bytes:
    """Return the body's JSON; an event stream carries the same as an event."""
    return msgspec.json.encode({"type": "error", "error": {"message": refusal.message, "type": refusal.kind}})


class RefusalLog:
    """Writes refusals into the journal, at a bounded rate for each caller."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[float, int]] = {}

    def write(self, uid: int, group: str | None, refusal: Refusal) -> None:
        """Log it, unless this caller's minute is full."""
        now = time.monotonic()
        since, count = self._written.get(uid, (now, 0))
        if now - since > _MINUTE:
            since, count = now, 0
        if since == now:
            self._written = {key: value for key, value in self._written.items() if now - value[0] <= _MINUTE}
        self._written[uid] = (since, count + 1)
        if count >= MAX_LOGGED_PER_MINUTE:
            return
        last = "; further ones of this minute are not logged" if count + 1 == MAX_LOGGED_PER_MINUTE else ""
        ours = refusal.status < _FIRST_FAULT_OF_OTHERS
        log.warning(
            "%s uid %d: %d %s: %s%s",
            "refused" if ours else "no answer for",
            uid,
            refusal.status,
            refusal.kind,
            refusal.message,
            last,
            extra=about(group=group, event=Event.GATEWAY_REFUSED if ours else None),
        )


def unreachable(name: str, endpoint: Endpoint, error: aiohttp.ClientError) -> Refusal:
    """Return the answer when no connection could be made, or it ended before an answer began."""
    reason = _reason(error)
    return Refusal(
        502, "endpoint_unreachable", f"endpoint {name} fails ({reason}){_what_to_look_at(endpoint)}", retry=True
    )


def timed_out(name: str, endpoint: Endpoint) -> Refusal:
    """Return the answer when an endpoint accepts no connection, or says nothing, for too long."""
    return Refusal(504, "endpoint_timeout", f"endpoint {name} does not answer{_what_to_look_at(endpoint)}", retry=True)


def broke_off(name: str, endpoint: Endpoint, error: Exception) -> Refusal:
    """Return the end of an answer that had begun."""
    reason = "it fell silent" if isinstance(error, TimeoutError) else _reason(error)
    return Refusal(
        502, "endpoint_broke_off", f"endpoint {name} broke off its answer ({reason}){_what_to_look_at(endpoint)}"
    )


def credential_refused(name: str, endpoint: Endpoint) -> Refusal:
    """Return the answer in the place of an endpoint's 401, whose body may quote a part of the key."""
    if endpoint.credential is None:
        words = f"endpoint {name} asks for an API key; config.yaml names none for it (credential:)"
    else:
        words = f'endpoint {name} does not accept the API key "{endpoint.credential}"'
    return Refusal(401, "credential_refused", words)


def _reason(error: Exception) -> str:
    """Return a short reason; not the exception's text, which may quote headers."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its TLS certificate cannot be verified"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "connection closed" if isinstance(error, aiohttp.ClientConnectionError) else "not proper HTTP"


def _what_to_look_at(endpoint: Endpoint) -> str:
    if endpoint.socket == EMBEDDED.socket:
        return "; look at: systemctl --user -M nanoclaw@ status nanoclaw-model"
    return f" at {endpoint.socket or endpoint.url}"
