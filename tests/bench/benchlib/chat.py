"""A person at a terminal: a chat with an agent group, attached, one message after the other."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchlib.machine import acting_as, admin_group
from benchlib.varlink import Link

_tokens = itertools.count()


@dataclass(frozen=True, slots=True)
class Exchange:
    """When (perf_counter) a message was sent, was stored, was answered, and was done with."""

    sent: float
    stored: float
    replied: float
    ended: float


class Chat:
    """The chat of one unix uid with a group. A uid needs no account: each is a person, and so a session, of its own."""

    def __init__(self, group: str, uid: int = 0) -> None:
        self.group = group
        with acting_as(uid, admin_group()):
            self.events, self._calls = Link(), Link()
        self.events.begin("io.nanoclaw.Chat.Attach", {"group": group}, more=True)
        self.events.reply()

    def begin(self, text: str) -> None:
        """Send a message; its acceptance is read by :meth:`stored`."""
        token = f"bench-{time.time_ns()}-{next(_tokens)}"
        self._calls.begin("io.nanoclaw.Chat.Send", {"group": self.group, "text": text, "client_token": token})

    def stored(self) -> str:
        """Wait until the message has been stored, and return its id."""
        return str(self._calls.reply()["message_id"])

    def ask(self, text: str, on_reply: Callable[[], None] = lambda: None) -> Exchange:
        """Send a message and wait for the answer and the turn's end; ``on_reply`` runs between the two."""
        sent = time.perf_counter()
        self.begin(text)
        message = self.stored()
        stored = time.perf_counter()
        self._await("message", message)
        replied = time.perf_counter()
        on_reply()
        self._await("turn", message)
        return Exchange(sent, stored, replied, time.perf_counter())

    def close(self) -> None:
        """Leave."""
        self.events.close()
        self._calls.close()

    def _await(self, kind: str, message: str) -> None:
        while True:
            event = self.events.reply()
            if event["in_reply_to"] == message and event["type"] == "notice":
                raise RuntimeError(f"the appliance gave a notice instead of an answer: {event['text']}")
            if event["in_reply_to"] == message and event["type"] == kind:
                return


def ended(event: dict[str, Any]) -> bool:
    """Tell whether an event is the end of a turn that was answered.

    Raises:
        RuntimeError: the turn failed, or the appliance gave a notice.
    """
    if event["type"] == "notice" or event.get("state") == "failed":
        raise RuntimeError(f"not answered: {event}")
    return bool(event["type"] == "turn")
