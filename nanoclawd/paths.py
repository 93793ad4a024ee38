"""Every path of the appliance, from one root that is resolved once at start (a symlink to another disk is normal)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

DEFAULT_STATE_ROOT = Path("/var/lib/nanoclaw")
CONFIG_FILE = Path("/etc/nanoclawd/config.yaml")
CONTROL_SOCKET = Path("/run/nanoclawd/control.sock")
REQUESTS_SOCKET = Path("/run/nanoclawd/requests.sock")
CHANNELS_DIRECTORY = Path("/run/nanoclawd/channels")
AGENTS_FILE = Path("/run/nanoclaw-agents/agents.json")
GATEWAY_DIRECTORY = Path("/run/nanoclaw-gateway")
SHARE = Path("/usr/share/nanoclawd")


@dataclass(frozen=True, slots=True)
class SessionPaths:
    """A session's own directories."""

    root: Path

    @property
    def inbound(self) -> Path:
        """Mounted read-only in the container."""
        return self.root / "in"

    @property
    def inbound_db(self) -> Path:
        """Written by the host only."""
        return self.root / "in" / "inbound.db"

    @property
    def inbound_files(self) -> Path:
        """Files that people have sent, in a directory for each message."""
        return self.root / "in" / "files"

    @property
    def outbound(self) -> Path:
        """Mounted read-write in the container; sticky."""
        return self.root / "out"

    @property
    def outbound_db(self) -> Path:
        """Written by the container only."""
        return self.root / "out" / "outbound.db"

    @property
    def outbound_files(self) -> Path:
        """Files that the agent sends: flat, written by the container, removed by the host."""
        return self.root / "out" / "files"

    @property
    def home(self) -> Path:
        """The agent's home: CLI state and transcripts."""
        return self.root / "home"


@dataclass(frozen=True, slots=True)
class StatePaths:
    """What is below the state root."""

    root: Path

    @classmethod
    def resolve(cls, root: Path = DEFAULT_STATE_ROOT) -> Self:
        """Follow the root's links once; everything beneath is opened without following any."""
        return cls(root.resolve())

    @property
    def central_db(self) -> Path:
        """The central database."""
        return self.root / "central.db"

    @property
    def unread_units(self) -> Path:
        """There while unit files may have changed since the user manager read them."""
        return self.root / "units-unread"

    def session(self, group: str, session_id: str) -> SessionPaths:
        """A session's directories."""
        return SessionPaths(self.root / "sessions" / group / session_id)

    def sessions_of(self, group: str) -> Path:
        """Where a group's sessions are."""
        return self.root / "sessions" / group

    def workspace(self, group: str) -> Path:
        """A group's workspace, shared by its sessions."""
        return self.root / "groups" / group

    def agent_json(self, group: str) -> Path:
        """What the group's runners are told."""
        return self.root / "agents" / group / "agent.json"

    def agent_memory(self, group: str) -> Path:
        """What the group's agent is to know: composed by the host, beside agent.json."""
        return self.root / "agents" / group / "AGENTS.md"

    @property
    def skills(self) -> Path:
        """The operator's skills, a directory each; beside the package's."""
        return self.root / "skills"

    def group_image(self, group: str) -> Path:
        """Where a group's own image is built: its Containerfile alone in ``context``, and what the build said."""
        return self.root / "images" / "groups" / group

    @property
    def staging(self) -> Path:
        """Files on their way in: emptied when the daemon starts."""
        return self.root / "staging"

    @property
    def channels(self) -> Path:
        """Below it each channel's own state."""
        return self.root / "channels"

    @property
    def hook_secrets(self) -> Path:
        """A file for each hook whose callers sign: the secret, for nobody but the daemon (0600)."""
        return self.root / "hooks"

    @property
    def runner_trees(self) -> Path:
        """Published runner trees, one per content hash."""
        return self.root / "runner"

    @property
    def image_contexts(self) -> Path:
        """Build contexts."""
        return self.root / "images"

    @property
    def quadlets(self) -> Path:
        """Where the user manager's quadlet generator looks."""
        return self.root / ".config" / "containers" / "systemd"

    @property
    def user_units(self) -> Path:
        """Where the user manager looks for plain units."""
        return self.root / ".config" / "systemd" / "user"
