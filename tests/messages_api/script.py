"""What a conversation asks of the scripted model, and which part of that comes next.

The last thing that was said to the model holds directives, one a line; other lines mean nothing:

======================  ====================================================================================
``@tool NAME JSON``     calls a tool; ``@and NAME JSON`` right below calls another one side by side;
                        ``{last REGEX}`` in it stands for the group in the last match in what tools answered
``@beside TEXT``        is said beside the call right below
``@say TEXT``           answers, ending the turn; ``{results}`` stands for what the tools answered,
                        ``{system}`` for the first line of the system prompt's end, ``{turns}`` for how many
                        times a person has spoken
``@count N [SECONDS]``  answers with the numbers from 1 to N, a piece each, within so many seconds
``@status N [SECONDS]``  answers with this HTTP status once, with a retry-after
``@always N [SECONDS]``  the same for ever
``@poison``             is refused with 400, and so is every request that has it anywhere in its messages
``@stall``              begins an answer and says nothing more, each time
``@cut``                begins an answer and ends the connection, once
``@broken-sse``         sends what is no event, once
``@slow SECONDS``       waits before the next part
======================  ====================================================================================

Without any the answer is ``echo:`` and the text.
"""

import html
import re
from dataclasses import dataclass
from typing import Any

_TAG = re.compile(r"</?[a-z_-]+(?: [^<>]*)?/?>")
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_LAST = re.compile(r"\{last ([^{}]+)\}")
_SUMMARY = re.compile(r"summary of (the|this|our) conversation", re.IGNORECASE)
POISON = "@poison"
_FAULTS = ("@status", "@always", "@stall", "@cut", "@broken-sse", "@slow")
DIRECTIVES = ("@tool", "@and", "@beside", "@say", "@count", *_FAULTS)


@dataclass(frozen=True, slots=True)
class Directive:
    """One line."""

    name: str
    rest: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request's messages as far as a script is concerned.

    Attributes:
        said: what a person said last.
        results: texts of the tools' results since then.
        steps: how often the model has spoken since then.
        turns: how many times a person has spoken.
    """

    said: str
    results: tuple[str, ...]
    steps: int
    turns: int

    @property
    def is_compaction(self) -> bool:
        """Whether the client asks for a summary of the conversation."""
        return bool(_SUMMARY.search(self.said[-20_000:]))

    def directives(self) -> list[Directive]:
        """Return the script."""
        found = []
        for line in self.said.splitlines():
            name, _, rest = line.strip().partition(" ")
            if name in DIRECTIVES:
                found.append(Directive(name, rest))
        return found

    def with_results(self, text: str) -> str:
        """Put in what tools have answered."""
        answered = "\n".join(self.results)
        return _LAST.sub(lambda found: ["", *re.findall(found[1], answered)][-1], text)

    def echo(self) -> str:
        """Return what is answered where there is no script."""
        return f"echo: {' '.join(self.said.split())}"


def read(messages: list[dict[str, Any]]) -> Conversation:
    """Return the conversation that a request's messages hold."""
    said, turns, steps = "", 0, 0
    results: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            steps += 1
            continue
        if message["role"] != "user":
            continue
        text = said_in(message["content"])
        if text:
            said, turns, steps = text, turns + 1, 0
            results = []
        results += _results(message["content"])
    return Conversation(said, tuple(results), steps, turns)


def said_in(content: str | list[dict[str, Any]]) -> str:
    """Return what a person said last in a message, without the elements around it.

    A client merges messages that follow each other: what it reminds the model of, what has failed before.
    """
    blocks = [content] if isinstance(content, str) else [one["text"] for one in content if one["type"] == "text"]
    bare = [block for block in (_REMINDER.sub("", block).strip() for block in blocks) if block]
    return html.unescape(_TAG.sub("\n", bare[-1])).strip() if bare else ""


def _results(content: str | list[dict[str, Any]]) -> list[str]:
    if isinstance(content, str):
        return []
    found = []
    for block in content:
        if block["type"] != "tool_result":
            continue
        inner = block.get("content") or ""
        text = inner if isinstance(inner, str) else "\n".join(one.get("text", "") for one in inner)
        text = _REMINDER.sub("", text).strip()
        found.append(f"error: {text}" if block.get("is_error") else text)
    return found
