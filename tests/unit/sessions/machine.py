"""A machine for whole sessions: the daemon's own parts and real files; in place of systemd and podman, a stand-in that
listens at the doorbells and runs a container's program in a task of this process."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import apsw
from session_stage import READER, Platform, Rules, said

from eventually import eventually
from nanoclaw_runner.contract import clock, sequence
from nanoclaw_runner.contract.doorbell import RING
from nanoclaw_runner.contract.rows import Address
from nanoclawd.config import Config
from nanoclawd.paths import SessionPaths, StatePaths
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import agent_groups, chats
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session
from nanoclawd.supervision.admission import Admission, Bounds
from nanoclawd.supervision.units import SessionUnits, parse_session_unit
from nanoclawd.supervision.user_manager import UnitState, UserManager

PATIENCE = 10.0


@dataclass
class Agent:
    """What runs in a container: it sees its session's directories and its end of the doorbell."""

    paths: SessionPaths
    doorbell: socket.socket
    lasts: bool = False
    """Whether it outlives the host's end of its doorbell, and waits for another: a new daemon's."""
    doorbells: asyncio.Queue[socket.socket] = field(default_factory=asyncio.Queue)

    async def rung(self) -> bool:
        """Wait for a ring; False when the host has hung up."""
        while not await asyncio.get_running_loop().sock_recv(self.doorbell, 64):
            if not self.lasts:
                return False
            self.doorbell.close()
            self.doorbell = await self.doorbells.get()
        return True

    def ring(self) -> None:
        self.doorbell.send(RING)

    def asked(self) -> list[tuple[str, str, Address]]:
        """What waits and was not begun: id, content, address."""
        done = {row[0] for row in self._read(self.paths.outbound_db, "SELECT message_id FROM processing_ack")}
        rows = self._read(
            self.paths.inbound_db,
            "SELECT id, content, channel_type, platform_id, thread_id FROM messages_in"
            " WHERE status = 'pending' AND trigger = 1 ORDER BY seq",
        )
        return [(row[0], row[1], Address(row[2], row[3], row[4])) for row in rows if row[0] not in done]

    def claim(self, *ids: str) -> None:
        self._acknowledge("processing", ids)
        self.ring()

    def fail(self, message_id: str) -> None:
        self._acknowledge("failed", (message_id,))
        self.ring()

    def answer(self, message_id: str, content: str, address: Address | None, *, kind: str = "chat") -> None:
        """Write an answer and its acknowledgement, and ring."""
        with apsw.Connection(str(self.paths.outbound_db)) as connection:
            highest_in = self._read(self.paths.inbound_db, "SELECT coalesce(max(seq), 0) FROM messages_in")[0][0]
            highest_out = connection.execute("SELECT coalesce(max(seq), 0) FROM messages_out").get
            seq = sequence.next_container_seq(highest_in, highest_out)
            place = (address.channel_type, address.platform_id, address.thread_id) if address else (None, None, None)
            connection.execute(
                "INSERT INTO messages_out (id, seq, in_reply_to, timestamp, kind, channel_type, platform_id, thread_id,"
                " content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (f"out-{seq}", seq, message_id, clock.now_text(), kind, *place, content),
            )
            self._acknowledge("completed", (message_id,), connection)
        connection.close()
        self.ring()

    def _acknowledge(self, status: str, ids: tuple[str, ...], opened: apsw.Connection | None = None) -> None:
        connection = opened or apsw.Connection(str(self.paths.outbound_db))
        connection.executemany(
            "INSERT INTO processing_ack VALUES (?, ?, ?)"
            " ON CONFLICT (message_id) DO UPDATE SET status = excluded.status",
            [(one, status, clock.now_text()) for one in ids],
        )
        if opened is None:
            connection.close()

    def _read(self, path: Path, sql: str) -> list[tuple]:  # type: ignore[type-arg]  # rows of any kind
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


async def echo(agent: Agent) -> None:
    """Answer every message with its own text, where it was written."""
    while True:
        for message_id, content, address in agent.asked():
            agent.answer(message_id, said(f"re: {json.loads(content)['text']}"), address)
        if not await agent.rung():
            return


async def busy(agent: Agent) -> None:
    """Begin everything, and finish nothing."""
    while True:
        if ids := [message_id for message_id, _, _ in agent.asked()]:
            agent.claim(*ids)
        if not await agent.rung():
            return


class Machine(UserManager):
    """systemd as sessions see it: units that are started by a connection to their socket, and end."""

    def __init__(self, root: Path, program: Callable[[Agent], Awaitable[None]] = echo) -> None:
        super().__init__(f"unix:path={root}/nobody")
        self._root = root
        self.program = program
        self.broken = False
        """Whether containers end before they are ready."""
        self.lasting = False
        """Whether containers that are started outlive the daemon."""
        self.states: dict[str, UnitState] = {}
        self.starts: list[str] = []
        self.reloads = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sockets: dict[str, asyncio.Task[None]] = {}
        self._agents: dict[str, Agent] = {}

    async def running_units(self, pattern: str) -> dict[str, UnitState]:
        return {unit: state for unit, state in self.states.items() if state.running}

    async def state(self, unit: str) -> UnitState:
        return self.states.get(unit, UnitState())

    async def start_unit(self, unit: str, patience: float = 0) -> str:
        if unit not in self._sockets:
            found = parse_session_unit(unit.replace(".socket", ".service"))
            assert found is not None
            units = SessionUnits(*found, self._root)
            units.doorbell.parent.mkdir(parents=True, exist_ok=True)
            units.doorbell.unlink(missing_ok=True)
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            listening.bind(str(units.doorbell))
            listening.listen(4)
            self._sockets[unit] = asyncio.create_task(self._listen(units, listening))
        return "done"

    async def stop_unit(self, unit: str) -> str:
        await self._end(unit)
        return "done"

    async def begin_stop(self, unit: str) -> None:
        await self._end(unit)

    async def kill_unit(self, unit: str) -> None:
        await self._end(unit)

    async def reload(self) -> None:
        self.reloads += 1

    async def run_transient(self, unit: str, command: list[str], description: str) -> str:
        """Run a command of podman's as who this is: there are no other users' files here."""
        assert command[:2] == ["/usr/bin/podman", "unshare"]
        process = await asyncio.create_subprocess_exec(*command[2:])
        return "failed" if await process.wait() else "done"

    async def reset_failed(self, unit: str) -> None:
        if not self.states.get(unit, UnitState()).running:
            self.states.pop(unit, None)

    async def stop(self) -> None:
        for unit in [*self._tasks, *self._sockets]:
            await self._end(unit)

    @property
    def running(self) -> list[str]:
        return sorted(unit for unit, state in self.states.items() if state.running)

    async def _listen(self, units: SessionUnits, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def accept() -> None:
            connection, _ = listening.accept()
            connection.setblocking(False)
            agent = self._agents.get(units.service)
            if agent is not None and agent.lasts:
                agent.doorbells.put_nowait(connection)
            else:
                self.starts.append(units.session_id)
                self._tasks[units.service] = asyncio.create_task(self._live(units, connection))

        loop.add_reader(listening, accept)
        try:
            await loop.create_future()
        finally:
            loop.remove_reader(listening)
            listening.close()
            units.doorbell.unlink(missing_ok=True)  # RemoveOnStop=yes

    async def _live(self, units: SessionUnits, connection: socket.socket) -> None:
        paths = SessionPaths(self._root / "sessions" / units.group / units.session_id)
        result = "success"
        agent = self._agents[units.service] = Agent(paths, connection, self.lasting)
        try:
            self._tell(units.service, UnitState("activating", "start"))
            if self.broken:
                result = "exit-code"
                return
            self._tell(units.service, UnitState("active", "running"))
            await self.program(agent)
        finally:
            agent.doorbell.close()
            while not agent.doorbells.empty():
                agent.doorbells.get_nowait().close()
            del self._agents[units.service]
            self._tasks.pop(units.service, None)
            failed = result != "success"
            self._tell(units.service, UnitState("failed" if failed else "inactive", "dead", result, "", int(failed)))

    async def _end(self, unit: str) -> None:
        task = self._sockets.pop(unit, None) or self._tasks.get(unit)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _tell(self, unit: str, state: UnitState) -> None:
        self.states[unit] = state
        if unit in self._units:
            listener = self._units[unit][1]
            self._units[unit] = (state, listener)
            listener(unit, state)


async def nothing_missing(_group: str) -> str:
    return ""


@dataclass
class House:
    """The daemon's sessions on such a machine."""

    root: Path
    platform: Platform = field(default_factory=Platform)
    rules: Rules = field(default_factory=Rules)
    places: int = 100

    def __post_init__(self) -> None:
        self.paths = StatePaths(self.root)
        self.machine = Machine(self.root)
        self.database = Database(self.paths.central_db)
        self.jobs = SessionJobs()
        self._assemble()

    def _assemble(self) -> None:
        self.admission = Admission(Bounds(self.places, 2**40, 2**20, 0), self.root)
        self.sessions = Sessions(self.paths, self.database)
        self.sessions.bind(
            Surroundings(
                database=self.database,
                manager=self.machine,
                admission=self.admission,
                jobs=self.jobs,
                reader=READER,
                port=self.platform,
                timeouts=Config().timeouts,
                runtime_directory=self.root,
                missing_image=nothing_missing,
                slept=self.sessions.slept,
                rules=self.rules,
            )
        )

    async def open(self) -> None:
        await self.database.open()

    async def restart(self) -> int:
        """Have a new daemon in place of the old one; containers go on."""
        self.sessions.close()
        self._assemble()
        return await self.sessions.resume()

    async def end(self) -> None:
        self.sessions.close()
        await self.machine.stop()
        self.jobs.close()
        await self.database.close()

    async def group(self, folder: str = "main") -> AgentGroup:
        return await self.database.run(agent_groups.create, folder)

    async def chat(self, group: AgentGroup, address: Address) -> Chat:
        """Make a chat that a group is wired to."""

        def make(connection: apsw.Connection) -> Chat:
            chat = chats.create(connection, address.channel_type, address.platform_id)
            chats.wire(connection, chat.id, group.id)
            return chat

        return await self.database.run(make)

    async def session(self, group: AgentGroup, address: Address) -> Session:
        """Make a chat and its session with a group."""
        chat = await self.chat(group, address)
        return await self.sessions.create(group.id, group.folder, chat.id, address.thread_id)

    async def say(self, session: Session, *messages: NewMessage) -> list[bool | Exception]:
        return await self.sessions.accept_all([(session, message) for message in messages])

    def query(self, session: Session, sql: str, *bindings: object) -> list[tuple]:  # type: ignore[type-arg]
        """One look at a session's ``inbound.db``."""
        path = self.paths.session(session.group, session.id).inbound_db
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            return connection.execute(sql, bindings).fetchall()  # type: ignore[arg-type]  # plain values
        finally:
            connection.close()

    async def asleep(self) -> None:
        await eventually(lambda: not self.sessions.actors)


def at(address: Address, message: NewMessage) -> NewMessage:
    return replace(message, address=address)
