"""What io.nanoclaw.Packages, Mcp, Skills and Mounts carry."""

from dataclasses import dataclass


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
