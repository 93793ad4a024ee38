"""``agent.json``: what a runner is told about its agent. It comes by file, never by environment."""

import json
from dataclasses import asdict, dataclass, fields

from nanoclaw_runner.contract import CONTRACT_VERSION

DEFAULT_MAX_MESSAGES_PER_PROMPT = 10
DEFAULT_IDLE_SECONDS = 300.0
DEFAULT_SILENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """One agent group's configuration as its runner sees it.

    Attributes:
        group: the agent group's name.
        assistant_name: how the agent calls itself.
        provider: name of the provider module, e.g. ``openai``.
        endpoint: name of the model endpoint at the gateway.
        model: the model's name at that endpoint.
        instructions: system prompt.
        timezone: IANA name of the owner's zone.
        max_messages_per_prompt: rows in one prompt, at most.
        idle_seconds: quiet time after which the runner ends.
        silence_seconds: time without a sign from the provider after which a turn has stalled.
    """

    group: str = ""
    assistant_name: str = "Assistant"
    provider: str = "openai"
    endpoint: str = "embedded"
    model: str = ""
    instructions: str = ""
    timezone: str = "UTC"
    max_messages_per_prompt: int = DEFAULT_MAX_MESSAGES_PER_PROMPT
    idle_seconds: float = DEFAULT_IDLE_SECONDS
    silence_seconds: float = DEFAULT_SILENCE_SECONDS
    contract: int = CONTRACT_VERSION


def to_json(config: AgentConfig) -> str:
    """Return the file's text."""
    return json.dumps(asdict(config), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> AgentConfig:
    """Read the file's text; unknown keys of a newer daemon are passed over, missing ones get their defaults.

    Raises:
        ValueError: not a JSON object, or a value of the wrong type.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("agent.json does not hold an object")  # noqa: TRY004  # a malformed file, not a caller's mistake
    values: dict[str, object] = {}
    for field in fields(AgentConfig):
        if field.name not in found:
            continue
        default = field.default
        value = found[field.name]
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise ValueError(f"agent.json: {field.name} must be a {type(default).__name__}")
        values[field.name] = value
    return AgentConfig(**values)  # type: ignore[arg-type]  # each value was checked against its field's default above
