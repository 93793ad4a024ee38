"""Finds the adapter of a channel's type among the entry points of the installed packages."""

from nanoclawd.channels.adapter import ENTRY_POINTS, AdapterFactory, InvalidOption


def find_factory(kind: str) -> AdapterFactory:
    """Import and return the factory of a type. Reads the disk, and runs the package's own code: not for the loop.

    Raises:
        InvalidOption: no package, or more than one, provides the type.
        Exception: whatever importing the package raises.
    """
    # Six megabytes of parsers for mail and archives, which the terminal alone does not need.
    from importlib.metadata import entry_points

    found = {point.value: point for point in entry_points(group=ENTRY_POINTS, name=kind)}
    if not found:
        known = ", ".join(sorted({point.name for point in entry_points(group=ENTRY_POINTS)})) or "none"
        raise InvalidOption("type", f"no installed package provides the type {kind!r}; there are: {known}")
    if len(found) > 1:
        raise InvalidOption("type", f"several packages provide the type {kind!r}: {', '.join(sorted(found))}")
    (point,) = found.values()
    factory: AdapterFactory = point.load()
    return factory
