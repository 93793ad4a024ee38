"""The configuration file ``/etc/nanoclawd/config.yaml``: what may stand in it, and how it is read."""

from nanoclawd.config.load import load
from nanoclawd.config.model import (
    Access,
    Channel,
    Config,
    Endpoint,
    Gateway,
    Images,
    Limits,
    ModelChoice,
    Mounts,
    OneCli,
    Timeouts,
)

__all__ = [
    "Access",
    "Channel",
    "Config",
    "Endpoint",
    "Gateway",
    "Images",
    "Limits",
    "ModelChoice",
    "Mounts",
    "OneCli",
    "Timeouts",
    "load",
]
