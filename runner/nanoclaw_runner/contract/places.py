"""Where things are inside a container (design: session directories)."""

from pathlib import Path

INBOUND_DB = Path("/session/in/inbound.db")
INBOUND_FILES = Path("/session/in/files")
OUTBOUND_DB = Path("/session/out/outbound.db")
OUTBOUND_FILES = Path("/session/out/files")
WORKSPACE = Path("/workspace")
TEMPORARY = Path("/tmp")  # noqa: S108  # the container's own tmpfs
HOME = Path("/home/agent")
AGENT_CONFIG = Path("/app/agent/agent.json")
SKILLS = Path("/app/skills")
"""Beneath it ``shipped`` and ``own``, each with a directory for each skill."""
AGENT_MEMORY = Path("/app/agent/AGENTS.md")
"""What every conversation of the agent begins with, composed by the host: shared base and fragments."""

GROUP_NOTES = Path("/workspace/AGENTS.md")
"""What the agent itself has noted down."""

GATEWAY_SOCKET = Path("/run/nanoclaw-gateway/gateway.sock")
TRUST_BUNDLE = GATEWAY_SOCKET.parent / "trust" / "bundle.pem"
"""All that a program is to trust: the world's authorities, and the gateway's, which signs where a secret is put in."""

CONTROL_SOCKET = Path("/run/nanoclaw/control.sock")
"""The runner's own: what the agent's tools ask here is a row for the host."""

FIRST_LISTEN_FD = 3
"""sd_listen_fds(3): the first passed descriptor."""
