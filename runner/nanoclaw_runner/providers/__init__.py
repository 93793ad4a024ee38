"""The providers by name; a provider's module, with its libraries, is imported when it is first needed."""

from importlib import import_module
from typing import Final, cast

from nanoclaw_runner import mcp
from nanoclaw_runner.providers.base import Provider, UnusableProviderError
from nanoclaw_runner.workshop import Workshop

MODULES = {
    "claude": "nanoclaw_runner.providers.claude",
    "openai": "nanoclaw_runner.providers.openai_chat",
    "scripted": "nanoclaw_runner.providers.scripted",
}
"""Each module has ``create(workshop) -> Provider``."""

GROUP: Final = "nanoclaw_runner.providers"
"""Entry points of other packages in the image: each names a function like ``create``."""

_HAS_A_CLIENT_OF_ITS_OWN: Final = frozenset({"claude"})


def load(workshop: Workshop) -> Provider:
    """Return the configured provider.

    Raises:
        UnusableProviderError: there is none of that name, or it cannot be loaded.
    """
    config = workshop.config
    name = config.provider
    if config.mcp_servers and name not in _HAS_A_CLIENT_OF_ITS_OWN:
        mcp.use_libraries()
    try:
        if name in MODULES:
            return cast("Provider", import_module(MODULES[name]).create(workshop))
        # Looked for only now: it reads the metadata of everything that the image has installed, and with it come the
        # libraries of mail and archives.
        from importlib.metadata import entry_points

        found = entry_points(group=GROUP)
        if name in found.names:
            return cast("Provider", found[name].load()(workshop))
    except Exception as error:
        # Missing or unfitting libraries of an image are the operator's to mend; meanwhile the person is told.
        raise UnusableProviderError(f"the provider {name} cannot be loaded: {error}") from error
    known = ", ".join(sorted({*MODULES, *found.names}))
    raise UnusableProviderError(f"there is no provider {name!r}; the providers are {known}")
