"""Finds the adapter of a channel's type among the entry points of the installed packages."""

import sys
from typing import Any

from nanoclawd.channels.adapter import ENTRY_POINTS, AdapterFactory, InvalidOption
from nanoclawd.channels.setup import ChannelSetup


def find_factory(kind: str) -> AdapterFactory:
    """Import and return the factory of a type. Reads the disk, and runs the package's own code: not for the loop.

    Raises:
        InvalidOption: no package, or more than one, provides the type.
        Exception: whatever importing the package raises.
    """
    factory: AdapterFactory = _point(kind).load()
    return factory


def find_setup(kind: str) -> ChannelSetup:
    """Import what a type asks whoever adds a channel of it, which may be nothing; as :func:`find_factory`."""
    point = _point(kind)
    point.load()
    found = getattr(sys.modules[point.module], "SETUP", None)
    return found if isinstance(found, ChannelSetup) else ChannelSetup()


def known_types() -> tuple[str, ...]:
    """Return the types that installed packages provide. Reads the disk."""
    from importlib.metadata import entry_points

    return tuple(sorted({point.name for point in entry_points(group=ENTRY_POINTS)}))


def _point(kind: str) -> Any:
    # Six megabytes of parsers for mail and archives, which the terminal alone does not need.
    from importlib.metadata import entry_points

    found = {point.value: point for point in entry_points(group=ENTRY_POINTS, name=kind)}
    if not found:
        known = ", ".join(known_types()) or "none"
        raise InvalidOption("type", f"no installed package provides the type {kind!r}; there are: {known}")
    if len(found) > 1:
        raise InvalidOption("type", f"several packages provide the type {kind!r}: {', '.join(sorted(found))}")
    (point,) = found.values()
    return point
