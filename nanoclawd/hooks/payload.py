"""What a request says, read strictly: nothing in it is followed, fetched or obeyed. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import NanoclawError

INLINE_BYTES: Final = 16 * 1024
"""A longer payload goes to the agent as a file, with its beginning in the message."""

EXCERPT_BYTES: Final = 4 * 1024
MAX_EVENT_CHARACTERS: Final = 100
_MAX_ID_CHARACTERS: Final = 256
_MAX_FIELDS: Final = 500
_EVENTS: Final = ("x-github-event", "x-gitea-event", "x-forgejo-event", "x-gitlab-event")
_IDS: Final = (
    "idempotency-key",
    "x-github-delivery",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "x-gitlab-event-uuid",
    "x-request-id",
)
"""The first that is there counts. The last comes from proxies too, which make a new one for each request."""

_TEXT: Final = ".txt"
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json")


class UnusableError(NanoclawError):
    """A request can't be taken.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Payload:
    """What was sent, as text.

    Attributes:
        suffix: of a file that holds it.
    """

    text: str
    suffix: str

    @property
    def media_type(self) -> str:
        """Of a file that holds it."""
        return "application/json" if self.suffix == ".json" else "text/plain"

    @property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return len(self.text.encode())

    @property
    def is_long(self) -> bool:
        """Whether it goes as a file."""
        return self.size > INLINE_BYTES

    @property
    def excerpt(self) -> str:
        """Its beginning, with a word about the rest."""
        whole = self.text.encode()
        cut = whole[:EXCERPT_BYTES].decode(errors="ignore")
        return f"{cut}\n[cut here: it has {len(whole)} bytes; all of it is in the attached file]"


def read(content_type: str, body: bytes) -> Payload:
    """Read a body: JSON, a form or plain text, in UTF-8; an empty one is an empty text.

    Raises:
        UnusableError: it is something else (415), or not what it says that it is (400).
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return Payload("", _TEXT)
    if kind == _FORM:
        return _form(_text(body))
    if _JSON.fullmatch(kind):
        return _json(_text(body))
    if kind in {"", "text/plain"}:
        return Payload(_text(body), _TEXT)
    raise UnusableError(415, "a payload is JSON, text/plain or a form")


def event_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return what has happened, as the sender calls it: one short line, empty where it says nothing."""
    found = query.get("event") or next((headers[name] for name in _EVENTS if headers.get(name)), "")
    return storable(" ".join(found[: 4 * MAX_EVENT_CHARACTERS].split())[:MAX_EVENT_CHARACTERS])


def delivery_of(headers: Mapping[str, str]) -> str | None:
    """Return the sender's own id of this delivery, the same when it is repeated; None where it gives none."""
    found = next((headers[name] for name in _IDS if headers.get(name)), None)
    if found is None or len(found) <= _MAX_ID_CHARACTERS:
        return found
    return hashlib.sha256(found.encode(errors="replace")).hexdigest()


def message_id(hook_id: str, delivery: str) -> str:
    """Return the id of the message that a delivery becomes: the same each time that it is told.

    >>> message_id("hk-abcdefghijkl", "1")
    'hook-hk-abcdefghijkl-c8c02f7b4e14ab39'
    """
    mark = hashlib.sha256(f"{hook_id} {delivery}".encode(errors="replace")).hexdigest()[:16]
    return f"hook-{hook_id}-{mark}"


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise UnusableError(400, "the body is not UTF-8") from error


def _form(text: str) -> Payload:
    """Read a form. ``curl -d`` calls everything one, so what looks like JSON is JSON; GitHub's has it in a field."""
    if text.lstrip()[:1] in {"{", "["}:
        try:
            return _json(text)
        except UnusableError:
            pass
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise UnusableError(400, "the form can't be read") from error
    found = dict(fields)
    if set(found) == {"payload"}:
        return _json(found["payload"])
    if not found:
        return Payload(text, _TEXT)
    return Payload(json.dumps(found, ensure_ascii=False, indent=1), ".json")


def _json(text: str) -> Payload:
    """Return a text that is JSON, as it is."""

    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise UnusableError(400, "the body is not JSON") from error
    return Payload(text, ".json")
