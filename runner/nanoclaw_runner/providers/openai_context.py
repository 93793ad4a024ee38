"""What a model is sent, and how it is made to fit: older exchanges become a summary that the model itself writes.

Nothing is dropped in silence: what leaves the conversation is in the summary, and whole in the workspace's archive.
"""

import json
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers.openai_history import Exchange, History, Past, bounded, shortened
from nanoclaw_runner.tools.clock import zone
from nanoclaw_runner.transcripts import Entry, archive

_log = logging.getLogger(__name__)

MAX_PAST_BYTES: Final = 1024 * 1024
"""Of the past, even where the model holds more: it is sent with each message."""

MAX_RESERVE_TOKENS: Final = 8192
"""Room for the answer, a quarter of the window at most."""

MAX_SUMMARY_TOKENS: Final = 2000
KEPT_BY_COMMAND: Final = 2
"""So many exchanges stay as they are when a person asks for a shorter conversation."""

MAX_PIECES: Final = 6
"""A past that is too long to be summarised at once is summarised piece by piece; of a longer one, each text is cut."""

_LEAST_WINDOW: Final = 512
_IMAGE_TOKENS: Final = 1500
_FIRST_BYTES_PER_TOKEN: Final = 3.0
_LEAST, _MOST = 1.0, 8.0
_ENTRY_CHARACTERS: Final = 6000
_DIGEST_CHARACTERS: Final = 200
_DIGEST_ENTRIES: Final = 40
_SUMMARISE: Final = (
    "You keep the memory of an assistant. Below is the older part of its conversation, and perhaps a summary of what"
    " was before that. Write one new summary of all of it, for the assistant itself: who the people are and what they"
    " want, what was decided and promised, to whom, what is still to be done, and names, numbers, files and ids that"
    " may be needed again. Plain sentences, no introduction, not longer than {words} words."
)
_EARLIER: Final = "\n\n## Earlier in this conversation\n\n"


class Meter:
    """Estimates tokens by bytes, and learns from what the endpoint counts."""

    def __init__(self) -> None:
        self._bytes_per_token = _FIRST_BYTES_PER_TOKEN

    def tokens(self, size: int) -> int:
        """Return how many tokens so many bytes may be."""
        return math.ceil(size / self._bytes_per_token)

    def bytes(self, tokens: int) -> int:
        """Return how many bytes so many tokens may be."""
        return int(tokens * self._bytes_per_token)

    def learn(self, size: int, tokens: int) -> None:
        """Take in what an endpoint has counted."""
        if size > 0 and tokens > 0:
            found = min(max(size / tokens, _LEAST), _MOST)
            self._bytes_per_token = (self._bytes_per_token + found) / 2


@dataclass(slots=True)
class Asked:
    """What is being answered.

    Attributes:
        references: of its messages.
        text: all of them.
        images: as parts of a message.
        steps: the tools' calls so far, and their results.
    """

    references: list[str]
    text: str
    images: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)


def messages(instructions: str, past: Past, asked: Asked, *, tools: bool) -> list[dict[str, Any]]:
    """Return the messages of a request.

    Args:
        instructions: who the agent is.
        past: what was said before.
        asked: what is to be answered.
        tools: whether the endpoint knows of tools: one that does not gets no calls of earlier turns either.
    """
    system = instructions + (f"{_EARLIER}{past.summary}" if past.summary else "")
    found: list[dict[str, Any]] = [{"role": "system", "content": system}] if system.strip() else []
    for exchange in past.exchanges:
        found.append({"role": "user", "content": exchange.user})
        found += exchange.steps if tools else ()
        found.append({"role": "assistant", "content": exchange.assistant})
    content = [{"type": "text", "text": asked.text}, *asked.images] if asked.images else asked.text
    return [*found, {"role": "user", "content": content}, *asked.steps]


def size_of(sent: Sequence[dict[str, Any]]) -> int:
    """Return the bytes of messages or tools, images apart."""
    return sum(len(json.dumps(_without_images(one), ensure_ascii=False).encode(errors="replace")) for one in sent)


class Room:
    """Makes a conversation fit into the model's window."""

    def __init__(
        self,
        config: AgentConfig,
        places: Places,
        meter: Meter,
        summarise: Callable[[str, str, int], Awaitable[str]],
    ) -> None:
        """Prepare.

        Args:
            config: tells the window's size.
            places: has the workspace, where the archive is.
            meter: estimates tokens.
            summarise: asks the model, by instructions and a text, for so many tokens at most; empty where it failed.
        """
        self._config = config
        self._places = places
        self._meter = meter
        self._summarise = summarise
        self.window = max(config.context_tokens, _LEAST_WINDOW)

    @property
    def _limit(self) -> int:
        return self.window - min(MAX_RESERVE_TOKENS, self.window // 4)

    def is_over(self, fixed: int, past: Past, asked: Asked) -> bool:
        """Tell whether it does not fit.

        Args:
            fixed: bytes of the instructions and the tools.
            past: what was said before.
            asked: what is to be answered.
        """
        return self._needed(fixed, past, asked) > self._limit or _size(past) > MAX_PAST_BYTES

    def has_shrunk(self, fixed: int, past: Past, asked: Asked) -> None:
        """Note that the endpoint could not hold this: its window is smaller than is believed."""
        self.window = max(min(self.window, self._needed(fixed, past, asked)) * 3 // 4, _LEAST_WINDOW)

    async def fold(self, history: History, past: Past, keep: int, title: str = "") -> tuple[Past, bool]:
        """Archive and summarise all but the newest exchanges, and keep that; return it, and whether the model did it.

        Args:
            history: where it is kept.
            past: what it has.
            keep: how many exchanges stay as they are.
            title: of the archive.
        """
        count = len(past.exchanges) - keep
        if count <= 0:
            return past, True
        older, newer = past.exchanges[:count], past.exchanges[count:]
        now = datetime.now(zone(self._config.timezone))
        archive(self._places.workspace, _entries(older, self._config.assistant_name), now, title)
        summary = await self._summary(past.summary, older)
        by_model = bool(summary)
        most = self._meter.bytes(self._summary_tokens)
        new = Past(shortened(summary or _digest(past.summary, older, most), most), newer)
        try:
            # Exchanges that are being answered anew are not in `past`; their next answer replaces them anyhow.
            history.rewrite(new)
        except OSError as error:
            _log.warning("the shortened conversation cannot be kept: %s", error)
        return new, by_model

    def fitting(self, fixed: int, past: Past, asked: Asked) -> int:
        """Return how many of the newest exchanges may stay: they and what is asked fill half of the window at most."""
        bare = self._needed(fixed, Past(), asked) + self._summary_tokens
        room = min(self._meter.bytes(max(self._limit - bare, 0)), MAX_PAST_BYTES) // 2
        kept = 0
        for exchange in reversed(past.exchanges):
            room -= exchange.size
            if room < 0:
                break
            kept += 1
        return min(kept, max(len(past.exchanges) - 1, 0))

    def squeeze(self, fixed: int, past: Past, asked: Asked) -> bool:
        """Shorten what is asked itself, the tools' results first; tell whether that changed anything."""
        over = self._needed(fixed, past, asked) - self._limit
        if over <= 0:
            return False
        before = size_of(asked.steps), len(asked.text)
        steps = size_of(asked.steps)
        if steps:
            most = max(steps - self._meter.bytes(over), 1024)
            asked.steps[:] = bounded(asked.steps, most * 2 // 3)
        rest = self._needed(fixed, past, asked) - self._limit
        if rest > 0:
            most = len(asked.text) - self._meter.bytes(rest)
            asked.text = shortened(asked.text, max(most, 1024))
        return (size_of(asked.steps), len(asked.text)) != before

    def _needed(self, fixed: int, past: Past, asked: Asked) -> int:
        size = fixed + _size(past) + len(asked.text.encode(errors="replace")) + size_of(asked.steps)
        return self._meter.tokens(size) + _IMAGE_TOKENS * len(asked.images)

    @property
    def _summary_tokens(self) -> int:
        return min(MAX_SUMMARY_TOKENS, self.window // 8)

    async def _summary(self, summary: str, exchanges: Sequence[Exchange]) -> str:
        """Return a summary of an earlier one and exchanges; empty where the model made none."""
        most = self._meter.bytes(self._limit * 3 // 4)
        entry = min(_ENTRY_CHARACTERS, max(most * MAX_PIECES // max(len(exchanges), 1), 64))
        texts = [_told(exchange, entry) for exchange in exchanges]
        instructions = _SUMMARISE.format(words=self._summary_tokens // 2)
        for piece in _pieces(texts, most):
            earlier = f"Summary so far:\n{summary}\n\n" if summary else ""
            summary = await self._summarise(instructions, f"{earlier}Conversation:\n{piece}", self._summary_tokens)
            if not summary:
                return ""
        return summary


def _pieces(texts: Sequence[str], most: int) -> list[str]:
    pieces: list[list[str]] = [[]]
    room = most
    for text in texts:
        size = len(text.encode(errors="replace"))
        if size > room and pieces[-1]:
            pieces.append([])
            room = most
        pieces[-1].append(text)
        room -= size
    return ["\n\n".join(piece) for piece in pieces]


def _told(exchange: Exchange, most: int) -> str:
    names = [call["function"]["name"] for step in exchange.steps for call in step.get("tool_calls") or ()]
    used = f"\n(tools called: {', '.join(names[:20])})" if names else ""
    half = max(most // 2, 32)
    return f"User: {shortened(exchange.user, half)}{used}\nAssistant: {shortened(exchange.assistant, half)}"


def _digest(summary: str, exchanges: Sequence[Exchange], most: int) -> str:
    """Return what was said in its first words: what is left when no model can say it better."""
    newest = exchanges[-_DIGEST_ENTRIES:]
    lines = [f"- {_first_words(exchange.user)} -> {_first_words(exchange.assistant)}" for exchange in newest]
    begun = f"{shortened(summary, most // 2)}\n\n" if summary else ""
    return f"{begun}In short, from the first words of each message:\n" + "\n".join(lines)


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _DIGEST_CHARACTERS else line[: _DIGEST_CHARACTERS - 1] + "…"


def _entries(exchanges: Sequence[Exchange], assistant: str) -> list[Entry]:
    return [
        entry
        for exchange in exchanges
        for entry in (Entry("User", exchange.user), Entry(assistant or "Assistant", exchange.assistant))
    ]


def _size(past: Past) -> int:
    return len(past.summary.encode(errors="replace")) + sum(exchange.size for exchange in past.exchanges)


def _without_images(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [part for part in content if part.get("type") == "text"]}
