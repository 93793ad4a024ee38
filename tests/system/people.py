"""People at terminals: the control socket as ``ncl chat`` uses it, with everything remembered that was shown."""

import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

CONTROL: Final = Path("/run/nanoclawd/control.sock")
PATIENCE_SECONDS: Final = 30.0
"""How long anything may take that has nothing to wait for; generous, because a bed shares its processors."""

# The control socket.


class ControlError(Exception):
    """An error reply. ``name`` is the error without its interface: ``NotFound``, ``Unavailable`` …"""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(f"{name}: {parameters.get('message', parameters)}")
        self.name = name
        self.message = str(parameters.get("message", ""))
        self.hint = parameters.get("hint")


class Connection:
    """One connection to the control socket."""

    def __init__(self, seconds: float | None = PATIENCE_SECONDS) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._socket.connect(str(CONTROL))
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, also under a reader's feet."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def write(self, method: str, parameters: dict[str, Any], *, more: bool = False) -> None:
        """Send a call without waiting for its reply."""
        frame: dict[str, Any] = {"method": method, "parameters": parameters}
        if more:
            frame["more"] = True
        self._socket.sendall(json.dumps(frame).encode() + b"\0")

    def read(self) -> dict[str, Any]:
        """Return the next reply's parameters.

        Raises:
            ControlError: it is an error.
            ConnectionError: the daemon hung up.
        """
        while b"\0" not in self._buffer:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the daemon hung up")
            self._buffer += received
        frame, self._buffer = self._buffer.split(b"\0", 1)
        reply = json.loads(frame)
        if "error" in reply:
            raise ControlError(reply["error"].rpartition(".")[2], reply.get("parameters", {}))
        parameters: dict[str, Any] = reply.get("parameters", {})
        return parameters


def call(method: str, *, seconds: float = PATIENCE_SECONDS, **parameters: Any) -> dict[str, Any]:
    """Call a method (``Groups.List``) and return its reply's parameters."""
    with Connection(seconds) as connection:
        connection.write(f"io.nanoclaw.{method}", parameters)
        return connection.read()


# People.


@dataclass(frozen=True, slots=True)
class Event:
    """What a screen was shown. ``attachment`` counts the connections of the person, ``at`` is monotonic seconds."""

    type: str
    id: str | None
    in_reply_to: str | None
    text: str
    state: str | None
    place: int | None
    attachment: int
    at: float
    files: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a message ended: ``completed`` or ``failed``, and what was said in reply to it, each id once."""

    state: str
    answers: tuple[str, ...]
    notices: tuple[str, ...]
    seconds: float

    @property
    def text(self) -> str:
        """All that was said, answers first."""
        return "\n".join((*self.answers, *self.notices))


@dataclass
class _Sent:
    token: str
    text: str
    at: float = field(default_factory=time.monotonic)


class Person:
    """Somebody at a terminal: attached until :meth:`leave`, again and again when the daemon goes away.

    Remembers everything that was shown, also what was shown twice. A message whose end was missed because the daemon
    was away is asked after by sending it again with its token, as ``ncl`` does.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        self.events: list[Event] = []
        self.attachments = 0
        self.error: ControlError | None = None
        self._sent: dict[str, _Sent] = {}
        self._news = threading.Condition()
        self._leaving = False
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._stay_attached, daemon=True, name=f"person at {group}")
        self._thread.start()
        self.wait(lambda event: event.type == "attached", "attached")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the terminal."""
        self._leaving = True
        connection = self._connection
        if connection is not None:
            connection.close()
        self._thread.join(PATIENCE_SECONDS)

    def send(self, text: str, *, seconds: float = PATIENCE_SECONDS) -> str:
        """Send a message, again with the same token while the daemon is away; returns its id."""
        sent = _Sent(secrets.token_hex(16), text)
        message_id = self._send(sent, seconds)["message_id"]
        self._sent[message_id] = sent
        return str(message_id)

    def outcome(self, message_id: str, seconds: float = PATIENCE_SECONDS) -> Outcome:
        """Wait until a message is done with."""
        turn = self.wait(
            lambda event: event.type == "turn" and event.in_reply_to == message_id,
            f"the end of {self._sent[message_id].text[:40]!r}",
            seconds,
        )
        said = {event.id: event for event in self.shown() if event.in_reply_to == message_id}
        return Outcome(
            turn.state or "",
            tuple(event.text for event in said.values() if event.type == "message"),
            tuple(event.text for event in said.values() if event.type == "notice"),
            turn.at - self._sent[message_id].at,
        )

    def ask(self, text: str, seconds: float = PATIENCE_SECONDS) -> Outcome:
        """Send a message and wait until it is done with."""
        return self.outcome(self.send(text), seconds)

    def runs(self, command: str, seconds: int = 60) -> str:
        """Have the agent run a command with its own tool; return what that printed."""
        asked = json.dumps({"command": command, "timeout": seconds})
        return self.ask(f"!call run_command {asked}", seconds + 60).text.removeprefix("call run_command: ")

    def wait(
        self, wanted: Callable[[Event], bool], what: str, seconds: float = PATIENCE_SECONDS, *, after: int = 0
    ) -> Event:
        """Return the first event (from index ``after`` on) that is wanted; fails with all events at the deadline."""
        deadline = time.monotonic() + seconds
        position = after
        with self._news:
            while True:
                for event in self.events[position:]:
                    if wanted(event):
                        return event
                position = len(self.events)
                if self.error is not None:
                    raise self.error
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    seen = "\n".join(f"  {event}"[:300] for event in self.events[-40:])
                    raise AssertionError(f"{self.group}: not within {seconds:g} s: {what}. The last events:\n{seen}")
                self._news.wait(remaining)

    def shown(self) -> list[Event]:
        """Return all messages and notices in the order in which they were shown, repetitions too."""
        return [event for event in self.events if event.type in ("message", "notice")]

    def _send(self, sent: _Sent, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return call(
                    "Chat.Send",
                    seconds=max(1.0, deadline - time.monotonic()),
                    group=self.group,
                    text=sent.text,
                    client_token=sent.token,
                )
            except OSError:
                if self._leaving or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # the daemon's socket unit may be restarting: nothing tells when it is back

    def _stay_attached(self) -> None:
        while not self._leaving:
            try:
                self._attach()
            except ControlError as error:
                if error.name == "Unavailable":
                    time.sleep(0.2)  # the daemon is starting: it tells who is attached, and nobody can attach yet
                    continue
                with self._news:
                    self.error = error
                    self._news.notify_all()
                return
            except OSError:
                if not self._leaving:
                    time.sleep(0.05)  # as above

    def _attach(self) -> None:
        self._connection = Connection(seconds=None)
        with self._connection as connection:
            connection.write("io.nanoclaw.Chat.Attach", {"group": self.group}, more=True)
            while True:
                values = connection.read()
                if values["type"] == "attached":
                    self.attachments += 1
                    if self.attachments > 1:
                        threading.Thread(target=self._ask_after, daemon=True).start()
                self._tell(values)

    def _tell(self, values: dict[str, Any]) -> None:
        names = ("id", "in_reply_to", "state", "place")
        event = Event(
            type=values["type"],
            text=values.get("text", ""),
            attachment=self.attachments,
            at=time.monotonic(),
            files=tuple(values.get("files", ())),
            **{name: values.get(name) for name in names},
        )
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def _ask_after(self) -> None:
        """Learn what became of messages whose end may have been told while nobody listened."""
        ended = {event.in_reply_to for event in tuple(self.events) if event.type == "turn"}
        for message_id, sent in tuple(self._sent.items()):
            if message_id in ended:
                continue
            with contextlib.suppress(OSError, ControlError):
                state = self._send(sent, PATIENCE_SECONDS)["state"]
                if state != "accepted":
                    self._tell({"type": "turn", "in_reply_to": message_id, "state": state})
