"""What the control socket serves, from the daemon's parts."""

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd import __version__
from nanoclawd.channels.terminal import CHANNEL_TYPE, platform_id
from nanoclawd.control import values
from nanoclawd.control.api import ChatScreen
from nanoclawd.core.appliance import Appliance
from nanoclawd.core.health import appliance_findings, components
from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.images.service import STAGES
from nanoclawd.routing.router import ChatMessage
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.state import Phase
from nanoclawd.store import agent_groups, chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.sessions import Session


class ApplianceBackend:
    """Status and doctor."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._started = time.monotonic()
        self._started_at = now_text()

    async def status(self) -> values.ApplianceStatus:
        """Return how the appliance is."""
        appliance, admission = self._appliance, self._appliance.admission
        limits = appliance.config.limits
        busy = [
            values.BusySession(
                id=actor.ref.id,
                group=actor.ref.group,
                state=values.SessionState(actor.snapshot.phase.value),
                since=actor.snapshot.since,
                status=actor.snapshot.status or None,
                reason=actor.snapshot.reason or None,
                place=actor.snapshot.place,
            )
            for actor in appliance.sessions.actors
            if actor.snapshot.phase is not Phase.ASLEEP
        ]
        counts = await appliance.database.run(session_rows.count)
        findings = await appliance_findings(appliance)
        return values.ApplianceStatus(
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime=time.monotonic() - self._started,
            groups=await appliance.group_count(),
            sessions=counts,
            busy=busy,
            limits=values.Limits(
                max_awake=admission.slots,
                awake=admission.awake,
                waiting=len(admission.waiting()),
                memory_budget=limits.memory_budget,
                memory_used=admission.awake * limits.session_memory,
                min_free_disk=limits.min_free_disk,
                free_disk=admission.free_disk(),
            ),
            components=await components(appliance),
            problems=[finding for finding in findings if finding.severity is not Severity.OK],
        )

    async def doctor(self) -> Sequence[Finding]:
        """Run the daemon's own checks."""
        return await appliance_findings(self._appliance)


class GroupsBackend:
    """Agent groups."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    async def list(self) -> Sequence[values.Group]:
        """Return all groups by name."""
        groups = await self._appliance.database.run(agent_groups.every)
        return [await self._view(group) for group in sorted(groups, key=lambda group: group.folder)]

    async def get(self, name: str) -> values.Group:
        """Return one group."""
        return await self._view(await self._appliance.database.run(agent_groups.by_folder, name))

    async def create(self, _peer: values.Peer, name: str, settings: values.GroupSettings) -> values.Group:
        """Make a group."""
        return await self._view(
            await self._appliance.agents.create(
                name,
                provider=settings.provider or None,
                model=settings.model or None,
                instructions=settings.instructions or "",
            )
        )

    async def update(self, _peer: values.Peer, name: str, settings: values.GroupSettings) -> values.Group:
        """Change a group's settings."""
        return await self._view(
            await self._appliance.agents.update(
                name, provider=settings.provider, model=settings.model, instructions=settings.instructions
            )
        )

    async def delete(self, _peer: values.Peer, name: str, *, force: bool) -> None:
        """Delete a group."""
        await self._appliance.agents.delete(name, force=force)

    async def restart(self, _peer: values.Peer, name: str) -> int:
        """Restart a group's running sessions."""
        return await self._appliance.agents.restart(name)

    async def _view(self, group: AgentGroup) -> values.Group:
        config = self._appliance.config
        sessions = await self._appliance.database.run(session_rows.count, group.id)
        awake = sum(
            actor.ref.group == group.folder and actor.snapshot.phase is Phase.AWAKE
            for actor in self._appliance.sessions.actors
        )
        return values.Group(
            name=group.folder,
            display_name=group.name,
            provider=group.provider or config.provider,
            model=group.model or config.model,
            instructions=group.instructions,
            cli_scope=group.cli_scope,
            created_at=group.created_at,
            sessions=sessions,
            awake=awake,
        )


class SessionsBackend:
    """Sessions."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    async def list(self, group: str | None) -> Sequence[values.Session]:
        """Return the sessions, the last active first."""
        database = self._appliance.database
        if group is None:
            rows = await database.run(session_rows.every)
        else:
            found = await database.run(agent_groups.by_folder, group)
            rows = await database.run(session_rows.of_group, found.id)
        rows.sort(key=lambda row: row.last_active or row.created_at, reverse=True)
        return [await self._view(row) for row in rows]

    async def get(self, session_id: str) -> values.Session:
        """Return one session."""
        return await self._view(await self._find(session_id))

    async def stop(self, _peer: values.Peer, session_id: str) -> values.Session:
        """End the session's container."""
        row = await self._find(session_id)
        actor = await self._appliance.sessions.actor(row, look_first=True)
        if not await actor.stop(Ended.BY_OPERATOR):
            raise Refused(f"session {row.id} has no container now")
        actor.nudge()
        return await self._view(row)

    async def reset(self, _peer: values.Peer, session_id: str) -> tuple[values.Session, str | None]:
        """Release a quarantined session."""
        row = await self._find(session_id)
        actor = await self._appliance.sessions.actor(row)
        if not actor.quarantined:
            raise Refused(f"session {row.id} is not in quarantine")
        kept = await actor.release()
        actor.nudge()
        return await self._view(await self._find(row.id)), kept

    async def _find(self, prefix: str) -> Session:
        rows = await self._appliance.database.run(session_rows.by_prefix, prefix)
        if not rows:
            raise NotFound(f"there is no session {prefix[:40]}", hint="ncl sessions list")
        if len(rows) > 1:
            raise InvalidName(f"several sessions begin with {prefix[:40]}", hint="ncl sessions list")
        return rows[0]

    async def _view(self, row: Session) -> values.Session:
        actor = self._appliance.sessions.living(row.id)
        chat = None
        if row.messaging_group_id is not None:
            chat = await self._appliance.database.run(chats.by_id, row.messaging_group_id)
        state = values.SessionState.QUARANTINED if row.quarantine_reason else values.SessionState.ASLEEP
        if actor is not None:
            state = values.SessionState(actor.snapshot.phase.value)
        return values.Session(
            id=row.id,
            group=row.group,
            channel=chat.channel_type if chat else "",
            chat=chat.platform_id if chat else "",
            state=state,
            unit=f"nanoclaw-{row.group}@{row.id}.service",
            created_at=row.created_at,
            last_active=row.last_active,
            status=actor.snapshot.status or None if actor else None,
            reason=row.quarantine_reason or (actor.snapshot.reason or None if actor else None),
            place=actor.snapshot.place if actor else None,
            pending=actor.pending_count if actor else 0,
        )


class ImagesBackend:
    """Images."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    async def list(self) -> Sequence[values.Image]:
        """Return the images that the appliance uses."""
        return [await self._view(stage) for stage in STAGES]

    async def build(self, _peer: values.Peer, name: str | None) -> AsyncGenerator[values.BuildProgress]:
        """Build and tell the progress; podman's own lines are in the journal, which ``ncl`` follows."""
        async for step in self._appliance.images.build(name):
            yield values.BuildProgress(
                event=values.BuildEvent.DONE if step.done else values.BuildEvent.STAGE,
                image=step.image,
                stage=step.stage,
                stages=step.stages,
            )

    async def _view(self, stage: str) -> values.Image:
        images = self._appliance.images
        if images.is_building(stage):
            state = values.ImageState.BUILDING
        else:
            state = values.ImageState.PRESENT if await images.present(stage) else values.ImageState.MISSING
        return values.Image(name=stage, reference=await images.reference(stage), state=state)


class ChatBackend:
    """The terminal channel."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance

    async def send(self, peer: values.Peer, group: str, text: str, client_token: str) -> values.Sent:
        """Accept a message, once per token; return after the commit."""
        chat = await self._chat(peer, group)
        routed = await self._appliance.router.route(
            ChatMessage(
                address=Address(CHANNEL_TYPE, chat),
                message_id=client_token,
                text=text,
                sender=peer.user_name,
                sender_id=f"{CHANNEL_TYPE}:{peer.user_name}",
            )
        )
        first = routed[0]
        if first.stored:
            return values.Sent(first.message_id)
        actor = await self._appliance.sessions.actor(first.session)
        status = await actor.files.read(lambda inbound: inbound.status_of(first.message_id))
        state = {"completed": values.TurnState.COMPLETED, "failed": values.TurnState.FAILED}
        return values.Sent(first.message_id, state.get(status or "", values.TurnState.ACCEPTED))

    @asynccontextmanager
    async def attach(self, peer: values.Peer, group: str, screen: ChatScreen) -> AsyncIterator[None]:
        """Show the chat on a screen while the context lasts."""
        chat = await self._chat(peer, group)
        self._appliance.terminal.attach(chat, screen)
        try:
            yield
        finally:
            self._appliance.terminal.detach(chat, screen)

    async def _chat(self, peer: values.Peer, group: str) -> str:
        """Return the peer's chat with a group, wired the first time."""
        chat = platform_id(peer.user_name, group)
        await self._appliance.database.run(_ensure_terminal, chat, f"{peer.user_name}'s terminal", group)
        return chat


class Backend:
    """All that the control socket serves."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = ApplianceBackend(appliance)
        self.groups = GroupsBackend(appliance)
        self.sessions = SessionsBackend(appliance)
        self.images = ImagesBackend(appliance)
        self.chat = ChatBackend(appliance)


def _ensure_terminal(connection: apsw.Connection, chat: str, name: str, group: str) -> None:
    """Make and wire a terminal's chat: in one visit of the database's thread, as every message pays for it."""
    chats.ensure_terminal(connection, chat, name, agent_groups.by_folder(connection, group).id)
