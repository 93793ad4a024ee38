"""What went wrong with an OpenAI-compatible endpoint: what kind it is, and the words for a person. Never a raw body."""

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import openai

from nanoclaw_runner.bounded_http import TooMuchError
from nanoclaw_runner.providers import base, retrying

# The library moves from httpx to httpx2; a client of ours must be of the one that it uses itself.
httpx: Any = import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__)

MAX_SENTENCE: Final = 300
UNAUTHORIZED: Final = 401
_FIRST_OF_ENDPOINT: Final = 500
_NOBODY_BEHIND_THE_GATEWAY: Final = "endpoint_unreachable"
_NO_TOOLS: Final = frozenset({400, 404, 422, 500, 501})
_NO_IMAGES: Final = frozenset({400, 404, 413, 415, 422, 500, 501})
_BAD_REQUEST: Final = frozenset({400, 413, 422})
_OVERFLOW_WORDS: Final = ("context", "too long", "too many tokens", "maximum length", "prompt is too large")
_IMAGE_WORDS: Final = ("image", "vision", "multimodal", "content must be a string", "content type", "mmproj")
_TOOL_WORDS: Final = ("tool", "function")


class BrokenOffError(Exception):
    """The stream ended without the model's word that it has finished, or cannot be read."""


FAILURES: Final[tuple[type[Exception], ...]] = (openai.OpenAIError, httpx.HTTPError, BrokenOffError, TooMuchError)
"""What a request can end with."""


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of a refusal, None where there was no answer, or a failure inside of one."""
    return error.status_code if isinstance(error, openai.APIStatusError) else None


def headers_of(error: Exception) -> Mapping[str, str]:
    """Return a refusal's headers."""
    return error.response.headers if isinstance(error, openai.APIStatusError) else {}


def is_silence(error: Exception) -> bool:
    """Tell whether the endpoint said nothing for too long."""
    return isinstance(error, (openai.APITimeoutError, httpx.TimeoutException))


def is_unreachable(error: Exception) -> bool:
    """Tell whether nobody answered: not the gateway, or nobody behind it."""
    if _field(error, "type") == _NOBODY_BEHIND_THE_GATEWAY:
        return True
    return isinstance(error, (openai.APIConnectionError, httpx.HTTPError)) and not is_silence(error)


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed."""
    status = status_of(error)
    if status is not None:
        return retrying.may_retry(status, headers_of(error))
    return not is_silence(error) and not isinstance(error, TooMuchError)


def is_overflow(error: Exception) -> bool:
    """Tell whether the model cannot hold what it was sent."""
    said = f"{sentence_of(error)} {_field(error, 'code')}".lower()
    return status_of(error) in _BAD_REQUEST and any(word in said for word in _OVERFLOW_WORDS)


def refuses_tools(error: Exception) -> bool:
    """Tell whether it is the tools that an endpoint does not take."""
    return status_of(error) in _NO_TOOLS and _says(error, _TOOL_WORDS)


def refuses_images(error: Exception) -> bool:
    """Tell whether it is the images that an endpoint does not take."""
    return status_of(error) in _NO_IMAGES and _says(error, _IMAGE_WORDS)


def refuses_counting(error: Exception) -> bool:
    """Tell whether an endpoint refuses to be asked for its counts."""
    return status_of(error) is not None and "stream_options" in sentence_of(error)


def refuses_effort(error: Exception) -> bool:
    """Tell whether an endpoint does not let itself be told how much to think."""
    return status_of(error) in _BAD_REQUEST and "reasoning_effort" in sentence_of(error)


def describe(error: Exception, model: str, silence: float) -> base.Error:
    """Return a failure as an event.

    Args:
        error: what was raised.
        model: its name for people, with its endpoint's.
        silence: seconds after which its saying nothing is a failure.
    """
    trouble = _trouble(error)
    words = _words(error, trouble, f"the model {model}", silence)
    return base.Error(words, retryable=is_transient(error) or is_silence(error), trouble=trouble)


def passing(error: Exception) -> str:
    """Return in short what keeps an answer from coming right now."""
    reasons = {"rate-limit": "the model's rate limit is reached", "overloaded": "the model is overloaded"}
    return reasons.get(_trouble(error), "the model cannot be reached")


def sentence_of(error: Exception) -> str:
    """Return the endpoint's own sentence, one bounded line; empty where it has none: a body is no sentence."""
    said = _field(error, "message")
    if not said and not isinstance(error, openai.APIStatusError):
        said = str(error)
    line = " ".join(said.split())
    if line.startswith(("{", "[", "<")):
        line = _sentence_within(line)
    return line if len(line) <= MAX_SENTENCE else line[: MAX_SENTENCE - 1] + "…"


def _trouble(error: Exception) -> base.Trouble:
    status = status_of(error)
    if status is None:
        return "network"
    if status == UNAUTHORIZED or _field(error, "type") in {"credential_missing", "credential_refused"}:
        return "credentials"
    if status == retrying.LIMITED:
        # A spent account says 429, too, and no waiting helps; its sentence tells which.
        return "rate-limit"
    if status in retrying.OVERLOADED:
        return "overloaded"
    return "network" if status >= _FIRST_OF_ENDPOINT else "refused"


def _words(error: Exception, trouble: base.Trouble, model: str, silence: float) -> str:
    if is_silence(error):
        return f"{model} gave no sign for {silence:.0f} s"
    said = sentence_of(error)
    status = status_of(error)
    if status is None and is_unreachable(error):
        # The only thing that is connected to is the gateway's socket; what is behind it answers with a status.
        return (
            f"{model} cannot be reached: the gateway does not answer ({error.__cause__ or error})."
            " The operator can run: systemctl status nanoclaw-gateway.socket"
        )
    if status is None:
        return f"{model} failed: {said or 'it did not say why'}"
    if trouble == "credentials":
        reason = said or "its API key was not accepted"
        return f"{model} cannot be asked: {reason}. The operator can run: ncl status"
    if trouble == "rate-limit":
        hint = retrying.hint_of(headers_of(error))
        when = f"in {retrying.spoken(hint)}" if hint else "later"
        return f"{model} is at its rate limit{_quoted(said)}: please try again {when}"
    if trouble == "overloaded":
        return f"{model} is overloaded or not ready{_quoted(said)}: please try again in a while"
    if trouble == "refused":
        return f"{model} refused this (HTTP {status}): {said or 'it did not say why'}"
    return f"{model} failed (HTTP {status}): {said or 'it did not say why'}"


def _quoted(said: str) -> str:
    return f" ({said})" if said else ""


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    said = sentence_of(error).lower()
    return any(word in said for word in words)


def _field(error: Exception, name: str) -> str:
    """Return a text of the error object that OpenAI's form of errors has."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(inner, str) and name == "message":
        return inner
    found = inner.get(name) if isinstance(inner, dict) else None
    if name == "message" and found is None and isinstance(body, dict):
        found = body.get("detail")
    return found if isinstance(found, str) else ""


def _sentence_within(text: str) -> str:
    """Return the sentence of an error object that somebody has quoted whole."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    inner = found.get("error", found) if isinstance(found, dict) else None
    said = inner.get("message") if isinstance(inner, dict) else None
    return " ".join(said.split()) if isinstance(said, str) and not said.lstrip().startswith(("{", "<")) else ""
