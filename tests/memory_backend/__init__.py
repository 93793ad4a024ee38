"""A backend of the control socket without containers: sessions and a chat that only seem so, and a real database.

Chats, wirings, people, destinations and approvals are the daemon's own backends over a ``central.db`` beside STATE.
``python3 -m memory_backend SOCKET [STATE]`` serves it; with STATE it survives its own restart, as the daemon does.
"""

import asyncio
import base64
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from memory_backend.directory import Directory, seed
from nanoclaw_runner.contract.clock import now_text
from nanoclawd.channels.terminal_files import TerminalFiles
from nanoclawd.control.api import ChatScreen, ClientGone
from nanoclawd.control.values import (
    ApplianceStatus,
    BuildEvent,
    BuildProgress,
    BusySession,
    Caller,
    ChatEvent,
    ChatFile,
    Component,
    ComponentState,
    EventType,
    FilePart,
    Group,
    GroupSettings,
    Image,
    ImageState,
    Limits,
    Peer,
    Sent,
    Session,
    SessionState,
    TurnState,
    Uploaded,
    UploadedFile,
)
from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.sessions.ports import Attachment
from nanoclawd.store import agent_groups, resolve
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database

STARTED = "2026-04-16T14:37:00.000Z"
NASTY = "\x1b[31mred\x1b[0m\x07 \u202egnirts\u202c \x1b]0;title\x07end"


@dataclass
class State:
    sent: dict[str, Sent] = field(default_factory=dict)
    undelivered: dict[str, list[ChatEvent]] = field(default_factory=dict)
    images: dict[str, ImageState] = field(default_factory=dict)


class Memory:
    """The backend. ``open`` comes before anything that needs the database."""

    def __init__(self, state_file: Path | None = None, database: Database | None = None) -> None:
        self.state_file = state_file
        self._scratch = None if state_file or database else tempfile.TemporaryDirectory()
        directory = state_file.parent if state_file else Path(self._scratch.name if self._scratch else "")
        self.database = database or Database(directory / "central.db")
        self.files_directory = directory / "files"
        self.files = TerminalFiles(self.files_directory)
        self.state = State(images={"agent": ImageState.MISSING, "model": ImageState.PRESENT})
        if state_file and state_file.exists():
            self._load(state_file)
        self.peers: list[Caller] = []
        self.screens: dict[str, list[ChatScreen]] = {}
        self.screens_changed = asyncio.Event()
        self.running: set[asyncio.Task[None]] = set()
        self.quarantined = True
        self.closed: set[str] = set()
        self.appliance = _Appliance(self)
        self.groups = _Groups(self)
        self.sessions = _Sessions(self)
        self.images = _Images(self)
        self.chat = _Chat(self)
        self.directory = Directory(self.database, directory)
        self.chats = self.directory.chats
        self.wirings = self.directory.wirings
        self.users = self.directory.users
        self.roles = self.directory.roles
        self.members = self.directory.members
        self.destinations = self.directory.destinations
        self.approvals = self.directory.approvals
        self.questions = self.directory.questions
        self.channels = self.directory.channels
        self.routing = self.directory.routing
        self.tasks = self.directory.tasks
        self.hooks = self.directory.hooks
        self.usage, self.peer_links = self.directory.usage, self.directory.peer_links
        self.egress = self.directory.egress
        self.secrets = self.directory.secrets
        self.packages = self.directory.packages
        self.mcp = self.directory.mcp
        self.skills = self.directory.skills
        self.mounts = self.directory.mounts

    async def open(self) -> None:
        await self.database.open()

    async def close(self) -> None:
        await self.database.close()
        if self._scratch:
            self._scratch.cleanup()

    async def group(self, name: str) -> AgentGroup:
        return await self.database.run(resolve.group, name)

    async def screens_are(self, group: str, count: int) -> list[ChatScreen]:
        """Wait until so many screens are attached; return them."""
        async with asyncio.timeout(10):
            while len(self.screens.get(group, [])) != count:
                self.screens_changed.clear()
                await self.screens_changed.wait()
        return self.screens.get(group, [])

    def save(self) -> None:
        if self.state_file:
            fresh = self.state_file.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(self.state)))
            fresh.replace(self.state_file)  # a kill in between must not leave half a file

    def _load(self, path: Path) -> None:
        found = json.loads(path.read_text())
        self.state.sent = {
            token: Sent(value["message_id"], TurnState(value["state"])) for token, value in found["sent"].items()
        }
        self.state.undelivered = {
            group: [ChatEvent(**{**event, "type": EventType(event["type"])}) for event in events]
            for group, events in found["undelivered"].items()
        }

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self.running.add(task)
        task.add_done_callback(self.running.discard)


@dataclass
class _Part:
    all: Memory


class _Appliance(_Part):
    async def status(self) -> ApplianceStatus:
        return ApplianceStatus(
            version="0.1.0",
            pid=4242,
            started_at=STARTED,
            uptime=3723.5,
            groups=len(await self.all.database.run(agent_groups.every)),
            sessions=2,
            busy=[
                BusySession("aaaabbbbcccc", "main", SessionState.AWAKE, STARTED, status=NASTY),
                BusySession("aaaaddddeeee", "main", SessionState.WAITING, STARTED, reason="max_awake reached", place=1),
            ],
            limits=Limits(8, 1, 1, 2**31, 2**28, 500 * 2**20, 2**34),
            components=[Component("gateway", ComponentState.OK, "listening")],
            problems=[Finding("disk", Severity.WARNING, "Little room", "3 % free", "df -h /var/lib/nanoclaw")],
        )

    async def doctor(self) -> Sequence[Finding]:
        return [Finding("daemon", Severity.OK, "Daemon", "runs")]


class _Groups(_Part):
    async def list(self, limit: int) -> Sequence[Group]:
        found = await self.all.database.run(agent_groups.every)
        return [_view(one) for one in sorted(found, key=lambda one: one.folder)][:limit]

    async def get(self, name: str) -> Group:
        return _view(await self.all.group(name))

    async def create(self, caller: Caller, name: str, settings: GroupSettings) -> Group:
        self.all.peers.append(caller)
        made = await self.all.database.run(
            agent_groups.create,
            name,
            settings.display_name,
            settings.provider,
            settings.model,
            settings.instructions or "",
            settings.cli_scope or "group",
        )
        if name == "main":
            await self.all.database.run(seed, made.id)
        return _view(made)

    async def update(self, caller: Caller, name: str, settings: GroupSettings) -> Group:
        given = {key: value for key, value in asdict(settings).items() if value is not None}
        if "display_name" in given:
            given["name"] = given.pop("display_name")
        for kept in ("effort", "max_messages", "skills", "daily_tokens", "daily_cost"):
            given.pop(kept, None)
        return _view(await self.all.database.run(agent_groups.update, replace(await self.all.group(name), **given)))

    async def delete(self, caller: Caller, name: str, *, force: bool) -> None:
        group = await self.all.group(name)
        if not force:
            raise Refused(f"{name} has sessions", hint=f"ncl groups delete {name} --force")
        await self.all.database.run(agent_groups.delete, group.id)

    async def restart(self, caller: Caller, name: str, *, rebuild: bool, message: str | None) -> tuple[int, bool]:
        await self.all.group(name)
        return 1, False


def _view(group: AgentGroup) -> Group:
    return Group(
        group.folder,
        group.name,
        group.provider or "openai",
        group.model or "embedded/smollm2",
        group.instructions,
        group.cli_scope,
        "",
        10,
        "all",
        "",
        0,
        0.0,
        STARTED,
    )


class _Sessions(_Part):
    async def list(self, group: str | None, state: SessionState | None, limit: int) -> Sequence[Session]:
        found = [self._first(), self._second()]
        if state is None:
            return [one for one in found if one.state is not SessionState.CLOSED][:limit]
        return [one for one in found if one.state is state][:limit]

    def _first(self) -> Session:
        state = SessionState.CLOSED if "aaaabbbbcccc" in self.all.closed else SessionState.AWAKE
        return Session(
            "aaaabbbbcccc", "main", "terminal", "root", state, "nanoclaw-main@aaaabbbbcccc.service",
            STARTED, STARTED, status=NASTY,
        )  # fmt: skip

    def _second(self) -> Session:
        state = SessionState.QUARANTINED if self.all.quarantined else SessionState.ASLEEP
        return Session(
            "aaaaddddeeee", "main", "terminal", "joe",
            SessionState.CLOSED if "aaaaddddeeee" in self.all.closed else state,
            "nanoclaw-main@aaaaddddeeee.service", STARTED,
        )  # fmt: skip

    async def get(self, session_id: str) -> Session:
        fitting = [one for one in (self._first(), self._second()) if one.id.startswith(session_id)]
        if not fitting:
            raise NotFound(f"there is no session {session_id}", hint="ncl sessions list")
        if len(fitting) > 1:
            raise InvalidName(f"{session_id} fits several sessions")
        return fitting[0]

    async def stop(self, caller: Caller, session_id: str) -> Session:
        return replace(await self.get(session_id), state=SessionState.STOPPING)

    async def close(self, caller: Caller, session_id: str) -> Session:
        session = await self.get(session_id)
        if session.state is SessionState.CLOSED:
            raise Refused(f"session {session.id} is closed")
        self.all.closed.add(session.id)
        return await self.get(session.id)

    async def reset(self, caller: Caller, session_id: str) -> tuple[Session, str | None]:
        session = await self.get(session_id)
        if session.state is not SessionState.QUARANTINED:
            raise Refused("the session is in good order")
        self.all.quarantined = False
        return await self.get(session_id), "/var/lib/nanoclaw/damaged/1"


class _Images(_Part):
    async def list(self) -> Sequence[Image]:
        return [Image(name, f"localhost/nanoclaw-{name}:1", state) for name, state in self.all.state.images.items()]

    async def build(self, peer: Peer, name: str | None) -> AsyncGenerator[BuildProgress]:
        names = [name] if name else list(self.all.state.images)
        for number, image in enumerate(names, start=1):
            if image not in self.all.state.images:
                raise NotFound(f"there is no image {image}", hint="ncl images list")
            yield BuildProgress(BuildEvent.STAGE, image, number, len(names), "installing")
            yield BuildProgress(BuildEvent.LINE, image, number, len(names), NASTY)
            self.all.state.images[image] = ImageState.PRESENT
            yield BuildProgress(BuildEvent.DONE, image, number, len(names))


class _Chat(_Part):
    async def send(
        self, peer: Peer, group: str, text: str, client_token: str, files: Sequence[UploadedFile] = ()
    ) -> Sent:
        await self.all.group(group)
        shown = await asyncio.to_thread(self._back, peer, client_token, files)
        if text == "!bug":
            raise RuntimeError("a fault of ours")
        if client_token not in self.all.state.sent:
            self.all.state.sent[client_token] = Sent(f"m{len(self.all.state.sent)}")
            self.all.save()
            self.all.spawn(self._turn(group, text, client_token, shown))
        return self.all.state.sent[client_token]

    async def upload(self, peer: Peer, upload: str, offset: int, part: bytes) -> Uploaded:
        return Uploaded(await asyncio.to_thread(self.all.files.upload, peer.user_name, upload, offset, part))

    async def download(self, peer: Peer, file: str, offset: int) -> FilePart:
        part, found = await asyncio.to_thread(self.all.files.download, peer.user_name, file, offset)
        return FilePart(found.name, found.size, base64.b64encode(part).decode())

    def _back(self, peer: Peer, token: str, files: Sequence[UploadedFile]) -> tuple[ChatFile, ...]:
        """Send back what came."""
        shown = []
        for number, one in enumerate(files):
            reference, size = self.all.files.reference(peer.user_name, one.upload)
            with (self.all.files_directory / reference).open("rb") as file:
                kept = self.all.files.keep(peer.user_name, token, number, Attachment(one.name, size, file))
            shown.append(ChatFile(kept.id, kept.name, kept.size))
        return tuple(shown)

    async def _turn(self, group: str, text: str, token: str, files: tuple[ChatFile, ...] = ()) -> None:
        about = self.all.state.sent[token].message_id
        if text == "!hang":
            self._hint(group, ChatEvent(EventType.WAITING, None, about, "for ever", now_text()))
            return
        if text == "/whoami":
            await self._deliver(group, ChatEvent(EventType.NOTICE, f"n-{about}", about, "you are root", now_text()))
            await self._finish(group, token, TurnState.COMPLETED)
            return
        if text == "!fail":
            await self._deliver(group, ChatEvent(EventType.NOTICE, f"n-{about}", about, "it broke", now_text()))
            await self._finish(group, token, TurnState.FAILED)
            return
        if text == "!wait":
            self._hint(group, ChatEvent(EventType.WAITING, None, None, "no free place", now_text(), place=1))
        if text == "!ansi":
            text = NASTY
        self._hint(group, ChatEvent(EventType.STATUS, text=NASTY, timestamp=now_text()))
        self._hint(group, ChatEvent(EventType.PARTIAL, None, about, "ec", now_text()))
        answer = ChatEvent(EventType.MESSAGE, f"r-{about}", about, f"echo: {text}", now_text(), files=files)
        await self._deliver(group, answer)
        await self._finish(group, token, TurnState.COMPLETED)

    async def _finish(self, group: str, token: str, state: TurnState) -> None:
        self.all.state.sent[token] = replace(self.all.state.sent[token], state=state)
        self.all.save()
        about = self.all.state.sent[token].message_id
        await self._show(group, ChatEvent(EventType.TURN, None, about, "", now_text(), state=state))

    async def _deliver(self, group: str, event: ChatEvent) -> None:
        if not await self._show(group, event):
            self.all.state.undelivered.setdefault(group, []).append(event)
            self.all.save()

    async def _show(self, group: str, event: ChatEvent) -> bool:
        results = await asyncio.gather(
            *(screen.show(event) for screen in self.all.screens.get(group, [])), return_exceptions=True
        )
        return any(not isinstance(result, ClientGone) for result in results)

    def _hint(self, group: str, event: ChatEvent) -> None:
        for screen in self.all.screens.get(group, []):
            screen.hint(event)

    @asynccontextmanager
    async def attach(self, peer: Peer, group: str, screen: ChatScreen) -> AsyncIterator[None]:
        await self.all.group(group)
        self.all.screens.setdefault(group, []).append(screen)
        self.all.screens_changed.set()
        self.all.spawn(self._catch_up(group))
        try:
            yield
        finally:
            self.all.screens[group].remove(screen)
            self.all.screens_changed.set()

    async def _catch_up(self, group: str) -> None:
        events, self.all.state.undelivered[group] = self.all.state.undelivered.get(group, []), []
        for event in events:
            await self._deliver(group, event)
        self.all.save()
