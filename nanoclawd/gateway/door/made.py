"""Puts the door together."""

import logging
from pathlib import Path

from nanoclawd.gateway.door.asking import Asker
from nanoclawd.gateway.door.authority import Authority
from nanoclawd.gateway.door.injection import Injection
from nanoclawd.gateway.door.inside import Door
from nanoclawd.gateway.door.kept_tokens import KeptTokens
from nanoclawd.gateway.door.tokens import AccessTokens
from nanoclawd.gateway.door.trust import Trust
from nanoclawd.gateway.door.vault import Vault
from nanoclawd.gateway.policy import AgentDirectory
from nanoclawd.gateway.reaching import Reaching

log = logging.getLogger(__name__)


async def make_door(agents: AgentDirectory, vault: Vault, reaching: Reaching, state: Path, shown: Path) -> Door:
    """Return a door; what containers are to trust is written down when this returns.

    Args:
        agents: what the daemon publishes.
        vault: the secrets' values.
        reaching: connects.
        state: directory that is the gateway's alone.
        shown: directory that containers see.
    """
    trust = Trust(Authority(state), agents.inside, shown)
    tokens = AccessTokens(Asker(reaching, trust).ask, KeptTokens(state / "tokens"))
    door = Door(agents, Injection(vault, tokens), trust)
    try:
        await door.publish()
    except (OSError, ValueError) as error:
        # Everything else goes on: models, and hosts that nobody looks into.
        log.critical("no certificate can be made for containers, so that secrets and narrow rules fail: %s", error)
    return door
