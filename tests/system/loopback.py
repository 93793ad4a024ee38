"""The loopback platform: people, groups, threads, buttons and accidents for a loopback channel of the appliance.

An :class:`Account` is a platform as far as the appliance can tell. What people do is told at least once: again after
every reconnect until it is acknowledged. What is delivered is confirmed and kept. All methods block, each with a
deadline that names what was waited for; deliveries are read by a thread.
"""

import base64
import contextlib
import itertools
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

SOCKETS: Final = Path("/run/nanoclawd/channels")
PATIENCE_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 0.2


class PlatformError(Exception):
    """The appliance refused an event for good. ``code`` is the error's name: ``TooLarge``, ``BadFrame`` …"""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Choice:
    """A button of a card."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that the appliance delivered, under the id ``message`` that the platform gave it.

    ``kind`` is text, card, edit or reaction; ``target`` the message that is edited or reacted to; ``id`` the
    appliance's own id of it; ``connection`` counts the account's connections.
    """

    id: str
    message: str
    kind: str
    chat: str
    thread: str | None
    text: str
    title: str
    card: str | None
    options: tuple[Choice, ...]
    target: str | None
    files: tuple[dict[str, Any], ...]
    in_reply_to: str | None
    notice: bool
    connection: int
    at: float

    @property
    def labels(self) -> tuple[str, ...]:
        """What the buttons say."""
        return tuple(option.label for option in self.options)


@dataclass(frozen=True, slots=True)
class Sign:
    """What is shown and not kept: ``event`` is typing, progress, turn or subscribed."""

    event: str
    chat: str
    thread: str | None
    values: dict[str, Any]
    at: float


@dataclass
class _Call:
    frame: dict[str, Any]
    reply: dict[str, Any] | None = None
    attempts: int = field(default=0)


def file(name: str, content: bytes | None, **more: Any) -> dict[str, Any]:
    """Return a file to go with a message; None: the platform has lost its content.

    ``more``: ``media_type`` and ``size`` as the platform says them, ``times``: so many attempts to fetch it fail.
    """
    data = None if content is None else base64.b64encode(content).decode()
    return {"name": name, "data": data, **more}


class Account:
    """One account of the platform, connected until :meth:`close`, again and again when the appliance goes away.

    Args:
        channel: the channel's name in the configuration.
        sockets: where the appliance has the channels' sockets.
        idempotent: the platform takes a delivery's id once; repeats get the first one's answer and are in ``repeats``.
    """

    def __init__(self, channel: str, *, sockets: Path = SOCKETS, idempotent: bool = False) -> None:
        self.channel = channel
        self.idempotent = idempotent
        self.deliveries: list[Delivery] = []
        self.repeats: list[Delivery] = []
        self.signs: list[Sign] = []
        self.connections = 0
        self._path = sockets / f"{channel}.sock"
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._news = threading.Condition()
        self._writing = threading.Lock()
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._stay_connected, daemon=True, name=f"account {channel}")
        self._thread.start()

    def __enter__(self) -> Self:
        self.connected()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connected(self, seconds: float = PATIENCE_SECONDS, *, times: int = 1) -> None:
        """Wait until the account has been connected so many times."""
        self._wait_for(lambda: self.connections >= times or None, f"connection {times}", seconds)

    def close(self) -> None:
        """Go offline."""
        self._closing.set()
        self._hang_up()
        self._thread.join(PATIENCE_SECONDS)

    # What people do.

    def say(
        self,
        chat: str,
        text: str,
        *,
        sender: str | None = "alice",
        name: str | None = None,
        thread: str | None = None,
        mention: bool = False,
        group: bool = False,
        chat_name: str | None = None,
        quote: dict[str, Any] | None = None,
        files: Sequence[dict[str, Any]] = (),
        message_id: str | None = None,
        wait: bool = True,
        seconds: float = PATIENCE_SECONDS,
    ) -> str:
        """Write a message; return its id once the appliance has acknowledged it (or at once: ``wait=False``).

        ``files`` are as :func:`file` makes them.

        Raises:
            PlatformError: the appliance refused it for good.
        """
        message_id = message_id if message_id is not None else secrets.token_hex(8)
        number = self._begin(
            op="message",
            chat=chat,
            message_id=message_id,
            text=text,
            sender=sender,
            name=name if name is not None else (sender or ""),
            thread=thread,
            mention=mention,
            group=group,
            chat_name=chat_name,
            quote=quote,
            files=list(files),
        )
        if wait:
            self._finish(number, f"the acknowledgement of {text[:40]!r}", seconds)
        return message_id

    def click(
        self,
        card: Delivery,
        option: str | int,
        *,
        sender: str = "alice",
        by_number: bool = False,
        seconds: float = PATIENCE_SECONDS,
    ) -> str:
        """Press a card's button, by its label, value or number from 1; return the words for who pressed it."""
        chosen = self._number_of(card, option)
        what: dict[str, Any] = {"option": chosen} if by_number else {"value": card.options[chosen - 1].value}
        number = self._begin(
            op="click", card=card.card, sender=sender, name=sender, chat=card.chat, thread=card.thread, **what
        )
        return str(self._finish(number, f"the answer to a click on {option!r}", seconds)["words"])

    def name_chat(self, chat: str, name: str | None, *, group: bool | None = None) -> None:
        """Have the platform tell a chat's name or kind."""
        self._tell(op="named", chat=chat, name=name, group=group)

    # What the platform does.

    def fail(
        self,
        what: str = "deliver",
        *,
        times: int = 1,
        reason: str = "told to fail",
        permanent: bool = False,
        retry_after: float | None = None,
        after: bool = False,
        hang: bool = False,
    ) -> None:
        """Have the next calls fail: ``deliver``, ``typing``, ``open_dm``, ``setup`` or ``teardown``.

        ``after``: the platform takes the delivery, and only then it is said to have failed. ``hang``: it does not end.
        """
        self._tell(
            op="fail",
            what=what,
            times=times,
            reason=reason,
            permanent=permanent,
            retry_after=retry_after,
            after=after,
            hang=hang,
        )

    def lose(self, reason: str = "told to lose the connection") -> None:
        """Have the platform go away: the channel is torn down and set up again. Returns when it was understood."""
        self._tell(op="lose", reason=reason)

    def degrade(self, words: str) -> None:
        """Have the channel say that it is not well; empty: that it is."""
        self._tell(op="health", degraded=words)

    def member_of(self, *chats: dict[str, Any]) -> None:
        """Set the chats that the account is in: ``{"chat", "name", "group"}``."""
        self._tell(op="conversations", chats=list(chats))

    def direct_chat(self, handle: str, chat: str | None) -> None:
        """Set a person's direct chat; None: they can't be reached."""
        self._tell(op="dm", handle=handle, chat=chat)

    def raw(self, line: bytes) -> None:
        """Send a line as it is; nobody waits for its reply."""
        self._write(line)

    # What was delivered.

    def wait(
        self,
        wanted: Callable[[Delivery], object],
        what: str,
        seconds: float = PATIENCE_SECONDS,
        *,
        after: int = 0,
    ) -> Delivery:
        """Return the first delivery (from index ``after`` on) that is wanted; fails with the last at the deadline."""
        return self._wait_for(
            lambda: next((one for one in self.deliveries[after:] if wanted(one)), None), what, seconds
        )

    def asks(
        self, chat: str, text: str, words: str, *, sender: str = "somebody", seconds: float = PATIENCE_SECONDS
    ) -> str:
        """Say something, wait for an answer with these words and return the whole of it."""
        before = len(self.deliveries)
        self.say(chat, text, sender=sender)
        return self.hears(chat, words, seconds, after=before).text

    def hears(
        self,
        chat: str,
        words: str,
        seconds: float = PATIENCE_SECONDS,
        *,
        thread: str | None = None,
        after: int = 0,
    ) -> Delivery:
        """Wait until a text or card with these words is in a chat and thread."""
        return self.wait(
            lambda one: one.chat == chat and one.thread == thread and words in f"{one.title}\n{one.text}",
            f"{words!r} in {chat}" + (f", thread {thread}" if thread is not None else ""),
            seconds,
            after=after,
        )

    def gets_card(self, chat: str, seconds: float = PATIENCE_SECONDS, *, after: int = 0) -> Delivery:
        """Wait for a card with buttons in a chat."""
        return self.wait(lambda one: one.chat == chat and one.kind == "card", f"a card in {chat}", seconds, after=after)

    def sees(
        self, event: str, chat: str, seconds: float = PATIENCE_SECONDS, *, after: int = 0, **values: object
    ) -> Sign:
        """Wait for a sign in a chat: ``typing``, ``progress``, ``turn`` or ``subscribed``, with these values."""

        def found() -> Sign | None:
            for sign in self.signs[after:]:
                if (sign.event, sign.chat) == (event, chat) and values.items() <= sign.values.items():
                    return sign
            return None

        return self._wait_for(found, f"{event} in {chat} {values or ''}", seconds)

    def texts(self, chat: str, thread: str | None = None) -> list[str]:
        """Return what a person sees in a chat and thread, in order: later edits take the place of what they change."""
        seen: dict[str, str] = {}
        for one in list(self.deliveries):
            if (one.chat, one.thread) == (chat, thread) and one.kind in ("text", "card"):
                seen[one.message] = "\n".join(filter(None, [one.title, one.text]))
            elif one.kind == "edit" and one.target in seen:
                seen[one.target] = one.text
        return list(seen.values())

    # The connection.

    def _tell(self, **frame: Any) -> None:
        self._finish(self._begin(**frame), f"the answer to {frame['op']}", PATIENCE_SECONDS)

    def _begin(self, **frame: Any) -> int:
        number = next(self._numbers)
        call = _Call({**frame, "id": number})
        with self._news:
            self._calls[number] = call
        self._send(call)
        return number

    def _finish(self, number: int, what: str, seconds: float) -> dict[str, Any]:
        call = self._calls[number]
        try:
            reply = self._wait_for(lambda: call.reply, what, seconds)
        finally:
            with self._news:
                self._calls.pop(number, None)
        if "error" in reply:
            raise PlatformError(reply["error"]["code"], reply["error"]["message"])
        return reply

    def unacknowledged(self) -> list[str]:
        """Return the ids of the messages that the appliance has not acknowledged (yet)."""
        with self._news:
            open_calls = [call.frame for call in self._calls.values() if call.reply is None]
        return [frame["message_id"] for frame in open_calls if frame["op"] == "message"]

    def all_acknowledged(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until every message was acknowledged."""
        self._wait_for(lambda: not self.unacknowledged() or None, "all messages acknowledged", seconds)

    def _wait_for[Found](self, find: Callable[[], Found | None], what: str, seconds: float) -> Found:
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = find()
                if found is not None:
                    return found
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    seen = "\n".join(f"  {one}"[:400] for one in self.deliveries[-30:])
                    raise AssertionError(
                        f"{self.channel}: not within {seconds:g} s: {what}. The last deliveries:\n{seen}"
                    )
                self._news.wait(remaining)

    def _number_of(self, card: Delivery, option: str | int) -> int:
        if isinstance(option, int):
            return option
        for number, choice in enumerate(card.options, start=1):
            if option in (choice.label, choice.value):
                return number
        raise AssertionError(f"{option!r} is not on the card: {card.labels}")

    def _stay_connected(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(OSError):
                self._connect()
            self._closing.wait(0.05)  # nothing tells when the socket is there again

    def _connect(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            connection.sendall(b'{"op": "watch", "id": 0}\n')
            with self._news:
                self._socket = connection
            try:
                self._read(connection)
            finally:
                with self._news:
                    self._socket = None

    def _read(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for line in lines:
                frame = json.loads(line)
                if "re" in frame:
                    self._answered(frame)
                else:
                    self._happened(frame)

    def _answered(self, reply: dict[str, Any]) -> None:
        if reply["re"] == 0:
            with self._news:
                self.connections += 1
                again = [call for call in self._calls.values() if call.reply is None]
                self._news.notify_all()
            for call in again:
                self._send(call)
            return
        call = self._calls.get(reply["re"])
        if call is None:
            return
        if reply.get("error", {}).get("code") == "Unavailable" and call.frame["op"] in ("message", "click"):
            timer = threading.Timer(_AGAIN_SECONDS, self._send, [call])
            timer.daemon = True
            timer.start()
            return
        with self._news:
            call.reply = reply
            self._news.notify_all()

    def _happened(self, event: dict[str, Any]) -> None:
        place = {"chat": event.pop("chat"), "thread": event.pop("thread")}
        if event["event"] != "delivery":
            kind = event.pop("event")
            with self._news:
                self.signs.append(Sign(kind, **place, values=event, at=time.monotonic()))
                self._news.notify_all()
            return
        with self._news:
            earlier = next((one for one in self.deliveries if one.id == event["id"]), None)
            known = earlier if self.idempotent else None
            message = known.message if known else f"{self.channel}-{len(self.deliveries) + len(self.repeats) + 1}"
            delivery = Delivery(
                id=event["id"],
                message=message,
                kind=event["kind"],
                **place,
                text=event["text"],
                title=event.get("title", ""),
                card=event.get("card"),
                options=tuple(Choice(**option) for option in event.get("options", ())),
                target=event.get("target"),
                files=tuple(event.get("files", ())),
                in_reply_to=event["in_reply_to"],
                notice=event["notice"],
                connection=self.connections,
                at=time.monotonic(),
            )
            (self.deliveries if known is None else self.repeats).append(delivery)
            self._news.notify_all()
        self._write(json.dumps({"op": "ack", "id": event["number"], "message": message}).encode())

    def _send(self, call: _Call) -> None:
        call.attempts += 1
        self._write(json.dumps(call.frame).encode())

    def _write(self, line: bytes) -> None:
        """Write a line; what is lost with the connection is sent again on the next one."""
        with self._writing, contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.sendall(line + b"\n")

    def _hang_up(self) -> None:
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
