"""What went wrong with Claude, in words for a person, and what kind of trouble it is for the operator."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from nanoclaw_runner.providers import base

_MAX_WORDS: Final = 300
_STATUS: Final = re.compile(r"\bAPI Error:? *(\d{3})\b")
_GATEWAY: Final = re.compile(
    r"(endpoint [a-z0-9-]+ (?:does not accept|asks for)[^{}\n]*|the API key \\?\"[^\"]+\"? is not stored)"
)
_STALE: Final = re.compile(r"no conversation found|enoent.*\.jsonl|session.*not found", re.IGNORECASE | re.DOTALL)
_TROUBLES: Final[dict[str, base.Trouble]] = {
    "authentication_failed": "credentials",
    "oauth_org_not_allowed": "credentials",
    "billing_error": "credentials",
    "rate_limit": "rate-limit",
    "overloaded": "overloaded",
    "server_error": "network",
    "invalid_request": "refused",
    "model_not_found": "refused",
}
_UNAUTHORIZED, _FORBIDDEN, _LIMITED, _OVERLOADED, _SERVER = 401, 403, 429, 529, 500


@dataclass(frozen=True, slots=True)
class Failure:
    """What the client reports of a request that failed.

    Attributes:
        text: its own words.
        status: HTTP status of the API's answer, None without one.
        kind: the client's name for it.
        resets_at: when a limit ends, in seconds since the epoch.
    """

    text: str
    status: int | None = None
    kind: str = ""
    resets_at: int | None = None


def is_stale(words: str) -> bool:
    """Tell whether a client says that the conversation which it was to carry on is gone."""
    return bool(_STALE.search(words))


def failed(failure: Failure, model: str, zone: tzinfo = UTC) -> base.Error:
    """Return a failure as an event."""
    trouble = _trouble(failure)
    words = _words(failure, trouble, f"the model {model}", zone)
    return base.Error(words, retryable=trouble in {"rate-limit", "overloaded", "network"}, trouble=trouble)


def waiting(kind: str, status: int | None, seconds: float, attempt: int, attempts: int) -> str:
    """Return what a person is shown while the client waits to ask again."""
    trouble = _trouble(Failure("", status, kind))
    reason = {
        "rate-limit": "the model's rate limit is reached",
        "overloaded": "the model is overloaded",
        "credentials": "the model's credential was not accepted",
    }.get(trouble, "the model cannot be reached")
    return f"{reason}; trying again in {max(seconds, 1):.0f} s ({attempt} of {attempts})"


def _trouble(failure: Failure) -> base.Trouble:
    status = failure.status or _status_in(failure.text)
    if status in {_UNAUTHORIZED, _FORBIDDEN} or "is not stored" in failure.text:
        return "credentials"
    if status == _LIMITED:
        return "rate-limit"
    if status == _OVERLOADED:
        return "overloaded"
    known = _TROUBLES.get(failure.kind)
    if known is not None:
        return known
    return "refused" if status is not None and status < _SERVER else "network"


def _words(failure: Failure, trouble: base.Trouble, model: str, zone: tzinfo) -> str:
    said = said_by_api(failure.text)
    if trouble == "credentials":
        found = _GATEWAY.search(failure.text.replace('\\"', '"'))
        reason = found[0].strip() if found else "its credential was not accepted"
        return f"{model} cannot be asked: {reason}. The operator can run: ncl status"
    if trouble == "rate-limit":
        until = ""
        if failure.resets_at is not None:
            until = f" until {datetime.fromtimestamp(failure.resets_at, zone):%H:%M}"
        return f"{model} is at its rate limit{until}: please try again later"
    if trouble == "overloaded":
        return f"{model} is overloaded: please try again in a while"
    if trouble == "refused":
        return f"{model} refused this: {said}"
    return f"{model} could not be reached, or broke off: {said}"


def said_by_api(text: str) -> str:
    """Return the sentence in a client's report: neither a body nor a stack, one bounded line."""
    start = text.find("{")
    if start >= 0:
        try:
            body, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            body = None
        inner = body.get("error", body) if isinstance(body, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return _line(inner["message"])
        text = text[:start]
    return _line(_STATUS.sub("", text).removeprefix("API Error:").strip(" :·")) or "it did not say why"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 1] + "…"


def _status_in(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None
