"""``agent.json``: what a runner is told about its agent. It comes by file, never by environment (F-189)."""

from typing import Literal

import msgspec

from nanoclaw_runner.contract import CONTRACT_VERSION

DEFAULT_MAX_MESSAGES_PER_PROMPT = 10
DEFAULT_IDLE_SECONDS = 300.0
DEFAULT_SILENCE_SECONDS = 300.0
DEFAULT_QUIET_SECONDS = 20.0
DEFAULT_TURN_SECONDS = 1800.0
DEFAULT_MAX_TOOL_CALLS = 200
DEFAULT_CONTEXT_TOKENS = 128_000


class McpServer(msgspec.Struct, frozen=True):
    """An MCP server of the agent's: a program in the container, or a URL beneath the gateway, exactly one of them.

    Attributes:
        name: what its tools' names begin with.
        command: the program; empty for one that is reached by http.
        args: the program's arguments.
        env: variables of the program alone.
        url: where it is reached; empty for a program.
        instructions: what the agent is told about it.
    """

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str = ""
    instructions: str = ""


class AgentConfig(msgspec.Struct, frozen=True):
    """One agent group's configuration as its runner sees it.

    Attributes:
        group: the agent group's name.
        assistant_name: how the agent calls itself.
        provider: name of the provider module, e.g. ``openai``.
        endpoint: name of the model endpoint at the gateway.
        model: the model's name at that endpoint.
        effort: how much the model is to think, where it can be told; empty: its own default.
        prompt: ``addressed``: messages as elements with ids, names and times; ``plain``: bare words, for small models.
        tools: whether the model is offered tools: small models only stumble over them.
        context_tokens: what the model can hold.
        instructions: system prompt.
        timezone: IANA name of the owner's zone.
        max_messages_per_prompt: rows in one prompt, at most (F-175).
        idle_seconds: quiet time after which the runner ends.
        silence_seconds: time without a sign from the provider after which a turn has stalled.
        quiet_seconds: a provider's open query that has nothing to answer is closed after this (F-39).
        turn_seconds: an answer must be complete within this.
        max_tool_calls: tool calls of one turn, at most.
        task_scripts: whether the scripts of tasks are run; a task that has one fails where they are not.
        may_ask_host: whether the agent may use ``ncl`` and the tools that change itself.
        mcp_servers: MCP servers beside the runner's own tools.
        skills: names of the shared skills that it has; None: all.
    """

    group: str = ""
    assistant_name: str = "Assistant"
    provider: str = "openai"
    endpoint: str = "embedded"
    model: str = ""
    effort: str = ""
    prompt: Literal["addressed", "plain"] = "addressed"
    tools: bool = True
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    instructions: str = ""
    timezone: str = "UTC"
    max_messages_per_prompt: int = DEFAULT_MAX_MESSAGES_PER_PROMPT
    idle_seconds: float = DEFAULT_IDLE_SECONDS
    silence_seconds: float = DEFAULT_SILENCE_SECONDS
    quiet_seconds: float = DEFAULT_QUIET_SECONDS
    turn_seconds: float = DEFAULT_TURN_SECONDS
    max_tool_calls: int = DEFAULT_MAX_TOOL_CALLS
    task_scripts: bool = True
    may_ask_host: bool = True
    mcp_servers: tuple[McpServer, ...] = ()
    skills: tuple[str, ...] | None = None
    contract: int = CONTRACT_VERSION


def to_json(config: AgentConfig) -> str:
    """Return the file's text."""
    return msgspec.json.format(msgspec.json.encode(config, order="sorted"), indent=2).decode() + "\n"


def from_json(text: str) -> AgentConfig:
    """Read the file's text; unknown keys of a newer daemon are passed over, missing ones get their defaults.

    Raises:
        ValueError: not a JSON object, or a value of the wrong type.
    """
    try:
        return msgspec.json.decode(text, type=AgentConfig)
    except msgspec.MsgspecError as error:
        raise ValueError(f"agent.json: {error}") from error
