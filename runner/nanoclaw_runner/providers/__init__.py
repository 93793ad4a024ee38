"""The providers by name; a provider's module, with its libraries, is imported when it is first needed."""

from importlib import import_module
from typing import cast

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers.base import Provider, UnusableProviderError

MODULES = {
    "openai": "nanoclaw_runner.providers.openai_chat",
    "scripted": "nanoclaw_runner.providers.scripted",
}
"""Each module has ``create(config, places, desk) -> Provider``."""


def load(config: AgentConfig, places: Places, desk: Desk) -> Provider:
    """Return the configured provider.

    Raises:
        UnusableProviderError: there is none of that name, or it cannot be loaded.
    """
    module_name = MODULES.get(config.provider)
    if module_name is None:
        known = ", ".join(sorted(MODULES))
        raise UnusableProviderError(f"there is no provider {config.provider!r}; the providers are {known}")
    try:
        return cast("Provider", import_module(module_name).create(config, places, desk))
    except Exception as error:
        # Missing or unfitting libraries of an image are the operator's to mend; meanwhile the person is told.
        raise UnusableProviderError(f"the provider {config.provider} cannot be loaded: {error}") from error
