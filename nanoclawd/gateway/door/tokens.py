"""Access tokens for refresh tokens: asked for at the door, in memory until they end, one question at a time."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from nanoclawd.egress.secrets import OAuth, Sealed
from nanoclawd.egress.targets import BadTarget, parse_url
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.kept_tokens import KeptTokens
from nanoclawd.journal import about

EARLY_SECONDS: Final = 60.0
"""Before its end a token is not used any more; a short-lived one for a tenth of its life."""

UNKNOWN_LIFE_SECONDS: Final = 3600.0
ONE_REFUSAL_IN_SECONDS: Final = 60.0
"""A host that does not take a token causes one question in this time: agents can have hosts refuse what they like."""

AFTER_FAILURE_SECONDS: Final = 15.0
_MAX_OLD: Final = 8
_USABLE: Final = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
_OK: Final = 200
# RFC 6749, 5.2: a server's other words may be anything.
_ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"),
        "invalid_scope",
    }
)

log = logging.getLogger(__name__)

type Asking = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""Posts a form to a URL; returns the answer's status and body. Raises Denial where there is none."""


class _Granted(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float | str | None = None
    refresh_token: str | None = None

    def __repr__(self) -> str:
        """Show no token, whatever logs this."""
        return "_Granted()"


class _Failed(msgspec.Struct, frozen=True):
    error: str = ""


@dataclass(slots=True, repr=False)
class _Account:
    """What is known of one secret."""

    refresh: str = ""
    access: str = ""
    doubted: str = ""
    until: float = 0.0
    forced: float = -ONE_REFUSAL_IN_SECONDS
    failed: tuple[float, str] | None = None
    has_told: bool = False
    old: list[str] = field(default_factory=list)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def remember(self, *tokens: str) -> None:
        self.old = [*self.old, *(token for token in tokens if token and token not in self.old)][-_MAX_OLD:]


class AccessTokens:
    """Those of all secrets that have refresh tokens."""

    def __init__(self, ask: Asking, kept: KeptTokens) -> None:
        self._ask = ask
        self._kept = kept
        self._accounts: dict[str, _Account] = {}
        self._renewing: set[asyncio.Task[str]] = set()

    async def access(self, name: str, sealed: Sealed) -> str:
        """Return a token that is good now.

        Raises:
            Denial: there is none to be had; the words are ours, never the server's.
        """
        account = self._accounts.setdefault(name, _Account())
        if account.access and time.monotonic() < account.until:
            return account.access
        # Shielded: a caller that leaves must not lose a refresh token that the server has given already.
        renewing = asyncio.create_task(self._renew(name, sealed, account))
        self._renewing.add(renewing)
        renewing.add_done_callback(self._renewed)
        return await asyncio.shield(renewing)

    def refused(self, name: str, token: str) -> bool:
        """Forget a token that a host does not take; tell whether another one may be asked for."""
        account = self._accounts.get(name)
        if account is None or account.access != token:
            return account is not None  # there is another one already
        now = time.monotonic()
        if now - account.forced < ONE_REFUSAL_IN_SECONDS:
            return False
        account.forced = now
        account.doubted, account.access = account.access, ""
        account.remember(token)
        return True

    def known(self, name: str, sealed: Sealed) -> Iterable[str]:
        """Yield every token of a secret that an answer may hold."""
        account = self._accounts.get(name, _Account())
        secret = sealed.oauth.client_secret if sealed.oauth is not None else ""
        found = dict.fromkeys((sealed.value, account.refresh, account.access, secret, *account.old))
        yield from (one for one in found if one)

    async def settle(self, seconds: float) -> None:
        """Wait until no token is being asked for: a server may have given one, and the old one may be void by then.

        Args:
            seconds: and no longer.
        """
        if self._renewing:
            await asyncio.wait(self._renewing, timeout=seconds)

    def _renewed(self, task: "asyncio.Task[str]") -> None:
        self._renewing.discard(task)
        if not task.cancelled():
            task.exception()  # was told to whoever waited

    async def _renew(self, name: str, sealed: Sealed, account: _Account) -> str:
        async with account.asking:
            now = time.monotonic()
            if account.access and now < account.until:
                return account.access
            if account.failed is not None and now - account.failed[0] < AFTER_FAILURE_SECONDS:
                raise _denial(account.failed[1])
            if sealed.oauth is None:
                raise RuntimeError("it is asked for secrets with a token URL only")
            if not account.refresh:
                kept = await asyncio.to_thread(self._kept.load, name, sealed.value)
                account.refresh = kept or sealed.value
            try:
                granted = await self._granted(name, sealed.oauth, account.refresh)
                await self._take(name, sealed, account, granted)
            except Denial as denial:
                account.failed = (time.monotonic(), denial.message)
                if not account.has_told:
                    log.warning("%s", denial.message, extra=about())
                account.has_told = True
                # Some host has refused it, as an agent may have wanted; it may be good all the same, and for others.
                account.access, account.doubted = account.doubted, ""
                if account.access and not isinstance(denial, _Void) and time.monotonic() < account.until:
                    return account.access
                account.access = ""
                raise
            account.failed, account.has_told = None, False
            return account.access

    async def _granted(self, name: str, oauth: OAuth, refresh: str) -> _Granted:
        form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": oauth.client_id}
        if oauth.client_secret:
            form["client_secret"] = oauth.client_secret
        if oauth.scope:
            form["scope"] = oauth.scope
        try:
            target, _ = parse_url(oauth.token_url, "https")
        except BadTarget as error:
            raise _failure(name, f"its token URL is none: {error}") from None
        try:
            status, body = await self._ask(oauth.token_url, urlencode(form).encode())
        except Denial as denial:
            raise _failure(name, denial.message) from None
        if status != _OK:
            word = _decoded(body, _Failed("")).error
            told = f" {word}" if word in _ERRORS else ""
            raise _failure(name, f"{target} answers {status}{told}", is_final=word == "invalid_grant")
        granted = _decoded(body, _Granted(""))
        if not _USABLE.fullmatch(granted.access_token):
            raise _failure(name, f"{target} answers without an access token")
        if granted.refresh_token is not None and not _USABLE.fullmatch(granted.refresh_token):
            raise _failure(name, f"{target} answers with a refresh token that is none")
        return granted

    async def _take(self, name: str, sealed: Sealed, account: _Account, granted: _Granted) -> None:
        """Use what was given; a new refresh token is on the disk first, since the old one may be void by now."""
        rotated = granted.refresh_token
        if rotated is not None and rotated != account.refresh:
            account.remember(account.refresh)
            account.refresh = rotated
            try:
                await asyncio.to_thread(self._kept.keep, name, sealed.value, rotated)
            except OSError as error:
                words = f"its new refresh token cannot be kept ({error.strerror}) and is lost with the next restart"
                raise _failure(name, words) from None
        account.remember(account.access)
        account.access, account.doubted = granted.access_token, ""
        life = _seconds(granted.expires_in)
        account.until = time.monotonic() + life - min(EARLY_SECONDS, life / 10)


def _failure(name: str, words: str, *, is_final: bool = False) -> Denial:
    enter = f". It has to be entered anew: ncl secret set {name}" if is_final else ""
    return _denial(f"the secret {name} could not be renewed: {words}{enter}", _Void if is_final else Denial)


class _Void(Denial):
    """The refresh token is worth nothing any more."""


def _denial(message: str, kind: type[Denial] = Denial) -> Denial:
    return kind(502, "secret_not_renewed", message, outcome="no secret")


def _seconds(told: float | str | None) -> float:
    """Return a token's life; some servers write the number as a text."""
    try:
        found = float(told) if told is not None else UNKNOWN_LIFE_SECONDS
    except ValueError:
        return UNKNOWN_LIFE_SECONDS
    return found if 0 < found < UNKNOWN_LIFE_SECONDS * 24 * 365 else UNKNOWN_LIFE_SECONDS


def _decoded[T: msgspec.Struct](body: bytes, otherwise: T) -> T:
    found: Any = otherwise
    try:
        found = msgspec.json.decode(body, type=type(otherwise))
    except (msgspec.MsgspecError, UnicodeError):
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise
