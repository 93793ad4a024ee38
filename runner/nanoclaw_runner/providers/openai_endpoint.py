"""The endpoint of an agent's model: its client, what it has turned out not to take, and single requests to it."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import openai

from nanoclaw_runner.bounded_http import bounded_transport
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers import base, openai_failures
from nanoclaw_runner.providers.openai_context import Meter, size_of
from nanoclaw_runner.providers.openai_failures import FAILURES, httpx
from nanoclaw_runner.providers.openai_stream import Answer, read

_log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
SILENCE_SHARE: Final = 0.9
"""The request gives up before the stall detector does: the person gets a sentence rather than a repeated turn."""


@dataclass(slots=True)
class Takes:
    """What an endpoint takes, until it refuses it: one that refuses a part answers all the same without it."""

    counting: bool = True
    effort: bool = True
    images: bool = True
    tools: bool = True


class ModelEndpoint:
    """Reaches the model through the gateway's socket; there is no bound on how long an answer takes, only on silence.

    Attributes:
        takes: what it is known to take.
        meter: how its tokens are estimated.
        used: what requests beside the answers have taken, until somebody collects it.
    """

    def __init__(self, config: AgentConfig, places: Places) -> None:
        timeout = httpx.Timeout(connect=CONNECT_SECONDS, read=_silence(config), write=_silence(config), pool=None)
        self._client = openai.AsyncOpenAI(
            base_url=f"http://gateway/{config.endpoint}/",
            api_key="held-by-the-gateway",
            # Attempts are made by those who ask, where each is a sign of life.
            max_retries=0,
            timeout=timeout,
            http_client=httpx.AsyncClient(
                transport=bounded_transport(httpx, str(places.gateway_socket)), timeout=timeout, trust_env=False
            ),
        )
        self._config = config
        self.takes = Takes(images=config.prompt == "addressed", tools=config.tools, effort=bool(config.effort))
        self.meter = Meter()
        self.used: list[base.Usage] = []

    @property
    def name(self) -> str:
        """The model's name for people."""
        return f"{self._config.endpoint}/{self._config.model}"

    @property
    def silence_seconds(self) -> float:
        """How long it may say nothing."""
        return _silence(self._config)

    def describe(self, error: Exception) -> base.Error:
        """Return a failure as an event."""
        return openai_failures.describe(error, self.name, self.silence_seconds)

    async def ask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], answer: Answer, *, may_call: bool = True
    ) -> AsyncGenerator[base.Event]:
        """Ask once.

        Args:
            messages: what is sent.
            tools: as the API has them; none are sent to an endpoint that takes none.
            answer: is filled.
            may_call: whether the model may call them now.

        Raises:
            Exception: one of :data:`FAILURES`.
        """
        more: dict[str, Any] = {}
        if tools and self.takes.tools:
            more["tools"] = tools
            if not may_call:
                more["tool_choice"] = "none"
        if self.takes.counting:
            more["stream_options"] = {"include_usage": True}
        if self.takes.effort:
            more["reasoning_effort"] = self._config.effort
        create: Any = self._client.chat.completions.create  # its types are the library's affair, and it checks nothing
        stream = await create(model=self._config.model, messages=messages, stream=True, **more)
        async for event in read(stream, answer):
            yield event
        if answer.usage is not None:
            sent = size_of(messages) + size_of(more.get("tools", []))
            if not _has_images(messages):
                self.meter.learn(sent, answer.usage.input_tokens + answer.usage.cache_read_tokens)

    async def summary(self, instructions: str, text: str, tokens: int) -> str:
        """Have the model write something short; empty where it fails or takes too long, which is logged."""
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": text}]
        answer = Answer()
        most = self.meter.bytes(tokens) * 2
        try:
            async with asyncio.timeout(self.silence_seconds), aclosing(self.ask(messages, [], answer)) as events:
                async for _event in events:
                    if answer.length > most:
                        break
        except FAILURES as error:
            _log.warning("no summary was made: %s", openai_failures.sentence_of(error) or type(error).__name__)
            return ""
        except TimeoutError:
            _log.warning("no summary was made within %.0f s", self.silence_seconds)
            return ""
        finally:
            if answer.usage is not None:
                self.used.append(answer.usage)
        return answer.text.strip()

    def gives_way(self, error: Exception) -> str | None:
        """Do without what an endpoint refuses; return what that is, None where the refusal has another reason."""
        if self.takes.counting and openai_failures.refuses_counting(error):
            self.takes.counting = False
            return "counting"
        if self.takes.effort and openai_failures.refuses_effort(error):
            self.takes.effort = False
            return "effort"
        if self.takes.tools and openai_failures.refuses_tools(error):
            self.takes.tools = False
            return "tools"
        if self.takes.images and openai_failures.refuses_images(error):
            self.takes.images = False
            return "images"
        return None


def _silence(config: AgentConfig) -> float:
    return config.silence_seconds * SILENCE_SHARE


def _has_images(messages: list[dict[str, Any]]) -> bool:
    return any(isinstance(one.get("content"), list) for one in messages)
