"""The part of the backend that is the daemon's own, over a real database; channels and the router are played."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import apsw

from memory_backend.channels import LATER, SETUP, Channels
from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.skills import Skill
from nanoclawd.agents.egress import EgressRules
from nanoclawd.agents.outfit import Outfit
from nanoclawd.agents.secrets import SecretBindings
from nanoclawd.channels.added import AddedChannels
from nanoclawd.config import Config, Endpoint
from nanoclawd.core.backends.approvals import ApprovalsBackend, QuestionsBackend
from nanoclawd.core.backends.channels import ChannelsBackend
from nanoclawd.core.backends.chats import ChatsBackend
from nanoclawd.core.backends.destinations import DestinationsBackend
from nanoclawd.core.backends.egress import EgressBackend
from nanoclawd.core.backends.hooks import HooksBackend
from nanoclawd.core.backends.outfit import McpBackend, MountsBackend, PackagesBackend, SkillsBackend
from nanoclawd.core.backends.people import MembersBackend, RolesBackend, UsersBackend
from nanoclawd.core.backends.routing import RoutingBackend
from nanoclawd.core.backends.secrets import SecretsBackend
from nanoclawd.core.backends.tasks import TasksBackend
from nanoclawd.core.backends.usage import PeersBackend, UsageBackend
from nanoclawd.core.backends.wirings import WiringsBackend
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.errors import Refused
from nanoclawd.hooks.intake import HookIntake
from nanoclawd.hooks.listening import Listening
from nanoclawd.hooks.secret_files import SecretFiles
from nanoclawd.hooks.service import HookService
from nanoclawd.images.group_images import BuildError, Built
from nanoclawd.peers.making import AgentMaking
from nanoclawd.permissions.pairing import Pairings
from nanoclawd.routing.decision import Action, EventDecision, Outcome, Step, WiringDecision
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.wirings import WiringService
from nanoclawd.store import agent_groups, approvals, chats, dropped, questions, sessions
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.approvals import Approval, NewApproval
from nanoclawd.store.database import Database
from nanoclawd.store.group_configuration import Mount
from nanoclawd.store.questions import Question
from nanoclawd.tasks.service import TaskService
from nanoclawd.usage.limits import Limits as DayLimits
from nanoclawd.usage.service import UsageService

ALLOW, DENY = Option("Allow", "allow", "Allowed"), Option("Deny", "deny", "Denied")

_NOWHERE = "http://127.0.0.1:9"


class Directory:
    """The backends."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.projected: list[str] = []
        self.reached = 0
        channels: Any = Channels()
        router: Any = _Router()
        service: Any = _Approvals(database)
        questions_service: Any = _Questions(database)
        self.chats = ChatsBackend(database, self._project, channels.known, self._reach)
        self.wirings = WiringsBackend(database, WiringService(database, channels.capabilities, self._project))
        self.users = UsersBackend(database, self._reach)
        self.roles = RolesBackend(database, self._reach)
        self.members = MembersBackend(database)
        self.destinations = DestinationsBackend(database, self._project)
        self.approvals = ApprovalsBackend(database, service)
        self.questions = QuestionsBackend(database, questions_service)
        added = AddedChannels(database, channels, lambda _kind: SETUP, lambda: ["carrier", "loopback"])
        nobody: Any = None
        outbox = HostOutbox(database, nobody)
        pairings = Pairings(database, outbox, channels.capabilities, Config().access, self._project, self._reach)
        self.channels = ChannelsBackend(database, channels, added, lambda: {"telegram": 2}, pairings)
        self.routing = RoutingBackend(database, router, channels.known)
        agents: Any = _Agents(database)
        provisioner: Any = _Provisioner()
        images: Any = _Images()
        endpoints = {"notes": Endpoint(url=_NOWHERE, api="mcp"), "vllm": Endpoint(url=_NOWHERE)}
        outfit = Outfit(Config(endpoints=endpoints), database, agents, images, provisioner)
        given = (database, outfit, agents, provisioner)
        self.packages, self.mcp = PackagesBackend(*given), McpBackend(*given)
        self.skills, self.mounts = SkillsBackend(*given), MountsBackend(*given)
        self.tasks = TasksBackend(database, TaskService(database, "Europe/Berlin"))
        telling: Any = None
        ledger = UsageService(database, DayLimits(), "Europe/Berlin", telling, Config().endpoint_of)
        self.usage = UsageBackend(database, ledger)
        self.egress = EgressBackend(EgressRules(database, agents))
        self.secrets = SecretsBackend(SecretBindings(database, agents))
        secret_files = SecretFiles(directory / "hooks")
        nothing: Any = None  # nobody sends anything
        intake = HookIntake(database, router, secret_files, nothing)
        self.hooks = HooksBackend(database, HookService(database, intake, secret_files, _listening))
        self.peer_links = PeersBackend(database, AgentMaking(database, agents, self._project))

    async def _project(self, agent_group_id: str) -> None:
        self.projected.append(agent_group_id)

    def _reach(self) -> None:
        self.reached += 1


async def _listening() -> Listening:
    return Listening("http://127.0.0.1:8642", active=False)


class _Agents:
    """Groups are rows only: it writes no files, restarts nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, folder: str, **columns: Any) -> AgentGroup:
        return await self._database.run(lambda connection: agent_groups.create(connection, folder, **columns))

    async def delete(self, folder: str, *, force: bool) -> None:
        del force
        group = await self._database.run(agent_groups.by_folder, folder)
        await self._database.run(agent_groups.delete, group.id)

    async def write(self, group: AgentGroup) -> None:
        del group

    async def restart(self, folder: str) -> int:
        del folder
        return 1

    async def publish_egress(self) -> None:
        """There is no gateway."""

    async def publish_secrets(self) -> None:
        """Likewise."""

    def image_of(self, provider: str) -> str:
        return f"localhost/nanoclaw-{provider}:0123456789ab"


class _Images:
    """Builds at once, but for packages that are named missing."""

    def __init__(self) -> None:
        self._building = asyncio.Lock()

    def building(self, group: str) -> asyncio.Lock:
        del group
        return self._building

    async def build(self, group: str, stage: str, base: str, packages: Mapping[str, tuple[str, ...]]) -> Built:
        del group, base
        if "missing" in packages["apt"]:
            raise BuildError("the image could not be built (failed). It said:\nE: Unable to locate package missing")
        return Built(stage, "0123456789ab")


class _Provisioner:
    """A machine on which everything may be given."""

    def skills(self, selected: Collection[str] | None) -> list[Skill]:
        del selected
        return [Skill("welcome", "Shows a new person round.", Path("/usr/share/nanoclawd/skills/welcome"), "shipped")]

    def judge_mount(self, path: str, *, writable: bool) -> Path:
        del writable
        return Path(path)

    def mount_problem(self, mount: Mount) -> str:
        del mount
        return ""


class _Questions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def decide(self, question_id: str, option: str, operator: str) -> str:
        if await self._database.run(questions.take, question_id) is None:
            raise Refused("somebody has answered this already")
        return f"answered with {option} by {operator}"


class _Approvals:
    """Decides; what follows from it is the daemon's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def decide(self, approval_id: str, option: str, operator: str) -> tuple[Approval, str]:
        by = f"terminal:{operator}"
        status = "approved" if option in ("allow", "Allow", "1") else "rejected"
        if not await self._database.run(approvals.decide, approval_id, status, by, option):
            raise Refused("somebody has decided this already")
        return await self._database.run(approvals.by_id, approval_id), f"{status} by {operator}"


class _Router:
    """Explains everything alike."""

    async def explain(self, event: InboundEvent) -> EventDecision:
        step = Step("chat", Outcome.STOP, "nobody hears this chat", "access.unknown_chats=strict")
        return EventDecision(event, None, Action.DROP, "chat_strict", (step,))

    async def flush_drops(self) -> None:
        """Nothing is kept back here."""

    def recent(self, message_id: str) -> list[EventDecision]:
        if message_id != "m1":
            return []
        event = InboundEvent(Address("telegram", "-100", "7"), "m1", "", Sender("telegram:1"), is_group=True)
        chat = chats.Chat("mg-000000000000", "telegram", "-100", "Family", True, "strict", now_text())
        wiring = chats.Wiring(
            "mga-000000000000", chat.id, "ag-0", "shared", 0, "mention", None, "all", "drop", now_text(), "main"
        )
        step = Step("engage", Outcome.STOP, "it is not addressed to the agent", "wiring engage_mode=mention")
        drop = WiringDecision(wiring, "main", "ag-0", Action.DROP, "no_agent_engaged", (step,), "shared", None, None)
        found = Step("chat", Outcome.PASS, "the chat is known", "chat mg-000000000000")
        return [EventDecision(event, chat, Action.ROUTE, "no_agent_engaged", (found,), (drop,))]


def seed(connection: apsw.Connection, group_id: str) -> None:
    """Have something wait and something be dropped, as soon as there is a group."""
    chat = chats.create(connection, "telegram", "-100200", "Family", True)
    sessions.create(connection, group_id, chat.id, None, "ssssssssssss")
    approvals.begin(
        connection,
        NewApproval(
            "sender", "telegram:99", "May Eve talk to main?", "Eve (telegram:99) wrote in Family.",
            (ALLOW, DENY), LATER, {}, group_id, None, chat.id, "telegram:99",
        ),
    )  # fmt: skip
    questions.add(
        connection,
        Question(
            "qqqqqqqqqqqq", "ssssssssssss", "out-1", "telegram", "-100200", None, "Deploy?", "It is Friday.",
            (Option("Yes", "yes", "Yes"), Option("No", "no", "No")), "deploy", now_text(), LATER,
        ),
    )  # fmt: skip
    dropped.record(connection, "telegram", "-100200", "telegram:99", "Eve", "unknown_sender_strict", group_id)
