"""What a tool is: defined once, by its arguments' type, and offered to every provider with the same JSON schema."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from nanoclaw_runner.tool_error import HostError, ToolError

__all__ = [
    "DEFAULT_TIMEOUT_SECONDS",
    "MAX_ARGUMENT_BYTES",
    "MAX_RESULT_CHARACTERS",
    "HostError",
    "Tool",
    "ToolError",
    "Toolbox",
    "Watcher",
]

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_SECONDS: Final = 120.0
MAX_RESULT_CHARACTERS: Final = 64 * 1024
MAX_ARGUMENT_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Tool[Arguments: msgspec.Struct]:
    """One tool.

    Attributes:
        name: what the model calls it.
        description: what it does, for the model.
        arguments: type of its arguments; the JSON schema is made from it, and every call is checked against it.
        run: carries the call out and returns its text; raises ToolError.
        timeout: seconds after which a call is ended with an error; None: the tool bounds itself.
    """

    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Arguments], Awaitable[str]]
    timeout: float | None = DEFAULT_TIMEOUT_SECONDS

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments, without references: not every provider resolves them."""
        (schema,), components = msgspec.json.schema_components([self.arguments], ref_template="#/$defs/{name}")
        resolved = _resolved(schema, components)
        resolved.pop("title", None)
        return resolved


class Watcher:
    """Hears of each call; what it does with that is its own affair."""

    def began(self, name: str, timeout: float | None) -> None:
        """A call has begun, and ends by itself after so many seconds."""

    def ended(self, name: str) -> None:
        """The call is over, whatever came of it."""


class Toolbox:
    """The tools of one agent, and the bounds of a turn.

    Attributes:
        watcher: hears of each call.
        before: called before anything can come of a call; what it raises ends the call.
        calls: how many calls the present turn has made.
    """

    def __init__(self, tools: Iterable[Tool[Any]], *, max_calls: int, watcher: Watcher | None = None) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._max_calls = max_calls
        self.watcher = watcher or Watcher()
        self.before: Callable[[], None] = lambda: None
        self.calls = 0

    @property
    def tools(self) -> tuple[Tool[Any], ...]:
        """All tools, for a provider that offers them."""
        return tuple(self._tools.values())

    def add(self, tools: Iterable[Tool[Any]]) -> None:
        """Add tools that only some providers are to have; one of a known name takes its place."""
        self._tools |= {tool.name: tool for tool in tools}

    def remove(self, names: Iterable[str]) -> None:
        """Take tools away."""
        for name in names:
            self._tools.pop(name, None)

    def begin_turn(self) -> None:
        """Count calls anew."""
        self.calls = 0

    async def call(self, name: str, arguments: Mapping[str, object] | str) -> str:
        """Call a tool and return its text, bounded.

        Args:
            name: of the tool.
            arguments: an object, or the JSON text of one as a model wrote it.

        Raises:
            ToolError: there is no such tool, the arguments do not fit, the turn's bound is reached, it took too long,
                or the tool refused.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"unknown tool: {name[:80]}. There are: {', '.join(sorted(self._tools))}")
        if self.calls >= self._max_calls:
            raise ToolError(f"this turn has made {self._max_calls} tool calls, which is the limit: answer now")
        self.calls += 1
        decoded = _arguments(tool, arguments)
        self.before()
        self.watcher.began(name, tool.timeout)
        bound = asyncio.timeout(tool.timeout)
        try:
            async with bound:
                return _bounded(await tool.run(decoded))
        except ToolError:
            raise
        except Exception as error:
            if bound.expired():
                raise ToolError(f"{name} was not done within {tool.timeout:g} seconds and was ended") from None
            # A tool's fault is no reason to give the turn up: the model can do without.
            _log.exception("the tool %s failed", name)
            raise ToolError(f"{name} failed: {str(error) or type(error).__name__}") from error
        finally:
            self.watcher.ended(name)


def _arguments(tool: Tool[Any], arguments: Mapping[str, object] | str) -> Any:
    if isinstance(arguments, str):
        if len(arguments.encode(errors="replace")) > MAX_ARGUMENT_BYTES:
            raise ToolError(f"{tool.name}: the arguments have more than {MAX_ARGUMENT_BYTES} bytes")
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise ToolError(f"{tool.name}: the arguments are no JSON: {error}") from None
    if not isinstance(arguments, Mapping):
        raise ToolError(f"{tool.name}: the arguments are no JSON object")
    try:
        # A model's JSON can spell halves of characters, which no database and no file's name can hold.
        whole = json.loads(json.dumps(dict(arguments), ensure_ascii=False).encode(errors="replace"))
        return msgspec.convert(whole, tool.arguments)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"{tool.name}: {error}") from None


def _bounded(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    marker = f"\n[cut here: {len(text)} characters, {MAX_RESULT_CHARACTERS} fit]"
    return text[: MAX_RESULT_CHARACTERS - len(marker)] + marker


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _resolved(components[reference.removeprefix("#/$defs/")], components)
    return {key: _inner(value, components) for key, value in schema.items()}


def _inner(value: object, components: dict[str, Any]) -> object:
    if isinstance(value, dict):
        return _resolved(value, components)
    if isinstance(value, list):
        return [_inner(item, components) for item in value]
    return value
