"""What io.nanoclaw.Packages, Mcp, Skills and Mounts carry."""

from dataclasses import dataclass

from nanoclaw_runner.contract import agent_config
from nanoclawd.errors import InvalidName


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a group's own. ``manager`` is apt, npm or pip."""

    group: str
    manager: str
    name: str


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server of a group: a program, or a url ``ENDPOINT/PATH``. ``env`` has NAME=VALUE."""

    group: str
    name: str
    program: str
    args: list[str]
    env: list[str]
    url: str
    instructions: str


@dataclass(frozen=True, slots=True)
class Skill:
    """A shared skill. ``source`` is shipped (of the package) or own (of the operator)."""

    name: str
    description: str
    source: str
    path: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the machine that a group has under /mnt. ``problem`` says why it is left out at the moment."""

    group: str
    name: str
    path: str
    writable: bool
    problem: str | None = None


def told_to_agents(server: McpServer) -> agent_config.McpServer:
    """Return a server as its agent's runner is told of it.

    Raises:
        InvalidName: a variable is not NAME=VALUE, or there twice.
    """
    env: dict[str, str] = {}
    for entry in server.env:
        name, equals, value = entry.partition("=")
        if not equals or name in env:
            raise InvalidName(f"{entry[:60]!r} is not NAME=VALUE, or is there twice")
        env[name] = value
    return agent_config.McpServer(server.name, server.program, tuple(server.args), env, server.url, server.instructions)
