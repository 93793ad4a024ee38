"""The providers by name; a provider's module, with its libraries, is imported when it is first needed."""

from importlib import import_module
from typing import cast

from nanoclaw_runner.providers.base import Provider, UnusableProviderError
from nanoclaw_runner.workshop import Workshop

MODULES = {
    "claude": "nanoclaw_runner.providers.claude",
    "openai": "nanoclaw_runner.providers.openai_chat",
    "scripted": "nanoclaw_runner.providers.scripted",
}
"""Each module has ``create(workshop) -> Provider``."""


def load(workshop: Workshop) -> Provider:
    """Return the configured provider.

    Raises:
        UnusableProviderError: there is none of that name, or it cannot be loaded.
    """
    config = workshop.config
    module_name = MODULES.get(config.provider)
    if module_name is None:
        known = ", ".join(sorted(MODULES))
        raise UnusableProviderError(f"there is no provider {config.provider!r}; the providers are {known}")
    try:
        return cast("Provider", import_module(module_name).create(workshop))
    except Exception as error:
        # Missing or unfitting libraries of an image are the operator's to mend; meanwhile the person is told.
        raise UnusableProviderError(f"the provider {config.provider} cannot be loaded: {error}") from error
