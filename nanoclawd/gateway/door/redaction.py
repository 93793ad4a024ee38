"""Finds a secret in what a host answers, however the answer is cut into pieces, and puts stars in its place.

Stars, as many as there were bytes, keep every length right. The last word of a piece waits for the next one, since a
secret could begin in it; an event of a stream ends with a line, so it is not held back. What waits is told by the kind
of its characters alone: did only the beginning of the secret wait, then whoever has a host say things back, piece by
piece, could see what waits, and guess the secret letter by letter.
"""

import base64
import json
import string
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, quote_plus

MIN_BYTES: Final = 4
"""What is shorter is found everywhere."""

_MIN_INNER_BYTES: Final = 8
_STAR: Final = b"*"
_WORDS: Final = string.ascii_letters.encode() + string.digits.encode() + b"!#$%&*+,-./:;=?@\\^_`|~"
_UNTOUCHED: Final = ("", "/", "!'()*~", "$&+=:@", "!$&'()*+,;=:@", ":/?#[]@!$&'()*+,;=~")
"""What encoders of addresses leave as it is."""

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_IN_HTML: Final = tuple(
    str.maketrans(_ENTITIES | more)
    for more in (
        *({}, {'"': '"'}, {"'": "&#x27;"}, {"'": "&#39;"}, {"'": "&#039;"}, {"'": "&apos;"}),
        {"'": "&#39;", '"': "&#34;"},
        {"'": "&#39;", '"': "&#34;", "+": "&#43;"},  # Go
        {"'": "&#x27;", "+": "&#x2B;", "`": "&#x60;"},  # ASP.NET
        {"'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"},  # Handlebars
        {"'": "&#39;", "`": "&#x60;", "=": "&#x3D;", "/": "&#x2F;"},  # Mustache
        {"'": "&#x27;", "/": "&#x2F;"},
    )
)
"""How templates write what is special in HTML."""

_IN_JSON: Final = (
    ("quoted", "<>&", False),  # Go, Rails
    ("quoted", "<>&='", False),  # Gson
    ("plain", "<>&'\"", True),  # PHP
    ("plain", "<>&'\"+`", True),  # .NET
    ("plain", "<>&'\"=-;`", True),  # Django
)
"""How encoders of JSON hide what HTML could take for its own: in what, which letters, and whether in large digits."""


def spellings(secrets: Iterable[str], pairs: Iterable[str] = ()) -> tuple[bytes, ...]:
    """Return every form in which a host commonly repeats secrets, longest first.

    Args:
        secrets: the secrets.
        pairs: ``user:secret`` as Basic authorization encodes it; what is no UTF-8 in it as surrogates.
    """
    found: set[bytes] = set()
    for secret in secrets:
        found |= _texts(secret)
        # A host that says back the address that it was asked for encodes once more what is encoded in it.
        for once in {quote(secret, safe=safe) for safe in _UNTOUCHED}:
            found |= _texts(once) | _base64_within(once.encode())
        found |= _base64_within(secret.encode())
    for pair in pairs:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(pair.encode("utf-8", "surrogateescape"))
            found |= {text, text.rstrip(b"=")}
            found |= _texts(text.decode()) | _base64_within(text)
    return tuple(sorted((one for one in found if len(one) >= MIN_BYTES), key=lambda one: (-len(one), one)))


class Redactor:
    """Goes over one stream."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._needles = needles
        self._longest = max(map(len, needles), default=1) - 1
        self._letters = _WORDS + b"".join(needles).translate(None, _WORDS)
        self._held = b""
        self._covered = 0  # bytes at the beginning of what is held that belong to a secret found already

    def feed(self, data: bytes) -> bytes:
        """Return what can go on, of this piece and those before."""
        text = self._held + data
        keep = self._possible_beginning(text)
        marks = self._marks(text)
        self._held = text[keep:]
        reaching_over = (end for start, end in marks if start < keep)
        self._covered = max(0, max(reaching_over, default=0) - keep, self._covered - keep)
        return _starred(text, marks)[:keep]

    def end(self) -> bytes:
        """Return what was held back: nothing follows that could make a secret of it."""
        text, marks = self._held, self._marks(self._held)
        self._held, self._covered = b"", 0
        return _starred(text, marks)

    def _marks(self, text: bytes) -> list[tuple[int, int]]:
        return [*([(0, self._covered)] if self._covered else []), *_found(text, self._needles)]

    def _possible_beginning(self, text: bytes) -> int:
        """Return where the end of the text begins that a secret could begin in, whichever it is."""
        last = max(0, len(text) - self._longest)
        return last + len(text[last:].rstrip(self._letters))


def redacted(text: bytes, needles: Sequence[bytes]) -> bytes:
    """Return a whole text without secrets."""
    return _starred(text, _found(text, needles))


def _found(text: bytes, needles: Iterable[bytes]) -> list[tuple[int, int]]:
    """Return where secrets begin and end."""
    marks = []
    for needle in needles:
        at = text.find(needle)
        while at >= 0:
            marks.append((at, at + len(needle)))
            at = text.find(needle, at + 1)
    return marks


def _starred(text: bytes, marks: list[tuple[int, int]]) -> bytes:
    if not marks:
        return text
    changed = bytearray(text)
    for start, end in marks:
        changed[start:end] = _STAR * (end - start)
    return bytes(changed)


def _texts(secret: str) -> set[bytes]:
    """Return a text as URLs, JSON and HTML write it."""
    in_json = json.dumps(secret)[1:-1]
    found = {
        *(secret, in_json, json.dumps(secret, ensure_ascii=False)[1:-1]),
        *(quote(secret, safe=safe) for safe in _UNTOUCHED),
        *(quote_plus(secret), quote_plus(secret, safe="*").replace("~", "%7E")),
        *(secret.translate(table) for table in _IN_HTML),
    }
    found |= {_small_hexadecimal(one) for one in found} | {one.replace("/", "\\/") for one in found}
    plain = secret.replace("\\", "\\\\")
    for text, letters, large in _IN_JSON:
        hidden = (in_json if text == "quoted" else plain).translate(_numbered(letters, large=large))
        found |= {hidden, hidden.replace("/", "\\/")}
    return {one.encode() for one in found}


def _numbered(letters: str, *, large: bool) -> dict[int, str]:
    return {ord(letter): f"\\u{ord(letter):04{'X' if large else 'x'}}" for letter in letters}


def _small_hexadecimal(text: str) -> str:
    pieces = text.split("%")
    return "%".join([pieces[0], *(piece[:2].lower() + piece[2:] for piece in pieces[1:])])


def _base64_within(secret: bytes) -> set[bytes]:
    """Return what is the same in every base64 text that the secret is somewhere inside of."""
    found = set()
    for before in range(3):
        first = (before * 8 + 5) // 6  # the first character that has bits of the secret alone
        last = (before + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * before + secret)[first:last]
            if len(text) >= _MIN_INNER_BYTES:
                found.add(text)
    return found
