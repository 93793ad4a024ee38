"""Puts the daemon's parts together, starts them in order, and stops them without disturbing a conversation."""

import asyncio
import logging
import os
from pathlib import Path

from nanoclawd.agents.egress import EgressRules
from nanoclawd.agents.outfit import Outfit
from nanoclawd.agents.provision import Provisioner, Published, local_timezone
from nanoclawd.agents.secrets import SecretBindings
from nanoclawd.agents.service import AgentService
from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.added import AddedChannels
from nanoclawd.channels.http_listener import HttpListener
from nanoclawd.channels.incoming import IncomingFiles
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Config
from nanoclawd.core.inbound import ChannelInbound
from nanoclawd.core.rules import AgentRules, Requests
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.doctor.finding import Severity
from nanoclawd.doctor.run import run_host_checks
from nanoclawd.errors import NanoclawError
from nanoclawd.hooks.intake import HookIntake
from nanoclawd.hooks.listening import listening
from nanoclawd.hooks.payload_files import PayloadFiles
from nanoclawd.hooks.secret_files import SecretFiles
from nanoclawd.hooks.service import HookService
from nanoclawd.images.group_images import GroupImages
from nanoclawd.images.service import ImageService
from nanoclawd.paths import CHANNELS_DIRECTORY, GATEWAY_DIRECTORY, SHARE, StatePaths
from nanoclawd.peers.making import AgentMaking
from nanoclawd.peers.planning import Bounds as PeerBounds
from nanoclawd.peers.service import PeerService
from nanoclawd.permissions.gate import Permissions
from nanoclawd.permissions.held import HeldRequests
from nanoclawd.permissions.pairing import Pairings
from nanoclawd.permissions.withdrawing import withdraw_for_group
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.moving import MovedChats
from nanoclawd.routing.router import Router
from nanoclawd.routing.wirings import WiringService
from nanoclawd.scheduling.background import Background
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import agent_groups
from nanoclawd.store.database import Database
from nanoclawd.supervision import runner_tree
from nanoclawd.supervision.admission import Admission, Bounds
from nanoclawd.supervision.outside import OutsideWatch
from nanoclawd.supervision.quadlets import UnitFiles
from nanoclawd.supervision.user_manager import UserManager
from nanoclawd.tasks.clock_sync import SYSTEM_BUS, clock_is_right
from nanoclawd.tasks.dispatcher import Dispatcher
from nanoclawd.tasks.service import TaskService
from nanoclawd.usage.limits import Limits as DayLimits
from nanoclawd.usage.limits import micros
from nanoclawd.usage.service import UsageService
from nanoclawd.usage.telling import Telling

log = logging.getLogger(__name__)

_BUS_PATIENCE_SECONDS = 20.0


class Appliance:
    """All parts of the daemon but its control socket."""

    def __init__(self, config: Config, paths: StatePaths, share: Path = SHARE) -> None:
        self.config = config
        self.paths = paths
        self.runtime_directory = runtime_directory()
        limits = config.limits
        self.database = Database(paths.central_db)
        self.manager = UserManager(f"unix:path={self.runtime_directory}/bus")
        self.admission = Admission(
            Bounds(limits.max_awake, limits.memory_budget, limits.session_memory, limits.min_free_disk), paths.root
        )
        self.sessions = Sessions(paths, self.database)
        self.http = HttpListener()
        self.channels = ChannelManager(config, ChannelPlaces(paths.channels, CHANNELS_DIRECTORY, self.http))
        self.added_channels = AddedChannels(self.database, self.channels)
        self.terminal = self.channels.terminal
        self.moved = MovedChats(self.database, self.sessions)
        self.delivery = DeliveryService(self.channels, self.moved.current)
        self.outbox = HostOutbox(self.database, self.delivery)
        units = UnitFiles(share / "quadlets", paths)
        self.images = ImageService(config, paths, self.database, self.manager, units, share)
        self.provisioner = Provisioner(paths, units, config, share)
        self.agents = AgentService(config, paths, self.database, self.sessions, self.manager, units, self.provisioner)
        self.outside = watch_outside(config, self.admission, self.agents)
        self.egress, self.secrets = EgressRules(self.database, self.agents), SecretBindings(self.database, self.agents)
        group_images = GroupImages(config, paths, self.manager, units)
        self.outfit = Outfit(config, self.database, self.agents, group_images, self.provisioner)
        self.permissions = Permissions(
            self.database,
            self.outbox,
            self.channels,
            replay=self._replay,
            project=self.sessions.project_destinations,
            create_group=self.agents.create,
            asker=self.sessions,
            hours=config.access.approval_hours,
        )
        self.agents.ending, self.agents.ended = withdraw_for_group, self.outbox.nudge
        self.approvals, self.questions = self.permissions.approvals, self.permissions.questions
        self.held = HeldRequests(self.database, self.approvals, self.permissions.direct_messages)
        self.files = IncomingFiles(paths.staging, self.channels.adapter)
        self._background = Background(log, "building groups' images")
        payloads = PayloadFiles(paths.staging, self.files.fetch)
        self.router = Router(
            self.database,
            self.sessions,
            self.permissions,
            self.outbox,
            self.channels.capabilities,
            config.access,
            self.channels.subscribe,
            payloads.fetch,
        )
        self.wirings = WiringService(self.database, self.channels.capabilities, self.sessions.project_destinations)
        self.pairings = Pairings(
            self.database,
            self.outbox,
            self.channels.capabilities,
            config.access,
            self.sessions.project_destinations,
            self.approvals.repost,
        )
        self.tasks = TaskService(self.database, local_timezone())
        self.dispatcher = Dispatcher(
            self.database,
            self.sessions,
            lambda channel: self.channels.capabilities(channel).threads,
            clock_is_right=lambda: clock_is_right(lambda: UserManager(SYSTEM_BUS)),
        )
        self.tasks.changed = self.dispatcher.look
        self.delivery.turn_ended = self.dispatcher.ended
        self._telling = Telling(self.database, self.permissions.direct_messages, self.outbox)
        limits_of_day = DayLimits(limits.daily_tokens, micros(limits.daily_cost))
        self.usage = UsageService(self.database, limits_of_day, local_timezone(), self._telling, config.endpoint_of)
        self.router.refusal = self.dispatcher.refusal = self.usage.refusal
        bounds = PeerBounds(limits.peer_hops, limits.peer_rate)
        self.delivery.peers = PeerService(
            self.database, self.sessions, self.outbox, paths.staging, bounds, self.usage.refusal
        )
        secret_files = SecretFiles(paths.hook_secrets)
        self._intake = HookIntake(self.database, self.router, secret_files, payloads, self.usage.refusal)
        self.hooks = HookService(
            self.database, self._intake, secret_files, lambda: listening(lambda: UserManager(SYSTEM_BUS))
        )
        self.making = AgentMaking(self.database, self.agents, self.sessions.project_destinations)
        self._requests: Requests | None = None
        self._jobs = SessionJobs()
        self._runner = ""

    def serve_agents(self, requests: Requests) -> None:
        """Say who does what agents ask of the appliance. Before :meth:`start`."""
        self._requests = requests

    async def start(self) -> None:
        """Open the database, meet the user manager, publish, and carry on where the last daemon stopped.

        Raises:
            NanoclawError: a prerequisite is missing; the error says which.
        """
        if self._requests is None:
            raise RuntimeError("Appliance.serve_agents() comes first")
        await self._say_what_is_missing()
        await self.database.open()
        await self.moved.load()
        await self.usage.start()
        await asyncio.to_thread(self.files.clear)
        await self.manager.start()
        await self.manager.wait_connected(_BUS_PATIENCE_SECONDS)
        self._runner = await asyncio.to_thread(runner_tree.publish, self.paths.runner_trees)
        await self.images.write_units()
        self.images.published = self._image_built
        await self.publish()
        self.sessions.bind(
            Surroundings(
                database=self.database,
                manager=self.manager,
                admission=self.admission,
                jobs=self._jobs,
                reader=OutboundReader(),
                port=self.delivery,
                timeouts=self.config.timeouts,
                runtime_directory=self.runtime_directory,
                missing_image=self._missing_image,
                slept=self.sessions.slept,
                rules=AgentRules(
                    self.database, self.questions, self._requests, self.dispatcher, self.usage, self.moved.current
                ),
            )
        )
        await self.outbox.start()
        await self.permissions.start()
        self.held.start()
        self.channels.came_up = self._channel_came_up
        await self.added_channels.start()
        self.channels.start(
            ChannelInbound(
                self.database, self.router, self.permissions, self.sessions, self.outbox, self.moved, self.pairings
            )
        )
        if self.outside is not None:
            self.outside.start()
        resumed = await self.sessions.resume()
        if resumed:
            log.info("sessions with something to carry on with: %d", resumed)
        self.dispatcher.start()
        await self.hooks.start()
        self._intake.begin(self.http)
        await self._start_model_socket()
        await self._prune_runners()

    async def publish(self) -> None:
        """Have the next start of every session use the present runner and the newest image."""
        image, by_provider = await self.images.reference("agent"), await self.images.by_provider()
        await self.agents.publish(Published(self._runner, image, by_provider))

    async def _image_built(self) -> None:
        """Use the new image; groups with packages of their own keep their images until those are built on it."""
        await self.publish()
        self._background.spawn(self.outfit.rebuild_all())

    async def _missing_image(self, group: str) -> str:
        """Return the command that builds a group's image where it is missing, else an empty text."""
        return await self.outfit.missing_image(group) or await self.images.missing(group)

    async def stop(self) -> None:
        """Let everything go; containers and conversations go on."""
        await self.http.close()
        await self._intake.close(self.http)
        if self.outside is not None:
            self.outside.close()
        await self._background.close()
        await self.dispatcher.close()
        await self.channels.stop()
        await self.permissions.close()
        await self._telling.close()
        await self.outbox.close()
        self.delivery.close()
        await self.router.close()
        self.sessions.close()
        await self.manager.stop()
        self._jobs.close()
        await self.database.close()

    def _channel_came_up(self, name: str) -> None:
        self.permissions.repost()  # somebody may be reachable now whom a card could not reach
        self.delivery.came_up(name)

    async def _replay(self, event: InboundEvent) -> bool:
        """Route a message that was kept while somebody was asked about it; tell whether anything came of it."""
        routed = await self.router.route(event, replay=True)
        return bool(routed.stored) or routed.answered

    async def group_count(self) -> int:
        """Return how many groups there are."""
        return len(await self.database.run(agent_groups.every))

    async def _say_what_is_missing(self) -> None:
        """One clear line in the journal for each prerequisite that this machine lacks."""
        for finding in await asyncio.to_thread(run_host_checks, programs=False):
            if finding.severity is Severity.ERROR:
                log.error("%s: %s. Next: %s", finding.title, finding.detail, finding.fix or "ncl doctor")

    async def _start_model_socket(self) -> None:
        try:
            await self.images.start_model_socket()
        except NanoclawError as error:
            log.warning("the embedded model's socket did not start: %s", error)

    async def _prune_runners(self) -> None:
        """Old trees go when no container can use them any more: when none runs."""
        if not self.sessions.actors:
            await asyncio.to_thread(runner_tree.prune, self.paths.runner_trees, {self._runner})


def watch_outside(config: Config, admission: Admission, agents: AgentService) -> OutsideWatch | None:
    """Return what watches the gateway outside, None where the configuration names none."""
    if config.gateway.onecli is None:
        return None
    agents.told_gateway = admission.look
    return OutsideWatch(GATEWAY_DIRECTORY / "gateway.sock", admission, agents.goes_out)


def runtime_directory() -> Path:
    """Return the user's runtime directory, where the bus and the doorbells are (XDG_RUNTIME_DIR, set by the unit)."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
