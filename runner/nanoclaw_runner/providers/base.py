"""What a provider is: something that answers prompts and says what it is doing meanwhile."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from nanoclaw_runner.prompt import Prompt


class UnusableProviderError(Exception):
    """The configured provider cannot be used; the message is for the person in the chat."""


@dataclass(frozen=True, slots=True)
class Init:
    """The conversation has a name under which it can be continued after a restart."""

    continuation: str


@dataclass(frozen=True, slots=True)
class Activity:
    """Something happened that has no other event: a sign of life."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Something happened that a person may want to know."""

    message: str


@dataclass(frozen=True, slots=True)
class Partial:
    """The text so far of the answer being written."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said beside a call of a tool: it goes on, and its answer will not repeat this.

    Messages in it that name a place are sent at once; other words are not for people, who have seen them as partials.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ToolBegan:
    """The model calls a tool of the provider's own (those of the toolbox report themselves).

    Attributes:
        timeout: seconds that it may take without a further sign; None: as long as the model's silence.
    """

    name: str
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """That call is over."""

    name: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took, as far as the provider reports it.

    Attributes:
        model: its name as the provider gives it.
        cost_micros: millionths of a US dollar; None: not reported.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """An answer.

    Attributes:
        text: what is said; empty means that nothing is.
        covers: how many of the prompts not answered yet, oldest first, this answers; 0: it is of background work.
        usage: what it took, None where nobody said.
    """

    text: str
    covers: int = 1
    usage: Usage | None = None


type Trouble = Literal["", "credentials", "rate-limit", "overloaded", "network", "refused", "mcp", "configuration"]


@dataclass(frozen=True, slots=True)
class Error:
    """The query has failed; nothing follows.

    Attributes:
        message: words for the person in the chat: never a stack, never a body.
        retryable: the same query may succeed later.
        trouble: what kind of failure it is, for the operator; empty for one that concerns this query only.
    """

    message: str
    retryable: bool = False
    trouble: Trouble = ""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something is wrong that the operator has to mend; the query goes on.

    Attributes:
        subject: what it is about, e.g. an MCP server's name.
    """

    trouble: Trouble
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Works:
    """An MCP server works; if there was a :class:`Concern` about it, that is over."""

    server: str


type Event = Init | Activity | Progress | Partial | Said | ToolBegan | ToolEnded | Result | Error | Concern | Works


class Query(Protocol):
    """One open exchange with a model."""

    def push(self, prompt: Prompt) -> None:
        """Add a prompt that arrived meanwhile; a later result covers it."""

    def events(self) -> AsyncGenerator[Event]:
        """Give what happens; called once. It may wait for further prompts and need not end by itself."""

    async def close(self) -> None:
        """End the exchange, finished or not."""


class Provider(Protocol):
    """A way to reach a model; one object serves all turns of a runner."""

    def query(self, prompt: Prompt, continuation: str | None) -> Query:
        """Begin an exchange, continuing the named conversation where there is one."""

    async def command(self, name: str, args: str, continuation: str | None) -> str | None:
        """Carry out a command about the conversation, between two turns; safe to repeat.

        Args:
            name: ``compact``, ``context`` or ``cost``; or ``clear``: forget all that is kept of any conversation. The
                words for that are the runner's own.
            args: what was written after the command.
            continuation: the conversation, where there is one.

        Returns:
            Words for the person, or None where this provider has nothing of the kind.
        """
