"""Puts secrets into requests: where the daemon's word and that of whoever entered a secret agree, and only there."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol
from urllib.parse import quote, unquote_plus

from nanoclawd.egress.rules import Asked
from nanoclawd.egress.secrets import PLACEHOLDER_PREFIX, Place, Scheme, Sealed, Secret, for_host, placeholder
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.redaction import spellings
from nanoclawd.gateway.door.vault import Vault

_MARK: Final = re.compile(PLACEHOLDER_PREFIX.encode() + rb"([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]|^ | $")
_BASIC: Final = b"basic "
_AUTHORIZATION: Final = b"authorization"
_COOKIE: Final = b"cookie"
# Range under each of the names that servers have for it.
_OF_PARTS: Final = (b"range", b"if-range", b"request-range", b"x-ms-range", b"a-im")
_EXACT: Final = 1000
_ENCODED: Final = frozenset({"basic", "query"})
"""Styles by which a secret goes in another alphabet, whatever is in it."""

type Headers = list[tuple[bytes, bytes]]
type _Spelled = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(slots=True, repr=False)
class Charged:
    """A request as it goes on. Its representation shows nothing, since there are secrets in it.

    Attributes:
        path: with its query.
        needles: what its answer is searched for; none: the answer goes through as it is.
        renew: forgets the access token that was put in, because the host does not take it; tells whether another one
            can be had.
    """

    path: str
    headers: Headers
    needles: Sequence[bytes] = ()
    renew: Callable[[], bool] | None = None


class Tokens(Protocol):
    """Whoever gets access tokens for refresh tokens."""

    async def access(self, name: str, sealed: Sealed) -> str:
        """Return one that is good now.

        Raises:
            Denial: there is none to be had.
        """
        ...

    def refused(self, name: str, token: str) -> bool:
        """Forget a token that a host does not take; tell whether another one may be asked for."""
        ...

    def known(self, name: str, sealed: Sealed) -> Iterable[str]:
        """Yield every token of a secret that an answer may hold."""
        ...

    async def settle(self, seconds: float) -> None:
        """Wait until none is being asked for."""
        ...


@dataclass(slots=True, repr=False)
class _Request:
    """A request while it is worked at."""

    path: str
    query: str | None
    headers: Headers
    pairs: list[str] = field(default_factory=list)
    renew: Callable[[], bool] | None = None

    def without(self, *names: bytes) -> None:
        self.headers = [pair for pair in self.headers if pair[0].lower() not in names]

    def target(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"


class Injection:
    """Knows the values."""

    def __init__(self, vault: Vault, tokens: Tokens) -> None:
        self._vault = vault
        self._tokens = tokens
        self._spelled: dict[_Spelled, tuple[bytes, ...]] = {}
        self._spelled_bytes = 0

    async def charge(self, group: str, secrets: Iterable[Secret], asked: Asked, headers: Headers) -> Charged:
        """Return a request with what belongs into it, and without what a container has put in its place.

        Args:
            group: whose request it is.
            secrets: those that the daemon has published for the group.
            asked: what it is about.
            headers: those that go on.

        Raises:
            Denial: a secret has no value, or a placeholder is where it must not be.
        """
        secrets, scheme = list(secrets), asked.scheme
        path, mark, query = (asked.path or "/").partition("?")
        request = _Request(path, query if mark else None, list(headers))
        bound = list(for_host(secrets, group, scheme, asked.target))
        fitting = [secret for secret in bound if _fits(secret.places, scheme, asked.target, path)]
        for secret in _chosen(fitting, scheme, asked.target):
            _STRIP[secret.style](request, secret)
        used = {placeholder(name) for name in _marks(request)}
        for secret in fitting:
            if secret.style == "placeholder" and placeholder(secret.name) in used:
                value = await self._value(secret, scheme, asked, request)
                _fill(request, secret.name, value)
        self._refuse_marks(request, group, secrets, fitting, asked.target)
        for secret in _chosen(fitting, scheme, asked.target):
            _PUT[secret.style](request, secret, await self._value(secret, scheme, asked, request))
        needles = self._needles(bound, request.pairs)
        if needles:
            # What is packed would have to be unpacked to be searched, and in a part of an answer could be a part of a
            # secret, which nobody would find.
            request.without(*_OF_PARTS, b"accept-encoding", b"accept-charset")
            request.headers.append((b"Accept-Encoding", b"identity"))
        return Charged(request.target(), request.headers, needles, request.renew)

    async def settle(self, seconds: float) -> None:
        """Wait, before the gateway ends, until nothing is under way that would be lost: for so many seconds at most."""
        await self._tokens.settle(seconds)

    async def _value(self, secret: Secret, scheme: Scheme, asked: Asked, request: _Request) -> str:
        sealed = self._vault.get(secret.name)
        if sealed is None:
            raise _missing(secret.name, "has no value yet")
        if not _fits(sealed.places, scheme, asked.target, asked.path or "/"):
            raise _missing(secret.name, f"was not entered for {asked.target}")
        if sealed.oauth is None:
            value = sealed.value
        else:
            value = await self._tokens.access(secret.name, sealed)
            request.renew = partial(self._tokens.refused, secret.name, value)
        if secret.style not in _ENCODED and _CONTROL.search(value):
            # Also a host that gives tokens could send more than one line.
            raise _missing(secret.name, "has characters in it that a header can't have, a line's end perhaps")
        return value

    def _needles(self, bound: Iterable[Secret], pairs: list[str]) -> tuple[bytes, ...]:
        """Return what no answer of this host may hold, whether this request has brought it there or another one."""
        values: list[str] = []
        own: list[str] = []
        for secret in bound:
            sealed = self._vault.get(secret.name)
            if sealed is None:
                continue
            found = list(self._tokens.known(secret.name, sealed)) if sealed.oauth is not None else [sealed.value]
            values += found
            if secret.style == "basic":
                own += [f"{secret.parameter}:{value}" for value in found]
        key = (tuple(sorted(set(values))), tuple(sorted(set(own))))
        needles = self._spelled.get(key)
        if needles is None:
            needles = spellings(*key)
            self._remember(key, needles)
        # What an agent chooses is not remembered: it could choose something else each time.
        return (*needles, *spellings((), pairs)) if pairs else needles

    def _remember(self, key: _Spelled, needles: tuple[bytes, ...]) -> None:
        """Keep what is looked for, and not for ever that of tokens which have been renewed since."""
        size = sum(map(len, needles))
        if len(self._spelled) >= _MAX_SPELLED or self._spelled_bytes + size > _MAX_SPELLED_BYTES:
            self._spelled.clear()
            self._spelled_bytes = 0
        self._spelled[key] = needles
        self._spelled_bytes += size

    def _refuse_marks(
        self, request: _Request, group: str, secrets: list[Secret], fitting: list[Secret], target: Target
    ) -> None:
        for name in _marks(request):
            if not any(secret.name == name for secret in secrets):
                words = f"agent group {group} has no secret {name}"
            elif any(secret.name == name and secret.style != "placeholder" for secret in fitting):
                words = f"the secret {name} is put in by itself at {target}; its placeholder stands at another place"
            else:
                words = f"the secret {name} is not for this part of {target}, or its placeholder is in the path"
            raise Denial(403, "secret_not_here", f"{words}. Nothing was sent")


_MAX_SPELLED: Final = 256
_MAX_SPELLED_BYTES: Final = 8 * 1024 * 1024
_MAX_PAIR_BYTES: Final = 1024
"""Of user and password in Basic, as an agent writes them with a placeholder in them."""


def _missing(name: str, words: str) -> Denial:
    told = f"the secret {name} {words}; the owner can enter it: ncl secret set {name}"
    return Denial(503, "secret_missing", told, outcome="no secret")


def _fits(places: Iterable[Place], scheme: Scheme, target: Target, path: str) -> bool:
    return any(place.fits(scheme, target) and place.fits_path(path) for place in places)


def _chosen(fitting: Iterable[Secret], scheme: Scheme, target: Target) -> list[Secret]:
    """Return one secret for each place in a request: the one that was bound most closely."""
    found: dict[tuple[str, str], tuple[tuple[int, int], Secret]] = {}
    for secret in sorted(fitting, key=lambda secret: secret.name):
        if secret.style == "placeholder":
            continue
        closeness = max(
            (_EXACT if not place.host.startswith("*") else len(place.host), len(place.path))
            for place in secret.places
            if place.fits(scheme, target)
        )
        slot = _slot(secret)
        if slot not in found or found[slot][0] < closeness:
            found[slot] = (closeness, secret)
    return [secret for _, secret in found.values()]


def _slot(secret: Secret) -> tuple[str, str]:
    if secret.style in ("bearer", "basic"):
        return "header", _AUTHORIZATION.decode()
    return secret.style, secret.parameter.lower() if secret.style == "header" else secret.parameter


def _marks(request: _Request) -> list[str]:
    """Return the names in the placeholders of a request."""
    texts = [request.target().encode(), *(value for _, value in request.headers)]
    texts += [_pair(value) for name, value in request.headers if name.lower() == _AUTHORIZATION]
    return list(dict.fromkeys(found.decode() for text in texts for found in _MARK.findall(text)))


def _fill(request: _Request, name: str, value: str) -> None:
    """Put a secret in the place of its placeholder."""
    if request.query is not None:
        request.query = _filled(request.query.encode(), name, quote(value, safe="").encode()).decode()
    plain = value.encode()
    headers = []
    for key, text in request.headers:
        filled = _filled(text, name, plain)
        pair = _pair(text) if key.lower() == _AUTHORIZATION else b""
        if pair and (opened := _filled(pair, name, plain)) != pair:
            if len(pair) > _MAX_PAIR_BYTES + len(plain):
                raise Denial(
                    431, "bad_request", "user and password are too long for a placeholder", outcome="malformed"
                )
            request.pairs.append(opened.decode("utf-8", "surrogateescape"))
            filled = text[: len(_BASIC)] + base64.b64encode(opened)
        headers.append((key, filled))
    request.headers = headers


def _filled(text: bytes, name: str, value: bytes) -> bytes:
    return _MARK.sub(lambda found: value if found[1].decode() == name else found[0], text)


def _pair(value: bytes) -> bytes:
    """Return what a Basic authorization says; nothing where it is none."""
    if not value.lower().startswith(_BASIC):
        return b""
    try:
        return base64.b64decode(value[len(_BASIC) :].strip(), validate=True)
    except binascii.Error:
        return b""


def _strip_authorization(request: _Request, _secret: Secret) -> None:
    request.without(_AUTHORIZATION)


def _strip_header(request: _Request, secret: Secret) -> None:
    request.without(secret.parameter.lower().encode())


def _strip_query(request: _Request, secret: Secret) -> None:
    if request.query is None:
        return
    kept = [one for one in request.query.split("&") if unquote_plus(one.partition("=")[0]) != secret.parameter]
    request.query = "&".join(kept) if kept else None


def _strip_cookie(request: _Request, secret: Secret) -> None:
    cookies = [value for name, value in request.headers if name.lower() == _COOKIE]
    request.without(_COOKIE)
    pairs = [pair.strip() for value in cookies for pair in value.split(b";")]
    kept = [pair for pair in pairs if pair and pair.partition(b"=")[0].strip() != secret.parameter.encode()]
    if kept:
        request.headers.append((b"Cookie", b"; ".join(kept)))


def _put_bearer(request: _Request, _secret: Secret, value: str) -> None:
    request.headers.append((b"Authorization", b"Bearer " + value.encode()))


def _put_basic(request: _Request, secret: Secret, value: str) -> None:
    pair = f"{secret.parameter}:{value}"
    request.headers.append((b"Authorization", b"Basic " + base64.b64encode(pair.encode())))


def _put_header(request: _Request, secret: Secret, value: str) -> None:
    request.headers.append((secret.parameter.encode(), value.encode()))


def _put_query(request: _Request, secret: Secret, value: str) -> None:
    pair = f"{quote(secret.parameter, safe='')}={quote(value, safe='')}"
    request.query = f"{request.query}&{pair}" if request.query else pair


def _put_cookie(request: _Request, secret: Secret, value: str) -> None:
    if ";" in value:
        raise _missing(secret.name, "can't be sent as a cookie, because a semicolon ends one")
    pair = f"{secret.parameter}={value}".encode()
    others = [text for name, text in request.headers if name.lower() == _COOKIE]
    request.without(_COOKIE)
    request.headers.append((b"Cookie", b"; ".join([*others, pair])))


_STRIP: Final = {
    "bearer": _strip_authorization,
    "basic": _strip_authorization,
    "header": _strip_header,
    "query": _strip_query,
    "cookie": _strip_cookie,
}
_PUT: Final = {
    "bearer": _put_bearer,
    "basic": _put_basic,
    "header": _put_header,
    "query": _put_query,
    "cookie": _put_cookie,
}
