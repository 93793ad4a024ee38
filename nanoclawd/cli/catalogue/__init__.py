"""Every command of ``ncl``."""

from collections.abc import Iterator

from nanoclawd.cli.catalogue import (
    agents,
    appliance,
    channels,
    credentials,
    egress,
    hooks,
    outfit,
    people,
    secrets,
    tasks,
    traffic,
    usage,
)
from nanoclawd.cli.spec import Command, Resource, Verb

TOP: tuple[Verb | Resource, ...] = (
    *appliance.VERBS,
    *agents.RESOURCES,
    *outfit.RESOURCES,
    *tasks.RESOURCES,
    *hooks.RESOURCES,
    *usage.RESOURCES,
    *channels.RESOURCES,
    *traffic.RESOURCES,
    *egress.RESOURCES,
    *secrets.RESOURCES,
    *credentials.RESOURCES,
    *people.RESOURCES,
    *usage.VERBS,
    *appliance.LAST,
)
"""In the order of the help."""

RESOURCES: dict[str, Resource] = {entry.name: entry for entry in TOP if isinstance(entry, Resource)}


def commands() -> Iterator[Command]:
    """Yield all commands, as the help has them."""
    for entry in TOP:
        if isinstance(entry, Verb):
            yield Command(entry)
        else:
            yield from (Command(verb, entry) for verb in entry.verbs)
