"""When messages were first told to the bot, and when its answers came, for benchmarks."""

import time
from collections import deque

from .world import Json

_MOST = 5000


class Moments:
    """The last ones; by the wall clock, which the appliance's rows have, too."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, str, str]] = deque(maxlen=_MOST)
        self._came: deque[tuple[float, str, str]] = deque(maxlen=_MOST)
        self._highest = 0

    def told(self, updates: list[Json]) -> None:
        """Note messages that an answer is about to be written with; what is told again was told before."""
        now = time.time()
        for update in updates:
            number, message = update["update_id"], update.get("message")
            if not isinstance(number, int) or number <= self._highest:
                continue
            self._highest = number
            # Tests have whatever they want told, also what is no message.
            chat = message.get("chat") if isinstance(message, dict) else None
            if isinstance(chat, dict):
                self._told.append((now, str(chat.get("id")), str(message.get("text", ""))))

    def answer_came(self, moment: float, given: Json) -> None:
        """Note that a request to send a message had come."""
        self._came.append((moment, str(given.get("chat_id")), str(given.get("text", ""))))

    def as_json(self) -> Json:
        """Return all: seconds since 1970, chat, text."""
        return {"told": list(self._told), "came": list(self._came)}
