"""The configuration file ``/etc/nanoclawd/config.yaml``: what may stand in it, and how it is read."""

from pathlib import Path

from nanoclawd.config.load import load
from nanoclawd.config.model import (
    Config,
    Endpoint,
    Gateway,
    Images,
    Limits,
    ModelChoice,
    Timeouts,
)

CONFIG_PATH = Path("/etc/nanoclawd/config.yaml")

__all__ = ["CONFIG_PATH", "Config", "Endpoint", "Gateway", "Images", "Limits", "ModelChoice", "Timeouts", "load"]
