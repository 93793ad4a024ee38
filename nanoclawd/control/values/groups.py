"""What io.nanoclaw.Groups carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """An agent group with the settings in force, defaults filled in. ``name`` is its folder.

    ``image`` is the tag of the group's own image; empty where it runs in its provider's.
    """

    name: str
    display_name: str
    provider: str
    model: str
    instructions: str
    cli_scope: str
    effort: str
    max_messages: int
    skills: str
    image: str
    daily_tokens: int
    daily_cost: float
    created_at: str
    sessions: int = 0
    awake: int = 0


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """A group's own settings. None: not given (create: the default; update: as it was). Empty: back to the default."""

    provider: str | None = None
    model: str | None = None
    instructions: str | None = None
    display_name: str | None = None
    cli_scope: str | None = None
    effort: str | None = None
    max_messages: int | None = None
    skills: str | None = None
    daily_tokens: str | None = None
    daily_cost: str | None = None
