"""The providers by name; a provider's module, with its libraries, is imported when it is first needed."""

from importlib import import_module
from typing import cast

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers.base import Provider, UnusableProviderError

MODULES = {
    "openai": "nanoclaw_runner.providers.openai_chat",
    "scripted": "nanoclaw_runner.providers.scripted",
}
"""Each module has ``create(config, places) -> Provider``."""


def load(config: AgentConfig, places: Places) -> Provider:
    """Return the configured provider.

    Raises:
        UnusableProviderError: there is none of that name, or its libraries are missing.
    """
    module_name = MODULES.get(config.provider)
    if module_name is None:
        known = ", ".join(sorted(MODULES))
        raise UnusableProviderError(f"there is no provider {config.provider!r}; the providers are {known}")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UnusableProviderError(f"the provider {config.provider} cannot be loaded: {error}") from error
    return cast("Provider", module.create(config, places))
