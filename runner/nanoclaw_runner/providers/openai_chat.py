"""Any endpoint that speaks OpenAI's chat completions, reached through the gateway's socket.

There is no bound on how long an answer takes, only on silence. The client library is imported here and nowhere else.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import openai
from openai.types.chat import ChatCompletionMessageParam

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.places import Places
from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base, openai_commands
from nanoclaw_runner.providers.openai_history import Exchange, History
from nanoclaw_runner.workshop import Workshop

# The library moves from httpx to httpx2; a client of ours must be of the one that it uses itself.
_httpx: Any = import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__)

CONNECT_SECONDS = 10.0
ATTEMPTS = 3
PAUSE_SECONDS = 1.0
"""Before the second attempt; twice as long before the third."""

SILENCE_SHARE = 0.9
"""The request gives up before the stall detector does: the person gets a sentence rather than a repeated turn."""

MAX_ANSWER_CHARACTERS = 1024 * 1024
"""A model that never ends is ended here; the row is cut at its own limit."""

_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504})
_BAD_REQUEST = 400
_CONTINUATION = re.compile(r"[0-9a-f]{24}")


class _BrokenOffError(Exception):
    """The stream ended without the model's word that it has finished."""


class OpenAIChat:
    """The provider."""

    def __init__(self, config: AgentConfig, places: Places) -> None:
        timeout = _httpx.Timeout(
            connect=CONNECT_SECONDS,
            read=config.silence_seconds * SILENCE_SHARE,
            write=config.silence_seconds * SILENCE_SHARE,
            pool=CONNECT_SECONDS,
        )
        transport = _httpx.AsyncHTTPTransport(uds=str(places.gateway_socket))
        self._client = openai.AsyncOpenAI(
            base_url=f"http://gateway/{config.endpoint}/",
            api_key="held-by-the-gateway",
            # Attempts are made here, where each is a sign of life.
            max_retries=0,
            timeout=timeout,
            http_client=_httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False),
        )
        self._config = config
        self._directory = places.home / "openai"
        self._counts = _Counts()

    def query(self, prompt: Prompt, continuation: str | None) -> base.Query:
        """Begin an exchange; a continuation that is none of ours begins a new conversation."""
        if continuation is None or not _CONTINUATION.fullmatch(continuation):
            continuation = os.urandom(12).hex()
        history = self._history(continuation)
        return _Query(
            self._client, self._config, prompt, history=history, continuation=continuation, counts=self._counts
        )

    async def command(self, name: str, args: str, continuation: str | None) -> str | None:
        """Show, shorten or forget what is kept of the conversation."""
        del args
        if name == "clear":
            openai_commands.clear(self._directory)
            return None
        if continuation is None or not _CONTINUATION.fullmatch(continuation):
            return openai_commands.NOTHING_KEPT
        return openai_commands.about(name, self._history(continuation))

    def _history(self, continuation: str) -> History:
        return History(self._directory / f"{continuation}.jsonl")


def create(workshop: Workshop) -> OpenAIChat:
    """Return the provider."""
    return OpenAIChat(workshop.config, workshop.places)


@dataclass(slots=True)
class _Counts:
    """Whether the endpoint is asked to count tokens: one that refuses to be asked answers all the same."""

    wanted: bool = True


class _Query:
    def __init__(
        self,
        client: openai.AsyncOpenAI,
        config: AgentConfig,
        prompt: Prompt,
        *,
        history: History,
        continuation: str,
        counts: _Counts,
    ) -> None:
        self._client = client
        self._config = config
        self._history = history
        self._continuation = continuation
        self._counts = counts
        self._used = (0, 0)
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
            asked = "\n".join(prompt.rendered() for prompt in prompts)
            references = [prompt.reference for prompt in prompts]
            answer = ""
            async for event in self._ask(asked, self._history.recent(without=references)):
                if isinstance(event, base.Partial):
                    answer = event.text
                yield event
                if isinstance(event, base.Error):
                    return
            if answer.strip():
                self._history.add(Exchange(references[-1], asked, answer, *self._used))
            yield base.Result(answer, covers=len(prompts))

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

    async def _ask(self, asked: str, past: list[Exchange]) -> AsyncGenerator[base.Event]:
        """Ask until there is an answer or a reason why there is none.

        A failure before the first word is tried again; after it, the person has seen the beginning of an answer.
        """
        attempt = 1
        begun = False
        while True:
            try:
                async for event in self._stream(asked, past):
                    begun = begun or isinstance(event, base.Partial)
                    yield event
                return
            except (openai.OpenAIError, _httpx.HTTPError, _BrokenOffError) as error:
                if self._counts.wanted and _counting_is_refused(error):
                    self._counts.wanted = False
                    continue
                if _past_is_too_long(error) and past:
                    past = past[(len(past) + 1) // 2 :]
                    yield base.Progress("the conversation is longer than the model can hold: its beginning is left out")
                    continue
                if begun or attempt == ATTEMPTS or not _is_transient(error):
                    yield base.Error(self._words(error), retryable=_is_transient(error))
                    return
                yield base.Progress(f"{self._words(error)}; trying again")
            await asyncio.sleep(PAUSE_SECONDS * attempt)
            attempt += 1

    async def _stream(self, asked: str, past: list[Exchange]) -> AsyncGenerator[base.Event]:
        self._used = (0, 0)
        stream = await self._client.chat.completions.create(
            model=self._config.model,
            messages=self._messages(asked, past),
            stream=True,
            stream_options={"include_usage": True} if self._counts.wanted else openai.NOT_GIVEN,
        )
        parts: list[str] = []
        length = 0
        finished = False
        async with stream:
            async for chunk in stream:
                if chunk.usage is not None:
                    self._used = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                choice = chunk.choices[0] if chunk.choices else None
                finished = finished or (choice is not None and choice.finish_reason is not None)
                piece = choice.delta.content if choice is not None else None
                if not piece:
                    yield base.Activity()
                    continue
                parts.append(piece)
                length += len(piece)
                yield base.Partial("".join(parts))
                if length > MAX_ANSWER_CHARACTERS:
                    return
        if not finished:
            raise _BrokenOffError("its answer broke off")

    def _messages(self, asked: str, past: list[Exchange]) -> list[ChatCompletionMessageParam]:
        messages: list[ChatCompletionMessageParam] = []
        if self._config.instructions:
            messages.append({"role": "system", "content": self._config.instructions})
        for exchange in past:
            messages.append({"role": "user", "content": exchange.user})
            messages.append({"role": "assistant", "content": exchange.assistant})
        messages.append({"role": "user", "content": asked})
        return messages

    def _words(self, error: Exception) -> str:
        """Return what went wrong as a person can read it."""
        model = f"the model {self._config.endpoint}/{self._config.model}"
        if isinstance(error, (openai.APITimeoutError, _httpx.TimeoutException)):
            return f"{model} gave no sign for {self._config.silence_seconds * SILENCE_SHARE:.0f} s"
        if isinstance(error, openai.APIStatusError):
            return f"{model} refused (HTTP {error.status_code}): {_message_of(error)}"
        if isinstance(error, (openai.APIConnectionError, _httpx.HTTPError)):
            # The only thing that is connected to is the gateway's socket; what is behind it answers with a status.
            return (
                f"{model} cannot be reached: the gateway does not answer ({error.__cause__ or error})."
                " The operator can run: systemctl status nanoclaw-gateway.socket"
            )
        return f"{model} failed: {_message_of(error)}"


def _message_of(error: Exception) -> str:
    """Prefer the sentence in the endpoint's error object to the library's rendering of it."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return str(inner["message"])
    return str(error)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, (openai.APITimeoutError, _httpx.TimeoutException)):
        return False
    if isinstance(error, openai.APIStatusError):
        # The gateway says so where it knows that asking again is in vain.
        return error.status_code in _TRANSIENT and error.response.headers.get("x-should-retry") != "false"
    return isinstance(error, (openai.APIConnectionError, _httpx.HTTPError))


def _counting_is_refused(error: Exception) -> bool:
    return isinstance(error, openai.APIStatusError) and "stream_options" in _message_of(error)


def _past_is_too_long(error: Exception) -> bool:
    if not isinstance(error, openai.APIStatusError) or error.status_code != _BAD_REQUEST:
        return False
    return "context" in _message_of(error).lower()
