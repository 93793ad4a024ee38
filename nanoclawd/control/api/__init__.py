"""What the control socket needs from the daemon's core: one protocol per Varlink interface.

Any method may raise a :class:`~nanoclawd.errors.NanoclawError`; the client gets it as the Varlink error of its
``code``. Another exception is a bug: the client gets ``Internal`` with a reference that the journal has too.
"""

from typing import Protocol

from nanoclawd.control.api.agents import PeersBackend, UsageBackend
from nanoclawd.control.api.chat import ChatBackend, ChatScreen, ClientGone
from nanoclawd.control.api.directory import (
    ChatsBackend,
    DestinationsBackend,
    MembersBackend,
    RolesBackend,
    UsersBackend,
    WiringsBackend,
)
from nanoclawd.control.api.egress import EgressBackend
from nanoclawd.control.api.hooks import HooksBackend
from nanoclawd.control.api.machine import ApplianceBackend, GroupsBackend, ImagesBackend, SessionsBackend
from nanoclawd.control.api.outfit import McpBackend, MountsBackend, PackagesBackend, SkillsBackend
from nanoclawd.control.api.requests import RequestsBackend
from nanoclawd.control.api.secrets import SecretsBackend
from nanoclawd.control.api.tasks import TasksBackend
from nanoclawd.control.api.traffic import ApprovalsBackend, ChannelsBackend, QuestionsBackend, RoutingBackend

__all__ = [
    "ApplianceBackend",
    "ApprovalsBackend",
    "Backend",
    "ChannelsBackend",
    "ChatBackend",
    "ChatScreen",
    "ChatsBackend",
    "ClientGone",
    "DestinationsBackend",
    "EgressBackend",
    "GroupsBackend",
    "HooksBackend",
    "ImagesBackend",
    "McpBackend",
    "MembersBackend",
    "MountsBackend",
    "PackagesBackend",
    "PeersBackend",
    "QuestionsBackend",
    "RequestsBackend",
    "RolesBackend",
    "RoutingBackend",
    "SecretsBackend",
    "SessionsBackend",
    "SkillsBackend",
    "TasksBackend",
    "UsageBackend",
    "UsersBackend",
    "WiringsBackend",
]


class Backend(Protocol):
    """All that the control socket serves: the backend of each interface under its name."""

    @property
    def appliance(self) -> ApplianceBackend:
        """Behind io.nanoclaw.Appliance."""

    @property
    def groups(self) -> GroupsBackend:
        """Behind io.nanoclaw.Groups."""

    @property
    def sessions(self) -> SessionsBackend:
        """Behind io.nanoclaw.Sessions."""

    @property
    def images(self) -> ImagesBackend:
        """Behind io.nanoclaw.Images."""

    @property
    def packages(self) -> PackagesBackend:
        """Behind io.nanoclaw.Packages."""

    @property
    def mcp(self) -> McpBackend:
        """Behind io.nanoclaw.Mcp."""

    @property
    def skills(self) -> SkillsBackend:
        """Behind io.nanoclaw.Skills."""

    @property
    def mounts(self) -> MountsBackend:
        """Behind io.nanoclaw.Mounts."""

    @property
    def chat(self) -> ChatBackend:
        """Behind io.nanoclaw.Chat."""

    @property
    def chats(self) -> ChatsBackend:
        """Behind io.nanoclaw.Chats."""

    @property
    def wirings(self) -> WiringsBackend:
        """Behind io.nanoclaw.Wirings."""

    @property
    def users(self) -> UsersBackend:
        """Behind io.nanoclaw.Users."""

    @property
    def roles(self) -> RolesBackend:
        """Behind io.nanoclaw.Roles."""

    @property
    def members(self) -> MembersBackend:
        """Behind io.nanoclaw.Members."""

    @property
    def destinations(self) -> DestinationsBackend:
        """Behind io.nanoclaw.Destinations."""

    @property
    def approvals(self) -> ApprovalsBackend:
        """Behind io.nanoclaw.Approvals."""

    @property
    def questions(self) -> QuestionsBackend:
        """Behind io.nanoclaw.Questions."""

    @property
    def channels(self) -> ChannelsBackend:
        """Behind io.nanoclaw.Channels."""

    @property
    def routing(self) -> RoutingBackend:
        """Behind io.nanoclaw.Routing."""

    @property
    def tasks(self) -> TasksBackend:
        """Behind io.nanoclaw.Tasks."""

    @property
    def usage(self) -> UsageBackend:
        """Behind io.nanoclaw.Usage."""

    @property
    def egress(self) -> EgressBackend:
        """Behind io.nanoclaw.Egress."""

    @property
    def secrets(self) -> SecretsBackend:
        """Behind io.nanoclaw.Secrets."""

    @property
    def peer_links(self) -> PeersBackend:
        """Behind io.nanoclaw.Peers."""

    @property
    def hooks(self) -> HooksBackend:
        """Behind io.nanoclaw.Hooks."""
