"""What the control socket serves, from the daemon's parts."""

from nanoclawd.core.appliance import Appliance
from nanoclawd.core.backends.appliance import ApplianceBackend
from nanoclawd.core.backends.approvals import ApprovalsBackend, QuestionsBackend
from nanoclawd.core.backends.channels import ChannelsBackend
from nanoclawd.core.backends.chat import ChatBackend
from nanoclawd.core.backends.chats import ChatsBackend
from nanoclawd.core.backends.destinations import DestinationsBackend
from nanoclawd.core.backends.egress import EgressBackend
from nanoclawd.core.backends.groups import GroupsBackend
from nanoclawd.core.backends.hooks import HooksBackend
from nanoclawd.core.backends.images import ImagesBackend
from nanoclawd.core.backends.outfit import McpBackend, MountsBackend, PackagesBackend, SkillsBackend
from nanoclawd.core.backends.people import MembersBackend, RolesBackend, UsersBackend
from nanoclawd.core.backends.routing import RoutingBackend
from nanoclawd.core.backends.secrets import SecretsBackend
from nanoclawd.core.backends.sessions import SessionsBackend
from nanoclawd.core.backends.tasks import TasksBackend
from nanoclawd.core.backends.usage import PeersBackend, UsageBackend
from nanoclawd.core.backends.wirings import WiringsBackend


class Backend:
    """All that the control socket serves (:class:`nanoclawd.control.api.Backend`)."""

    def __init__(self, appliance: Appliance) -> None:
        database, sessions, channels = appliance.database, appliance.sessions, appliance.channels
        self.appliance = ApplianceBackend(appliance)
        self.groups = GroupsBackend(
            database, appliance.agents, appliance.outfit, sessions, appliance.config, appliance.usage
        )
        self.sessions = SessionsBackend(database, sessions)
        self.images = ImagesBackend(appliance.images)
        outfit = (database, appliance.outfit, appliance.agents, appliance.provisioner)
        self.packages = PackagesBackend(*outfit)
        self.mcp = McpBackend(*outfit)
        self.skills = SkillsBackend(*outfit)
        self.mounts = MountsBackend(*outfit)
        self.chat = ChatBackend(database, appliance.router, sessions, appliance.terminal)
        self.chats = ChatsBackend(database, sessions.project_destinations, channels.known, appliance.approvals.repost)
        self.wirings = WiringsBackend(database, appliance.wirings)
        self.users = UsersBackend(database, appliance.approvals.repost)
        self.roles = RolesBackend(database, appliance.approvals.repost)
        self.members = MembersBackend(database)
        self.destinations = DestinationsBackend(database, sessions.project_destinations)
        self.approvals = ApprovalsBackend(database, appliance.approvals)
        self.questions = QuestionsBackend(database, appliance.questions)
        self.channels = ChannelsBackend(
            database, channels, appliance.added_channels, sessions.waiting_by_channel, appliance.pairings
        )
        self.routing = RoutingBackend(database, appliance.router, channels.known)
        self.tasks = TasksBackend(database, appliance.tasks)
        self.usage = UsageBackend(database, appliance.usage)
        self.peer_links = PeersBackend(database, appliance.making)
        self.egress = EgressBackend(appliance.egress)
        self.secrets = SecretsBackend(appliance.secrets)
        self.hooks = HooksBackend(database, appliance.hooks)
