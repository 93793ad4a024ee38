"""Any endpoint that speaks OpenAI's chat completions: it answers, and calls tools until it can."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Final

from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base, openai_commands, openai_failures, openai_images, retrying
from nanoclaw_runner.providers.openai_calls import Calls
from nanoclaw_runner.providers.openai_context import Asked, Room, messages, size_of
from nanoclaw_runner.providers.openai_endpoint import ModelEndpoint
from nanoclaw_runner.providers.openai_failures import FAILURES
from nanoclaw_runner.providers.openai_history import Exchange, History, Past
from nanoclaw_runner.providers.openai_stream import Answer, Call
from nanoclaw_runner.tools import shell
from nanoclaw_runner.workshop import Workshop

STEP_SECONDS: Final = 2.0
"""Between two signs of life while something is waited for."""

MAX_FOLDS: Final = 4
"""How often an answer's request is made smaller because the endpoint says that it is too long."""

_CONTINUATION: Final = re.compile(r"[0-9a-f]{24}")
_ADDRESSED: Final = "<message"
_CUT: Final = "\n[cut here: the model's answer reached its length limit]"
_FILTERED: Final = "\n[cut here: the model's provider stopped the answer]"


class OpenAIChat:
    """The provider."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._directory = workshop.places.home / "openai"
        self.endpoint = ModelEndpoint(workshop.config, workshop.places)
        self.room = Room(workshop.config, workshop.places, self.endpoint.meter, self.endpoint.summary)
        if workshop.config.tools:
            workshop.tools.add(shell.tools(workshop.places, workshop.way_out))
        self.calls = Calls(workshop)

    def query(self, prompt: Prompt, continuation: str | None) -> base.Query:
        """Begin an exchange; a continuation that is none of ours begins a new conversation."""
        if continuation is None or not _CONTINUATION.fullmatch(continuation):
            continuation = os.urandom(12).hex()
        return _Query(self, self._workshop, prompt, self._history(continuation), continuation)

    async def command(self, name: str, args: str, continuation: str | None) -> str | None:
        """Show, shorten or forget what is kept of the conversation."""
        if name == "clear":
            openai_commands.clear(self._directory)
            return None
        if continuation is None or not _CONTINUATION.fullmatch(continuation):
            return openai_commands.NOTHING_KEPT
        history = self._history(continuation)
        if name == "compact":
            return await openai_commands.compact(self.room, history, args)
        return openai_commands.about(name, history, self.endpoint.meter)

    def _history(self, continuation: str) -> History:
        return History(self._directory / f"{continuation}.jsonl")


def create(workshop: Workshop) -> OpenAIChat:
    """Return the provider."""
    return OpenAIChat(workshop)


@dataclass(slots=True)
class _Turn:
    """What has come of one question.

    Attributes:
        said: what the model said beside its calls of tools.
        made: calls that it has made.
        folds: how often the conversation was made shorter.
        used: what each request took.
    """

    asked: Asked
    past: Past
    said: list[str] = field(default_factory=list)
    made: int = 0
    folds: int = 0
    asked_again: bool = False
    used: list[base.Usage] = field(default_factory=list)


class _Query:
    def __init__(
        self, provider: OpenAIChat, workshop: Workshop, prompt: Prompt, history: History, continuation: str
    ) -> None:
        self._endpoint = provider.endpoint
        self._room = provider.room
        self._calls = provider.calls
        self._workshop = workshop
        self._config = workshop.config
        self._history = history
        self._continuation = continuation
        self._prompts: asyncio.Queue[Prompt] = asyncio.Queue()
        self._prompts.put_nowait(prompt)
        self._held: Prompt | None = None

    def push(self, prompt: Prompt) -> None:
        self._prompts.put_nowait(prompt)

    async def close(self) -> None:
        """The stream ends with its generator."""

    async def events(self) -> AsyncGenerator[base.Event]:
        yield base.Init(self._continuation)
        while True:
            prompts = await self._next_prompts()
            async for event in self._answer(prompts):
                yield event
                if isinstance(event, base.Error):
                    return

    async def _next_prompts(self) -> list[Prompt]:
        """Return what is asked next: follow-ups that wait together are answered together, within a prompt's limit."""
        prompts = [self._held or await self._prompts.get()]
        self._held = None
        lines = len(prompts[0].lines)
        while not self._prompts.empty():
            following = self._prompts.get_nowait()
            lines += len(following.lines)
            if lines > self._config.max_messages_per_prompt:
                self._held = following
                break
            prompts.append(following)
        return prompts

    async def _answer(self, prompts: list[Prompt]) -> AsyncGenerator[base.Event]:
        """Ask, carry out the tools that are called, and ask again with their results, until there is an answer."""
        turn = await self._begin(prompts)
        async for event in self._ready_tools():
            yield event
        answer = Answer()
        async for event in self._until_answered(turn, answer):
            yield event
            if isinstance(event, base.Error):
                return
        text = _text_of(turn, answer)
        self._keep(turn, text)
        yield base.Result(text, covers=len(prompts), usage=self._used(turn))

    async def _begin(self, prompts: list[Prompt]) -> _Turn:
        asked = Asked([prompt.reference for prompt in prompts], "\n".join(prompt.rendered() for prompt in prompts))
        if self._endpoint.takes.images:
            received = self._workshop.places.inbound_files
            asked.images = await asyncio.to_thread(openai_images.parts, prompts, received)
        return _Turn(asked, self._history.past(without=asked.references))

    async def _until_answered(self, turn: _Turn, answer: Answer) -> AsyncGenerator[base.Event]:
        while True:
            answer.reset()
            async for event in self._request(turn, answer):
                yield event
                if isinstance(event, base.Error):
                    return
            if answer.usage is not None:
                turn.used.append(answer.usage)
            calls = answer.wanted() if self._endpoint.takes.tools else []
            if not calls:
                problem = self._problem(turn, answer)
                if problem is not None:
                    yield problem
                if not isinstance(problem, base.Progress):
                    return
            elif turn.made >= self._config.max_tool_calls:
                yield base.Error(f"the model {self._endpoint.name} called tools without end, and was stopped")
                return
            else:
                async for event in self._call(turn, answer, calls):
                    yield event

    def _problem(self, turn: _Turn, answer: Answer) -> base.Progress | base.Error | None:
        """Tell whether an answer is none."""
        model = f"the model {self._endpoint.name}"
        if answer.text.strip():
            return None
        if answer.ended == "content_filter":
            return base.Error(f"{model} refused this: its provider's rules do not allow an answer", trouble="refused")
        if turn.asked.steps:
            return None  # what it had to say it has done
        if answer.ended == "length":
            return base.Error(f"{model} came to its length limit before it said anything")
        if turn.asked_again:
            return base.Error(f"{model} answered nothing")
        turn.asked_again = True
        return base.Progress("the model answered nothing; asking again")

    async def _ready_tools(self) -> AsyncGenerator[base.Event]:
        if not self._endpoint.takes.tools:
            return
        opening: asyncio.Task[list[base.Concern | base.Works]] = asyncio.create_task(self._calls.open())
        async for event in _while_waiting(opening):
            yield event
        for concern in opening.result():
            yield concern

    async def _call(self, turn: _Turn, answer: Answer, calls: list[Call]) -> AsyncGenerator[base.Event]:
        left = self._config.max_tool_calls - turn.made
        turn.made += len(calls)
        if answer.text.strip():
            turn.said.append(answer.text)
            yield base.Said(answer.text)
        running = asyncio.create_task(self._calls.run(calls, left))
        async for event in _while_waiting(running, silently=True):
            yield event
        turn.asked.steps.append(
            {
                "role": "assistant",
                "content": answer.text or None,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": self._calls.sendable(call.arguments)},
                    }
                    for call in calls
                ],
            }
        )
        turn.asked.steps += [
            {"role": "tool", "tool_call_id": call.id, "content": result}
            for call, result in zip(calls, running.result(), strict=True)
        ]
        yield base.Activity()
        for concern in self._calls.concerns():
            yield concern

    async def _request(self, turn: _Turn, answer: Answer) -> AsyncGenerator[base.Event]:
        """Ask until there is an answer or a reason why there is none.

        A failure before the first word is tried again; after it, the person has seen the beginning of an answer.
        """
        patience = retrying.Patience()
        while True:
            async for event in self._make_room(turn):
                yield event
            begun = False
            try:
                async for event in self._ask(turn, answer):
                    begun = begun or isinstance(event, base.Partial)
                    yield event
                return
            except FAILURES as error:
                failure = error
            if not begun and openai_failures.is_overflow(failure) and turn.folds < MAX_FOLDS:
                self._room.has_shrunk(self._fixed(), turn.past, turn.asked)
                turn.folds += 1
                yield base.Progress("the conversation is longer than the model can hold")
                continue
            given_up = None if begun else self._endpoint.gives_way(failure)
            if given_up is not None:
                for event in self._without(turn, given_up, openai_failures.sentence_of(failure)):
                    yield event
                continue
            pause = self._pause(patience, failure) if not begun else None
            if pause is None:
                yield self._endpoint.describe(failure)
                return
            answer.reset()
            reason = openai_failures.passing(failure)
            yield base.Progress(f"{reason}; trying again in {retrying.spoken(pause)}")
            async for event in _while_waiting(asyncio.create_task(asyncio.sleep(pause))):
                yield event

    async def _ask(self, turn: _Turn, answer: Answer) -> AsyncGenerator[base.Event]:
        takes = self._endpoint.takes
        sent = messages(self._workshop.instructions(), turn.past, turn.asked, tools=takes.tools)
        may_call = turn.made < self._config.max_tool_calls
        async for event in self._endpoint.ask(sent, self._calls.offered(), answer, may_call=may_call):
            yield event

    def _pause(self, patience: retrying.Patience, failure: Exception) -> float | None:
        if not openai_failures.is_transient(failure):
            return None
        unreachable = openai_failures.status_of(failure) is None or openai_failures.is_unreachable(failure)
        most = retrying.MAX_UNREACHABLE_ATTEMPTS if unreachable else retrying.MAX_ATTEMPTS
        return patience.next_pause(retrying.hint_of(openai_failures.headers_of(failure)), most=most)

    def _without(self, turn: _Turn, given_up: str, said: str) -> list[base.Event]:
        """Tell what the endpoint did not take."""
        name = self._config.endpoint
        if given_up == "tools":
            words = f"the model {self._endpoint.name} takes no tools ({said}): the agent goes on without"
            return [base.Concern("refused", name, words)]
        if given_up == "images":
            turn.asked.images = []
            turn.asked.text += "\n[the model cannot see pictures: what came with this is only named]"
            return [base.Progress("the model takes no pictures")]
        return [base.Activity()]

    async def _make_room(self, turn: _Turn) -> AsyncGenerator[base.Event]:
        """Have older exchanges summarised where not all fit, and shorten what is asked where even that is too long."""
        fixed = self._fixed()
        if self._room.is_over(fixed, turn.past, turn.asked) and turn.past.exchanges:
            keep = self._room.fitting(fixed, turn.past, turn.asked)
            yield base.Progress("summarising the older part of the conversation")
            folding = asyncio.create_task(self._room.fold(self._history, turn.past, keep))
            async for event in _while_waiting(folding):
                yield event
            turn.past, by_model = folding.result()
            turn.used += self._endpoint.used
            self._endpoint.used.clear()
            if not by_model:
                yield base.Progress("the model made no summary: only the first words of what was said are kept")
        if self._room.squeeze(fixed, turn.past, turn.asked):
            yield base.Progress("what is asked is longer than the model can hold: a part of it is left out")

    def _fixed(self) -> int:
        """Return the bytes of what is sent with every request."""
        tools = size_of(self._calls.offered()) if self._endpoint.takes.tools else 0
        return len(self._workshop.instructions().encode(errors="replace")) + tools

    def _keep(self, turn: _Turn, text: str) -> None:
        read = sum(one.input_tokens + one.cache_read_tokens for one in turn.used)
        written = sum(one.output_tokens for one in turn.used)
        exchange = Exchange(
            turn.asked.references[-1], turn.asked.text, text or "(said nothing)", read, written, tuple(turn.asked.steps)
        )
        self._history.add(exchange)

    def _used(self, turn: _Turn) -> base.Usage | None:
        if not turn.used:
            return None
        costs = [one.cost_micros for one in turn.used if one.cost_micros is not None]
        return base.Usage(
            turn.used[-1].model or self._config.model,
            input_tokens=sum(one.input_tokens for one in turn.used),
            output_tokens=sum(one.output_tokens for one in turn.used),
            cache_read_tokens=sum(one.cache_read_tokens for one in turn.used),
            cost_micros=sum(costs) if costs else None,
        )


def _text_of(turn: _Turn, answer: Answer) -> str:
    """Return what is said to people: the last words; what was addressed to somebody before has been sent (Said)."""
    last = answer.text
    if answer.ended in {"length", "cut"}:
        last += _CUT
    if answer.ended == "content_filter":
        last += _FILTERED
    if not last.strip() and turn.said and _ADDRESSED not in turn.said[-1].lower():
        return turn.said[-1]
    return last


async def _while_waiting(task: asyncio.Task[Any], *, silently: bool = False) -> AsyncGenerator[base.Event]:
    """Give a sign of life now and then until something is done; it ends with whoever waits for it.

    Args:
        task: what is waited for.
        silently: it has its own bound on silence.
    """
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=None if silently else STEP_SECONDS)
            if not silently:
                yield base.Activity()
    finally:
        task.cancel()
