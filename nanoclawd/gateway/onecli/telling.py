"""Tells the daemon how it stands with OneCLI: one line of JSON at once, and one whenever that has changed."""

import msgspec
from aiohttp import web

from nanoclawd.egress.outside import STATE_PATH
from nanoclawd.gateway.onecli.link import Link


class Telling:
    """Implements :class:`~nanoclawd.gateway.proxy.HostCalls`."""

    def __init__(self, link: Link, uid: int) -> None:
        """Prepare.

        Args:
            link: what is told of.
            uid: of the daemon; nobody else is told.
        """
        self._link = link
        self._uid = uid

    def is_meant(self, request: web.BaseRequest, uid: int) -> bool:
        """Tell whether it is the daemon that asks how it stands."""
        return uid == self._uid and request.method == "GET" and request.raw_path == STATE_PATH

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Tell until the daemon goes, or the gateway stops."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for state in self._link.states():
            await response.write(msgspec.json.encode(state) + b"\n")
        await response.write_eof()
        return response
