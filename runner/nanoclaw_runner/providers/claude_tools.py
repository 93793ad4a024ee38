"""What Claude may use: a closed list of the client's own tools, the runner's by an MCP server inside this process."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from nanoclaw_runner.contract.agent_config import McpServer
from nanoclaw_runner.providers import base
from nanoclaw_runner.tools.base import Toolbox, ToolError
from nanoclaw_runner.way_out import variables

OWN: Final = "nanoclaw"
"""The runner's own MCP server; no configured one can have its name."""

BUILT_IN: Final = (
    *("Bash", "Read", "Write", "Edit", "Glob", "Grep", "NotebookEdit"),
    # Carried out by the API, so it needs no network here.
    "WebSearch",
    *("Task", "TaskOutput", "TaskStop", "TeamCreate", "TeamDelete", "SendMessage"),
    *("TodoWrite", "ToolSearch", "Skill"),
)
"""§7.3. The list is closed: what a newer client brings along is not there before somebody has thought about it."""

REFUSED: Final = (
    # Tasks are the appliance's: they must be seen by `ncl tasks` and outlive the container.
    *("CronCreate", "CronDelete", "CronList", "ScheduleWakeup"),
    # Nobody sits at the client's own screen.
    *("AskUserQuestion", "EnterPlanMode", "ExitPlanMode", "EnterWorktree", "ExitWorktree"),
    # It asks a site of its maker's about each host first, and of a refusal by the gateway it says "proxy refused the
    # connection" only: nothing of who can allow it. Bash with curl gets the gateway's own words.
    "WebFetch",
)
BASH_SECONDS: Final = 120.0
BASH_MOST_SECONDS: Final = 600.0
MCP_SECONDS: Final = 600.0
_GRACE_SECONDS: Final = 15.0
MAX_DENIALS: Final = 50
"""A model that goes on calling tools for so long after it was told to stop has its turn ended."""


def allowed(servers: tuple[McpServer, ...]) -> list[str]:
    """Return the names of what needs nobody's permission."""
    return [*BUILT_IN, *(f"mcp__{safe_name(name)}__*" for name in (OWN, *(server.name for server in servers)))]


def safe_name(name: str) -> str:
    """Return a server's name as it stands in its tools' names."""
    return "".join(
        character if character.isascii() and (character.isalnum() or character in "_-") else "_" for character in name
    )


def configured(servers: tuple[McpServer, ...], gateway: str, socket: Path) -> dict[str, dict[str, Any]]:
    """Return the agent's MCP servers as the client wants them; one of our own name is left out.

    Args:
        servers: the agent's.
        gateway: where the gateway is reached by http.
        socket: and where it listens.
    """
    found: dict[str, dict[str, Any]] = {}
    for server in servers:
        if server.name == OWN:
            continue
        if server.url:
            found[server.name] = {"type": "http", "url": f"{gateway}/{server.url.lstrip('/')}"}
        else:
            found[server.name] = {
                "type": "stdio",
                "command": server.command,
                "args": list(server.args),
                "env": {**variables(gateway, socket), **server.env},
            }
    return found


def own_server(sdk: Any, tools: Toolbox) -> Any:
    """Return the MCP server of the runner's own tools."""
    made = [
        sdk.SdkMcpTool(tool.name, tool.description, tool.schema, _handler(tools, tool.name)) for tool in tools.tools
    ]
    return sdk.create_sdk_mcp_server(OWN, "1.0.0", made)


def _handler(tools: Toolbox, name: str) -> Callable[[Mapping[str, object]], Awaitable[dict[str, Any]]]:
    async def call(arguments: Mapping[str, object]) -> dict[str, Any]:
        try:
            return {"content": [{"type": "text", "text": await tools.call(name, arguments)}]}
        except ToolError as error:
            return {"content": [{"type": "text", "text": f"Error: {error}"}], "is_error": True}

    return call


class Watch:
    """The client's hooks around each call of a tool: says what runs, refuses what is refused, and counts.

    Attributes:
        running: calls that have not ended, by the client's ids.
        denials: how many calls of this turn were refused for their number.
    """

    def __init__(self, tools: Toolbox, max_calls: int, say: Callable[[base.Event], None]) -> None:
        self.running: dict[str, str] = {}
        self.denials = 0
        self._tools = tools
        self._max_calls = max_calls
        self._say = say
        self._calls = 0

    def begin_turn(self) -> None:
        """Count anew."""
        self._calls = self.denials = 0
        self.running.clear()

    async def before(self, call: Mapping[str, Any], call_id: str | None, _context: object) -> dict[str, Any]:
        """Judge a call, and announce it."""
        name = str(call.get("tool_name"))
        self._tools.before()
        if name in REFUSED:
            return _deny(f"{name} is not available here")
        own = name.startswith(f"mcp__{OWN}__")
        if not own:
            if self._calls + self._tools.calls >= self._max_calls:
                self.denials += 1
                return _deny(f"this turn has made {self._max_calls} tool calls, which is the limit: answer now")
            self._calls += 1
            self._say(base.ToolBegan(name, _timeout(name, call.get("tool_input"))))
        self.running[call_id or name] = name
        return {}

    async def after(self, call: Mapping[str, Any], call_id: str | None, _context: object) -> dict[str, Any]:
        """Note that a call has ended, whatever came of it."""
        name = str(call.get("tool_name"))
        self.running.pop(call_id or name, None)
        if not name.startswith(f"mcp__{OWN}__"):
            self._say(base.ToolEnded(name))
        return {}


def _timeout(name: str, arguments: object) -> float | None:
    if name.startswith("mcp__"):
        return MCP_SECONDS + _GRACE_SECONDS
    if name != "Bash":
        return None
    asked = arguments.get("timeout") if isinstance(arguments, Mapping) else None
    seconds = asked / 1000 if isinstance(asked, int | float) and asked > 0 else BASH_SECONDS
    return min(seconds, BASH_MOST_SECONDS) + _GRACE_SECONDS


def _deny(reason: str) -> dict[str, Any]:
    decision = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": reason}
    return {"hookSpecificOutput": decision}
