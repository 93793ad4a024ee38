"""Connections to hosts by way of OneCLI's proxy, with the agent's own token; it never reaches the agent."""

import asyncio
from typing import Final

import h11

from nanoclawd.egress.targets import Target
from nanoclawd.gateway import denials
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.onecli.access import Access
from nanoclawd.gateway.onecli.client import OneCliError
from nanoclawd.gateway.onecli.link import Link, unreachable
from nanoclawd.gateway.policy import Agent
from nanoclawd.gateway.wire import Wire

CONNECT_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 30.0
"""OneCLI may look secrets up in a vault before it answers CONNECT."""

_MAX_HEAD_BYTES: Final = 16 * 1024
_OK: Final = range(200, 300)
_TOKEN_REFUSED: Final = 407


class Through:
    """Opens connections. Each raises :class:`Denial` where there is none."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def reach(self, agent: Agent, target: Target, *, is_plain: bool) -> tuple[Wire, bytes]:
        """Return a connection for an agent's requests to a host.

        Args:
            agent: whose they are.
            target: the host.
            is_plain: they are plain http, in absolute form; then with the value of Proxy-Authorization.
        """
        return await self.plain(agent) if is_plain else (await self.tunnel(agent, target), b"")

    async def tunnel(self, agent: Agent, target: Target) -> Wire:
        """Return a connection on which what is sent goes to a host, by way of what OneCLI makes of it."""
        status = 0
        for _ in range(2):
            access = await self._access(agent)
            wire = await self._connect(access)
            try:
                status = await _ask(wire, access, target)
            except BaseException:
                wire.abort()
                raise
            if status in _OK:
                return wire
            wire.abort()
            if status != _TOKEN_REFUSED:
                break
            # Somebody has given the agent a new token there: once more with that.
            self._link.forget(agent)
        raise refused(target, status)

    async def plain(self, agent: Agent) -> tuple[Wire, bytes]:
        """Return a connection that takes requests of plain http in absolute form, and their Proxy-Authorization."""
        access = await self._access(agent)
        return await self._connect(access), access.authorization.encode()

    def forget(self, agent: Agent) -> None:
        """Ask for an agent's token anew, with its next request."""
        self._link.forget(agent)

    async def _access(self, agent: Agent) -> Access:
        try:
            return await self._link.access(agent)
        except OneCliError as error:
            raise denials.away(error.message) from None

    async def _connect(self, access: Access) -> Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, wire = await loop.create_connection(Wire, access.host, access.port)
        except (OSError, TimeoutError) as error:
            found = unreachable(access, error)
            self._link.failed(found)
            raise denials.away(found.message) from None
        return wire


def refused(target: Target, status: int) -> Denial:
    """Return the denial of what OneCLI's proxy does not carry."""
    return Denial(
        502, "onecli_refused", f"OneCLI's proxy does not connect to {target} (it says {status})", outcome="refused"
    )


def token_refused(through: Through | None, agent: Agent) -> Denial:
    """Return the denial of a request whose token OneCLI did not take; the next one has another."""
    if through is not None:
        through.forget(agent)
    return Denial(502, "onecli_refused", "OneCLI's proxy did not take the agent's token: ask once more", retry_after=1)


async def _ask(wire: Wire, access: Access, target: Target) -> int:
    """Ask for a tunnel; return the answer's status. What comes behind the answer stays on the wire."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    headers = [("Host", target.authority), ("Proxy-Authorization", access.authorization)]
    await wire.write(
        http.send(h11.Request(method="CONNECT", target=str(target), headers=headers)) or b"", CONNECT_SECONDS
    )
    try:
        while (event := http.next_event()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
            if event is h11.NEED_DATA:
                http.receive_data(await wire.read(ANSWER_SECONDS))
    except TimeoutError:
        raise Denial(504, "timeout", f"OneCLI's proxy does not answer for {target}", outcome="timeout") from None
    except h11.RemoteProtocolError:
        raise Denial(502, "broke_off", "OneCLI's proxy closed the connection", outcome="broken") from None
    if not isinstance(event, h11.Response):
        return 0
    if event.status_code in _OK and http.trailing_data[0]:
        wire.data_received(bytes(http.trailing_data[0]))
    return event.status_code
