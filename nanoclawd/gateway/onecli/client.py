"""Asks OneCLI what its published client (@onecli-sh/sdk) asks, in the same way: paths, headers, times and tolerance."""

from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import aiohttp
import msgspec

from nanoclawd.config import OneCli
from nanoclawd.gateway.credentials import how_to_add
from nanoclawd.gateway.onecli.messages import ContainerConfig, CreatedAgent, GatewayUrl, Pending

ANSWER_SECONDS: Final = 5.0
"""The published client's own patience with everything but the long poll."""

POLL_SECONDS: Final = 35.0
"""The server holds a poll for 30 s at most."""

MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
_CONFLICT, _NOT_FOUND, _NOT_ALLOWED, _GONE = 409, 404, 405, 410
_UNAUTHORIZED: Final = 401
_FIRST_ERROR, _FIRST_FAULT = 400, 500


class OneCliError(Exception):
    """OneCLI does not do what it was asked.

    Attributes:
        message: why, for an operator; no key or token is in it.
        fix: what an operator can run; empty where only OneCLI's own logs could say more.
        status: its answer's status; None where there was no answer.
    """

    def __init__(self, message: str, *, fix: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.status = status

    @property
    def is_about_all(self) -> bool:
        """Whether it does not work at all, rather than for this one agent."""
        return self.status is None or self.status == _UNAUTHORIZED or self.status >= _FIRST_FAULT


class OneCliClient:
    """The requests. To be used as a context; each raises :class:`OneCliError` unless it says otherwise."""

    def __init__(self, settings: OneCli, key: str | None) -> None:
        """Prepare.

        Args:
            settings: where it is.
            key: the API key; None where there is none, which a OneCLI for one user on its own machine takes.
        """
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        if settings.project is not None:
            self._headers["X-Project-Id"] = settings.project
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # No cookies, nothing of the environment. A connection for each request: they are few, and one that is kept may
        # be closed at the other side just when it is needed.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def create_agent(self, identifier: str, name: str) -> str | None:
        """Make an agent; return OneCLI's own id of it, None where there is one of this identifier already."""
        try:
            body = await self._api("POST", "/v1/agents", {"name": name, "identifier": identifier})
        except OneCliError as error:
            if error.status == _CONFLICT:
                return None
            raise
        return _read(body, CreatedAgent).id

    async def give_all_secrets(self, agent_id: str) -> bool:
        """Let an agent have all secrets; False where this OneCLI has no such setting any more.

        Not in the published npm client: it is what OneCLI's own command line asks (``agents set-secret-mode``).
        """
        try:
            await self._api("PATCH", f"/v1/agents/{quote(agent_id, safe='')}/secret-mode", {"mode": "all"})
        except OneCliError as error:
            if error.status in {_NOT_FOUND, _NOT_ALLOWED, _GONE}:
                return False
            raise
        return True

    async def container_config(self, identifier: str) -> ContainerConfig:
        """Return what an agent's container would be given."""
        path = f"/v1/container-config?agent={quote(identifier, safe='')}"
        return _read(await self._api("GET", path), ContainerConfig)

    async def gateway_url(self) -> str:
        """Return where its gateway takes questions about approvals."""
        return _read(await self._api("GET", "/v1/gateway-url"), GatewayUrl).url.rstrip("/")

    async def pending(self, gateway: str, exclude: frozenset[str] = frozenset()) -> Pending:
        """Wait for requests that somebody has to decide about, for 30 s at most; empty where there were none.

        Args:
            gateway: its address.
            exclude: ids that are known already.
        """
        url = f"{gateway}/v1/approvals/pending"
        if exclude:
            url += f"?exclude={quote(','.join(sorted(exclude)), safe='')}"
        return _read(await self._ask("GET", url, None, POLL_SECONDS), Pending)

    async def decide(self, gateway: str, approval_id: str, *, approve: bool) -> bool:
        """Say what was decided; False where it does not matter any more (410, or 404 where it is forgotten)."""
        url = f"{gateway}/v1/approvals/{quote(approval_id, safe='')}/decision"
        try:
            await self._ask("POST", url, {"decision": "approve" if approve else "deny"}, ANSWER_SECONDS)
        except OneCliError as error:
            if error.status in {_GONE, _NOT_FOUND}:
                return False
            raise
        return True

    async def _api(self, method: str, path: str, body: object = None) -> bytes:
        return await self._ask(method, self._settings.url + path, body, ANSWER_SECONDS)

    async def _ask(self, method: str, url: str, body: object, seconds: float) -> bytes:
        if self._session is None:
            raise RuntimeError("the client is a context")
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        where = url.partition("?")[0]
        try:
            async with self._session.request(
                method,
                url,
                data=None if body is None else msgspec.json.encode(body),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as answer:
                if answer.status >= _FIRST_ERROR:
                    raise self._refused(method, where, answer.status)
                return await _body(answer)
        except TimeoutError:
            raise OneCliError(f"OneCLI does not answer at {where}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise OneCliError(f"OneCLI cannot be reached at {where} ({_reason(error)})") from None

    def _refused(self, method: str, where: str, status: int) -> OneCliError:
        if status != _UNAUTHORIZED:
            return OneCliError(f"OneCLI answered {method} {where} with {status}", status=status)
        credential = self._settings.credential
        fix = "" if credential is None else how_to_add(credential)
        return OneCliError(f"OneCLI does not take our API key ({status} at {where})", fix=fix, status=status)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in answer.content.iter_any():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise OneCliError("OneCLI says more than can be true", status=answer.status)
    return bytes(content)


def _read[Message: msgspec.Struct](body: bytes, kind: type[Message]) -> Message:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        # The message names a place in the JSON, never a value.
        raise OneCliError(f"OneCLI's answer is not the published one: {error}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.partition(":")[0][:200]
    return type(error).__name__
