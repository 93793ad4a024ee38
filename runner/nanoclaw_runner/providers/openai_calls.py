"""The tools as an OpenAI-compatible endpoint knows them: offered as functions, called side by side, told in order."""

import asyncio
import json
from typing import Any, Final

from nanoclaw_runner.providers import base
from nanoclaw_runner.providers.openai_stream import Call
from nanoclaw_runner.tools.base import MAX_ARGUMENT_BYTES, ToolError
from nanoclaw_runner.workshop import Workshop

AT_ONCE: Final = 8


class Calls:
    """Carries out what a model calls."""

    def __init__(self, workshop: Workshop) -> None:
        self._tools = workshop.tools
        self._servers: Any = None
        self._concerns: list[base.Concern | base.Works] = []
        self._slots = asyncio.Semaphore(AT_ONCE)
        if workshop.config.mcp_servers and workshop.config.tools:
            # Imported only for an agent that has any: what it needs is large.
            try:
                from nanoclaw_runner.mcp.servers import Servers
            except ImportError as error:
                message = f"no MCP server can be used: the image does not have what it takes ({error})"
                self._concerns.append(base.Concern("mcp", "", message))
                return
            self._servers = Servers(workshop.config.mcp_servers, workshop.places, workshop.tools, workshop.way_out)

    async def open(self) -> list[base.Concern | base.Works]:
        """Start what is to run and does not; return what is wrong, each once."""
        if self._servers is not None:
            self._concerns += await self._servers.open()
        return self.concerns()

    def concerns(self) -> list[base.Concern | base.Works]:
        """Return what went wrong since the last time with what was started."""
        if self._servers is not None:
            self._concerns += self._servers.concerns()
        found, self._concerns = self._concerns, []
        return found

    def offered(self) -> list[dict[str, Any]]:
        """Return the tools in the API's form."""
        return [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
            }
            for tool in self._tools.tools
        ]

    async def run(self, calls: list[Call], left: int) -> list[str]:
        """Carry calls out; each gets a result, an error is one, too.

        Args:
            calls: in the model's order.
            left: how many of them the turn's bound allows.
        """
        return list(await asyncio.gather(*(self._one(call, number < left) for number, call in enumerate(calls))))

    async def _one(self, call: Call, allowed: bool) -> str:
        if not allowed:
            return "Error: not carried out: this turn has reached its limit of tool calls. Answer now."
        async with self._slots:
            try:
                return await self._tools.call(call.name, call.arguments)
            except ToolError as error:
                return f"Error: {error}"
            except Exception as error:
                # A tool of ours that fails is ours to mend; the agent goes on without it.
                return f"Error: {call.name} failed: {type(error).__name__}"

    @staticmethod
    def sendable(arguments: str) -> str:
        """Return a call's arguments as they may be sent back: endpoints refuse what is no JSON object."""
        try:
            found = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and len(arguments) <= MAX_ARGUMENT_BYTES:
            return arguments or "{}"
        return json.dumps({"not_json": arguments[:1000]})
