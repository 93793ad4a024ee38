"""A stage for a real runner: real databases, a real doorbell socket, a real notify socket, a real process."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from nanoclaw_runner.contract import clock, doorbell, schema, sequence
from nanoclaw_runner.contract.agent_config import AgentConfig, to_json
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Intake
from nanoclaw_runner.places import Places
from nanoclaw_runner.store.inbox import Inbox
from nanoclaw_runner.store.outbox import Outbox
from nanoclaw_runner.tools import toolbox
from nanoclaw_runner.way_out import WayOut
from nanoclaw_runner.workshop import Workshop

PATIENCE_SECONDS = 20.0
"""How long a test waits for what must happen; only a failing test uses it up."""

_LAUNCH = """
import os, sys
from pathlib import Path
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
exec(os.environ.pop("BEFORE_RUNNER", ""))
from nanoclaw_runner.__main__ import main
from nanoclaw_runner.places import Places
sys.exit(main(Places.beneath(Path(sys.argv[2]))))
"""


def chat(text: str, sender: str = "Ada") -> str:
    return json.dumps({"text": text, "sender": sender, "senderId": f"cli:{sender.lower()}"})


@dataclass
class Host:
    """The host's hands: it writes the inbox, reads the outbox, rings, and hears sd_notify."""

    root: Path
    places: Places = field(init=False)
    notifications: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = Places.beneath(self.root)
        for path in (self.places.inbound_db, self.places.outbound_db, self.places.agent_config):
            path.parent.mkdir(parents=True, exist_ok=True)
        for path in (self.places.home, self.places.workspace, self.places.inbound_files, self.places.outbound_files):
            path.mkdir(parents=True)
        for path, ddl in (
            (self.places.inbound_db, schema.INBOUND_DDL),
            (self.places.outbound_db, schema.OUTBOUND_DDL),
        ):
            connection = apsw.Connection(str(path))
            schema.create(connection, ddl)
            connection.close()
        self.inbound = apsw.Connection(str(self.places.inbound_db))
        self.inbound.set_busy_timeout(5000)
        schema.apply_session_pragmas(self.inbound)
        self.doorbell_path = self.root / "doorbell"
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(str(self.doorbell_path))
        self.listening.listen(16)
        self.notify_path = self.root / "notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.notify_path))
        self.connections: list[socket.socket] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.configure()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for connection in (*self.connections, self.listening, self.notify):
            connection.close()
        self.inbound.close()

    def configure(self, **changes: object) -> None:
        values = {"provider": "scripted", "prompt": "plain", "idle_seconds": 60.0, **changes}
        self.places.agent_config.write_text(to_json(AgentConfig(**values)))  # type: ignore[arg-type]

    def insert(
        self,
        text: str,
        *,
        identifier: str | None = None,
        trigger: bool = True,
        on_wake: bool = False,
        process_after: str | None = None,
        status: str = "pending",
        kind: str = "chat",
        content: str | None = None,
        thread: str | None = None,
        platform: str | None = "terminal",
    ) -> str:
        seq = self.inbound.execute(f"SELECT {sequence.NEXT_HOST_SEQ}").get
        identifier = identifier or f"in-{seq}"
        self.inbound.execute(
            "INSERT INTO messages_in (id, seq, kind, timestamp, status, process_after, series_id, trigger, on_wake,"
            " channel_type, platform_id, thread_id, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(identifier, seq, kind, clock.now_text(), status, process_after, identifier, int(trigger)),
                *(int(on_wake), "cli" if platform else None, platform, thread, content or chat(text)),
            ),
        )
        return identifier

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the runner; BEFORE_RUNNER are statements that it begins with, e.g. shorter waits."""
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(self.listening.fileno()), str(self.root)],
            pass_fds=[self.listening.fileno()],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[3] / "runner"),
                "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": str(self.notify_path),
                **environment,
            },
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def start_ready(self, **environment: str) -> subprocess.Popen[bytes]:
        process = self.start(**environment)
        self.await_notification("READY=1")
        return process

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(self.doorbell_path))
        connection.settimeout(PATIENCE_SECONDS)
        self.connections.append(connection)
        return connection

    def await_notification(self, expected: str) -> str:
        """Return the next notification that has the words, and keep all that came before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.notify], [], [], deadline - time.monotonic())
            if not readable:
                break
            words = self.notify.recv(4096).decode()
            self.notifications.append(words)
            if expected in words:
                return words
        raise AssertionError(f"no notification with {expected!r}, but {self.notifications}")

    def outbound(self, query: str) -> list[tuple[object, ...]]:
        connection = apsw.Connection(str(self.places.outbound_db), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def contents(self, kind: str) -> list[dict[str, Any]]:
        found = self.outbound(f"SELECT content FROM messages_out WHERE kind = '{kind}' ORDER BY seq")
        return [json.loads(str(row[0])) for row in found]

    def replies(self) -> list[str]:
        return [content["text"] for content in self.contents("chat") if "text" in content]

    def command(self, name: str, args: str = "", **place: str | None) -> str:
        """Store a command as the host's gate does."""
        content = {"type": "command", "name": name, "args": args, "sender": "Ada", "senderId": "cli:ada"}
        return self.insert("", kind="system", content=json.dumps(content), **place)  # type: ignore[arg-type]

    def answer_call(self, request_id: str, frame: str) -> str:
        """Store the host's reply to a call of the agent's."""
        content = {"type": "control_reply", "requestId": request_id, "frame": frame}
        return self.insert("", kind="system", content=json.dumps(content), trigger=False, platform=None)

    def acks(self) -> dict[str, str]:
        return {str(row[0]): str(row[1]) for row in self.outbound("SELECT message_id, status FROM processing_ack")}

    def last_words(self) -> str:
        process = self.processes[-1]
        assert process.stderr is not None
        process.kill()
        return process.stderr.read().decode()

    def await_ring_until(self, connection: socket.socket, true: Callable[[], bool]) -> None:
        """Look again at each ring until something is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true():
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            frame = connection.recv(doorbell.MAX_FRAME_BYTES + 1)
            assert frame, f"the runner is gone: {self.last_words()}"

    def await_replies(self, connection: socket.socket, count: int) -> list[str]:
        self.await_ring_until(connection, lambda: len(self.replies()) >= count)
        return self.replies()


def end(process: subprocess.Popen[bytes]) -> float:
    """Send SIGTERM and return how long the process took."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_SECONDS)
    return time.monotonic() - begun


def desk_of(host: Host) -> Desk:
    """Return a desk on the running loop, for what is tried without a runner's process."""
    outbox = Outbox(host.places.outbound_db)
    host.listening.setblocking(False)
    doorbell_end = Doorbell(host.listening, on_ring=lambda: None)
    intake = Intake(Inbox(host.places.inbound_db), outbox, 10)
    return Desk(outbox, intake, doorbell_end)


def workshop_of(host: Host, config: AgentConfig) -> Workshop:
    """Return what a provider works with, for one that is tried without a runner's process."""
    desk = desk_of(host)
    tools = toolbox(config, host.places, desk)
    return Workshop(config, host.places, desk, tools, lambda: config.instructions, WayOut(host.places.gateway_socket))
