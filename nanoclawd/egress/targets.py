"""Hosts as requests and rules name them, brought into one form or refused: nothing here can be read in two ways."""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
MAX_HOST_CHARACTERS: Final = 253
MAX_URL_CHARACTERS: Final = 8192
_MAX_PORT: Final = 65_535
_REMEMBERED: Final = 1024
"""So many hosts' names are read once; each is short."""

_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# What the WHATWG's URL parser and inet_aton(3) take for a part of an IPv4 address: octal, hexadecimal, short forms.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PRINTABLE: Final = re.compile(r"[!-~]+", re.ASCII)
_ENCODED: Final = re.compile(r"%([0-9a-fA-F]{2})", re.ASCII)
# Slashes, what is encoded twice, control characters, and UTF-8 that is longer than it has to be.
_UNCLEAR: Final = re.compile(r"%(?:2f|5c|25[0-9a-f]{2}|[01][0-9a-f]|7f|c[01]|e0%[89]|f0%8)|\\", re.IGNORECASE)
_PARAMETERS: Final = re.compile(r";[^/]*")
_DOTS: Final = re.compile(r"/\.{1,2}(?:/|\Z)")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadTarget(ValueError):  # noqa: N818  # what it is, not an error of ours
    """What somebody wrote names no host that anybody should connect to; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host in its one form (a name in small letters, or an address without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """As a Host header has it for plain http."""
        return self.authority_by(HTTP_PORT)

    def authority_by(self, default_port: int) -> str:
        """Return it as a Host header has it where a port is what is meant without one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default_port else f"{host}:{self.port}"


@lru_cache(_REMEMBERED)
def parse_host(text: str) -> str:
    """Return a host in its one form.

    Args:
        text: a name, an IPv4 address, or an IPv6 address in brackets.

    Raises:
        BadTarget: it is none of them, or could be read in more than one way.
    """
    if text.startswith("[") or ":" in text:
        return _ipv6(text)
    name = text.lower().removesuffix(".")
    if not name or len(name) > MAX_HOST_CHARACTERS:
        raise BadTarget(f"a host's name has 1 to {MAX_HOST_CHARACTERS} characters")
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise BadTarget(f"{text[:80]!r} is no host's name: letters, digits and dashes, international names as xn--…")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise BadTarget(f"{text[:80]!r} is no IPv4 address in its usual form: four decimal numbers") from None
    for label in labels:
        _check_international(label)
    return name


def is_address(host: str) -> bool:
    """Tell whether a host in its one form is an address, not a name."""
    return ":" in host or host.rpartition(".")[2].isdecimal()


@lru_cache(_REMEMBERED)
def parse_authority(text: str, default_port: int | None = None) -> Target:
    """Return what ``HOST:PORT`` names.

    Raises:
        BadTarget: it names nothing, or has no port where there is no default one.
    """
    if "@" in text:
        raise BadTarget("a user's name or a password has no place in a host")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise BadTarget(f"{text[:80]!r} is not HOST:PORT")
    if found[2] is None and default_port is None:
        raise BadTarget(f"{text[:80]!r} has no port")
    port = int(found[2]) if found[2] is not None else default_port or 0
    if not 1 <= port <= _MAX_PORT:
        raise BadTarget(f"{port} is no port")
    return Target(parse_host(found[1]), port)


def parse_url(text: str, scheme: str = "http") -> tuple[Target, str]:
    """Return host and port of a URL, and the path with its query as a server is asked for it.

    Raises:
        BadTarget: another scheme, a user's name, a fragment, or anything that is not plain ASCII.
    """
    if len(text) > MAX_URL_CHARACTERS or not _PRINTABLE.fullmatch(text) or "\\" in text or "#" in text:
        raise BadTarget("the address is too long, or has characters that no address has")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise BadTarget(f"the address cannot be read: {error}") from None
    if parts.scheme != scheme or not parts.netloc:
        raise BadTarget(f"expected an address that begins with {scheme}://")
    target = parse_authority(parts.netloc, HTTPS_PORT if scheme == "https" else HTTP_PORT)
    return target, (parts.path or "/") + (f"?{parts.query}" if "?" in text else "")


def path_readings(path: str) -> tuple[str, ...]:
    """Return a path without its query in each of the ways in which servers read it, as rules' prefixes are compared.

    They are one and the same for most. Some servers unpack what others leave encoded, and some (those of Java) take
    what is behind a semicolon away before they look for dots. None at all: a server may take it for quite another path
    (dot segments, slashes that are encoded, what is encoded twice or as no UTF-8 is).
    """
    plain = _ENCODED.sub(_decoded, path.partition("?")[0])
    opened = unquote(plain, errors="replace")
    found = dict.fromkeys((plain, opened, _PARAMETERS.sub("", plain), _PARAMETERS.sub("", opened)))
    if _UNCLEAR.search(plain) or any("//" in one or _DOTS.search(one) for one in found):
        return ()
    return tuple(found)


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0]


def _ipv6(text: str) -> str:
    if not (text.startswith("[") and text.endswith("]")):
        raise BadTarget(f"{text[:80]!r} is no host; an IPv6 address stands in brackets")
    if "%" in text:
        raise BadTarget("an IPv6 address with a zone belongs to one machine only")
    try:
        return str(ipaddress.IPv6Address(text[1:-1]))
    except ValueError:
        raise BadTarget(f"{text[:80]!r} is no IPv6 address") from None


def _check_international(label: str) -> None:
    if not label.startswith("xn--"):
        return
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, OverflowError):
        raise BadTarget(f"{label[:63]!r} is no international name") from None
    if decoded.isascii() or not decoded.isprintable():
        raise BadTarget(f"{label[:63]!r} is no international name")
