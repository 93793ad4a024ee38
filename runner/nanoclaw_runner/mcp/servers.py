"""The MCP servers of an agent: started before the first turn, their tools in the toolbox, their failures told."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp_types import PaginatedRequestParams

from nanoclaw_runner.bounded_http import bounded_transport
from nanoclaw_runner.contract.agent_config import McpServer
from nanoclaw_runner.mcp import stdio
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers.base import Concern, Works
from nanoclaw_runner.tools.base import MAX_RESULT_CHARACTERS, Tool, Toolbox, ToolError
from nanoclaw_runner.way_out import WayOut

_log = logging.getLogger(__name__)

START_SECONDS: Final = 15.0
CALL_SECONDS: Final = 110.0
MAX_STARTS: Final = 3
"""Of one server in a runner's life: one that ends again and again is left alone."""

MAX_TOOLS: Final = 128
MAX_PAGES: Final = 32
MAX_SCHEMA_CHARACTERS: Final = 32 * 1024
MAX_DESCRIPTION_CHARACTERS: Final = 4096
MAX_NAME_CHARACTERS: Final = 64
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_ANY_OBJECT: Final[Any] = dict[str, Any]
_CONNECT_SECONDS: Final = 30.0
_READ_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class ServersTool(Tool[Any]):
    """A tool of a server: its arguments are checked there.

    Attributes:
        parameters: their JSON schema.
    """

    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return self.parameters


class Servers:
    """All servers of an agent."""

    def __init__(self, servers: Iterable[McpServer], places: Places, tools: Toolbox, way_out: WayOut) -> None:
        self._concerns: list[Concern | Works] = []
        self._servers = [_Server(server, places, tools, way_out, self._concerns.append) for server in servers]

    async def open(self) -> list[Concern | Works]:
        """Start the servers that do not run; return what is wrong and which work, each once."""
        await asyncio.gather(*(server.open() for server in self._servers))
        return self.concerns()

    def concerns(self) -> list[Concern | Works]:
        """Return what went wrong since the last time, and what works since then."""
        found = list(self._concerns)
        self._concerns.clear()
        return found


class _Server:
    def __init__(
        self,
        server: McpServer,
        places: Places,
        tools: Toolbox,
        way_out: WayOut,
        concern: Callable[[Concern | Works], None],
    ) -> None:
        self._server = server
        self._places = places
        self._way_out = way_out
        self._tools = tools
        self._concern = concern
        self._task: asyncio.Task[None] | None = None
        self._session: Any = None
        self._names: list[str] = []
        self._over = asyncio.Event()
        self._words = ""
        self._starts = 0
        self._hangs = False

    async def open(self) -> None:
        if (self._task is not None and not self._task.done()) or self._starts >= MAX_STARTS:
            return
        self._starts += 1
        self._over = asyncio.Event()
        self._words = ""
        ready = asyncio.Event()
        # A task of its own: the library's parts must end in the task in which they began.
        self._task = asyncio.create_task(self._run(ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _run(self, ready: asyncio.Event) -> None:
        try:
            async with self._streams() as (read, write), ClientSession(read, write) as session:
                async with asyncio.timeout(START_SECONDS):
                    await session.initialize()
                    found = await _listed(session)
                self._session = session
                self._add(found)
                self._concern(Works(self._server.name))
                ready.set()
                await self._over.wait()
        except Exception as error:
            self._ended(_reason(error))
        finally:
            self._session = None
            self._tools.remove(self._names)
            self._names = []

    @asynccontextmanager
    async def _streams(self) -> AsyncGenerator[tuple[Any, Any]]:
        server = self._server
        if server.command:
            variables = await self._way_out.variables()
            async with stdio.running(server, self._places, variables, self._ended) as streams:
                yield streams
            return
        timeout = httpx2.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS)
        transport = bounded_transport(httpx2, str(self._places.gateway_socket))
        async with (
            httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client,
            streamable_http_client(
                f"http://gateway/{server.url}", http_client=client, terminate_on_close=False
            ) as streams,
        ):
            yield streams

    def _ended(self, words: str) -> None:
        """Note why it has ended; the first reason is the one that counts."""
        if self._over.is_set():
            return
        self._words = words
        self._over.set()
        again = "" if self._starts < MAX_STARTS else " It is not started again before the agent's restart."
        message = f"the MCP server {self._server.name} does not work: {words}.{again}"
        _log.warning("%s", message)
        self._concern(Concern("mcp", self._server.name, message))

    def _add(self, found: list[Any]) -> None:
        tools: dict[str, Tool[Any]] = {}
        for tool in found:
            name = _NOT_IN_NAMES.sub("_", f"mcp__{self._server.name}__{tool.name}")[:MAX_NAME_CHARACTERS]
            schema = tool.input_schema
            if name in tools or len(json.dumps(schema)) > MAX_SCHEMA_CHARACTERS:
                _log.warning("the tool %s of the MCP server %s is left out", name, self._server.name)
                continue
            tools[name] = ServersTool(
                name,
                (tool.description or "")[:MAX_DESCRIPTION_CHARACTERS],
                _ANY_OBJECT,
                self._caller(tool.name),
                timeout=CALL_SECONDS + 5,
                parameters={"properties": {}, **schema, "type": "object"},
            )
        self._names = list(tools)
        self._tools.add(tools.values())

    def _caller(self, tool: str) -> Callable[[Any], Any]:
        async def call(arguments: dict[str, Any]) -> str:
            session = self._session
            name = self._server.name
            if session is None:
                raise ToolError(f"the MCP server {name} does not run: {self._words or 'it ended'}")
            calling = asyncio.create_task(session.call_tool(tool, arguments))
            ending = asyncio.create_task(self._over.wait())
            try:
                await asyncio.wait((calling, ending), timeout=CALL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if calling.done():
                    if self._hangs:
                        self._hangs = False
                        self._concern(Works(name))
                    return _text(calling.result())
                if ending.done():
                    raise ToolError(f"the MCP server {name} has ended: {self._words}")
                message = f"the MCP server {name} gave no answer within {CALL_SECONDS:.0f} s"
                self._hangs = True
                self._concern(Concern("mcp", name, message))
                raise ToolError(message)
            except ToolError:
                raise
            except Exception as error:
                raise ToolError(f"the MCP server {name}: {self._words or _reason(error)}") from None
            finally:
                calling.cancel()
                ending.cancel()

        return call


async def _listed(session: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        found += page.tools
        cursor = page.next_cursor
        if not cursor or len(found) >= MAX_TOOLS:
            break
    return found[:MAX_TOOLS]


def _text(result: Any) -> str:
    """Return a result as text, or raise what the tool says went wrong."""
    parts: list[str] = []
    room = MAX_RESULT_CHARACTERS * 2
    for block in result.content:
        text = _block(block)[:room]
        parts.append(text)
        room -= len(text)
        if room <= 0:
            break
    if not parts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text[:MAX_RESULT_CHARACTERS] or "the tool failed and did not say why")
    return text or "(no result)"


def _block(block: Any) -> str:
    if block.type == "text":
        return str(block.text)
    if block.type in {"image", "audio"}:
        return f"[{block.type}, {block.mime_type}, {len(block.data) * 3 // 4} bytes: cannot be shown here]"
    if block.type == "resource":
        return str(getattr(block.resource, "text", f"[resource {block.resource.uri}]"))
    return f"[resource {getattr(block, 'uri', '')}]"


def _reason(error: BaseException) -> str:
    """Return an error in a line; of a group its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it did not begin to work within {START_SECONDS:.0f} s"
    line = " ".join(str(error).split())[:300]
    return line or type(error).__name__
