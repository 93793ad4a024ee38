"""What io.nanoclaw.Groups carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """An agent group with the settings in force, defaults filled in. ``name`` is its folder."""

    name: str
    display_name: str
    provider: str
    model: str
    instructions: str
    cli_scope: str
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
