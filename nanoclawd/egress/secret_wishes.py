"""Where a secret goes and how, as operators type it, brought into one form or refused.

The daemon reads it to bind a secret, and ``ncl`` to seal its value: each for itself, so that the two can disagree.
"""

import re
from typing import Final, cast

import msgspec

from nanoclawd.egress.rules import parse_pattern
from nanoclawd.egress.secrets import Name, OAuth, Place, Scheme, Style
from nanoclawd.egress.targets import HTTP_PORT, HTTPS_PORT, BadTarget, path_readings

MAX_PLACES: Final = 20
MAX_PATH_CHARACTERS: Final = 200
MAX_PARAMETER_CHARACTERS: Final = 200

_PORTS: Final = {"https": HTTPS_PORT, "http": HTTP_PORT}
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", re.ASCII)
_PATH: Final = re.compile(r"/[!$&'()*+,./0-9:;=@A-Z_a-z~-]*", re.ASCII)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_PARAMETER: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_WORDLESS: Final = ("bearer", "placeholder")
_WITH_WORD: Final = ("basic", "header", "query", "cookie")
# What says how a request is framed, or is between the client and the next one on its way.
_NOT_FOR_SECRETS: Final = frozenset(
    {"connection", "content-length", "content-encoding", "expect", "host", "http2-settings", "keep-alive", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)


def read_name(text: str) -> str:
    """Return a secret's name.

    Raises:
        BadTarget: it is none.
    """
    try:
        return str(msgspec.convert(text, Name))
    except msgspec.ValidationError:
        # Not repeated: it may be the secret, in the wrong place.
        raise BadTarget(
            "a secret's name has 1 to 40 of a-z, 0-9 and '-', and neither begins nor ends with a dash"
        ) from None


def read_place(text: str) -> Place:
    """Return a place: ``HOST``, ``HOST:PORT``, with a path behind it, and with http:// or https:// before it.

    Raises:
        BadTarget: it is none, or could be read in two ways.
    """
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "https", text
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise BadTarget(f"{text[:80]!r} begins with neither https:// nor http://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        raise BadTarget("a user's name or a password has no place in a host: ncl asks for the secret")
    named = _AUTHORITY.fullmatch(authority)
    if named is None:
        raise BadTarget(f"{authority[:80]!r} is not HOST:PORT")
    port = int(named[2]) if named[2] is not None else _PORTS[scheme]
    if not 0 < port <= 65_535:  # noqa: PLR2004  # of 16 bits
        raise BadTarget(f"{port} is no port")
    host = parse_pattern(named[1])
    if host == "*" or (host.startswith("*.") and "." not in host[2:]):
        raise BadTarget(f"a secret goes to hosts that are named, not to {host}")
    return Place(host, port, _read_path(slash + path), cast("Scheme", scheme))


def place_text(place: Place) -> str:
    """Return a place as it is shown, and as :func:`read_place` reads it."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    port = "" if place.port == _PORTS[place.scheme] else f":{place.port}"
    return f"{place.scheme}://{host}{port}{place.path}"


def read_places(texts: list[str] | tuple[str, ...]) -> tuple[Place, ...]:
    """Return several places, each once.

    Raises:
        BadTarget: one is none, or there are none or too many.
    """
    found = tuple(dict.fromkeys(read_place(text) for text in texts))
    if not 0 < len(found) <= MAX_PLACES:
        raise BadTarget(f"a secret goes to 1 to {MAX_PLACES} hosts")
    return found


def read_style(text: str) -> tuple[Style, str]:
    """Return how a secret is put in, and the word that this needs: ``bearer``, ``basic:USER``, ``header:NAME``, ….

    Raises:
        BadTarget: it is no such way.
    """
    style, colon, word = text.partition(":")
    if style in _WORDLESS and not colon:
        return cast("Style", style), ""
    if style not in _WITH_WORD or not colon:
        raise BadTarget("a secret is put in as bearer, basic:USER, header:NAME, query:NAME, cookie:NAME or placeholder")
    if len(word) > MAX_PARAMETER_CHARACTERS:
        raise BadTarget(f"a name is at most {MAX_PARAMETER_CHARACTERS} characters long")
    if style == "basic":
        if ":" in word or not word.isprintable():
            raise BadTarget("the user's name of basic has no colon and nothing invisible in it")
        return "basic", word
    if not (_PARAMETER if style == "query" else _TOKEN).fullmatch(word):
        raise BadTarget(f"{word[:60]!r} can't name a {'parameter' if style == 'query' else style}")
    if style == "header" and (word.lower() in _NOT_FOR_SECRETS or word.lower().startswith("proxy-")):
        raise BadTarget(f"the header {word} says how a request is carried: no secret goes there")
    return cast("Style", style), word


def style_text(style: str, parameter: str) -> str:
    """Return a way as it is typed."""
    return f"{style}:{parameter}" if style in _WITH_WORD else style


def read_oauth(token_url: str, client_id: str, client_secret: str = "", scope: str = "") -> OAuth:
    """Return how access tokens are got.

    Raises:
        BadTarget: the address is none of https, or a text is too long.
    """
    place = read_place(token_url)
    if place.scheme != "https" or not token_url.startswith("https://") or place.host.startswith("*"):
        raise BadTarget("tokens are asked for at exactly one https:// address")
    for text in (client_id, scope):
        if not text.isascii() or not (text.isprintable() or not text):
            raise BadTarget("client id and scope are of plain ASCII")
    if not client_id:
        raise BadTarget("an OAuth account has a client id")
    wanted = OAuth(token_url, client_id, client_secret, scope)
    try:
        return msgspec.convert(msgspec.to_builtins(wanted), OAuth)
    except msgspec.ValidationError:
        raise BadTarget("the client id, its secret or the scope is too long") from None


def _read_path(path: str) -> str:
    if path in ("", "/"):
        return ""
    if len(path) > MAX_PATH_CHARACTERS or not _PATH.fullmatch(path) or path_readings(path) != (path,):
        raise BadTarget(
            f"a path is a plain prefix of at most {MAX_PATH_CHARACTERS} characters: no query, no semicolon, no dot"
            " segments, nothing encoded"
        )
    return path
