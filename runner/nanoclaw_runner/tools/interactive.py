"""Cards: questions that wait for a person, and cards that only show something."""

import json
from typing import Annotated, Any, Final

import apsw
from msgspec import Meta, Struct

from nanoclaw_runner.contract import cards
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.rows import AGENT
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.tools.base import Tool, ToolError
from nanoclaw_runner.tools.outcome import address_of, told, write

DEFAULT_SECONDS: Final = 300
ANSWER_SECONDS: Final = 30
"""Of a turn's time is left for its answer."""


class Choice(Struct, frozen=True, rename="camel"):
    """One option."""

    label: Annotated[str, Meta(description="what the button says")]
    selected_label: Annotated[str | None, Meta(description="what stands there once it was chosen")] = None
    value: Annotated[str | None, Meta(description="what is returned; the label, if left out")] = None


class AskUserQuestion(Struct, frozen=True):
    """Arguments of ``ask_user_question``."""

    title: Annotated[str, Meta(description="a few words")]
    question: Annotated[str, Meta(description="the question in full")]
    options: Annotated[list[str | Choice], Meta(description="what can be chosen, 1 to 10")]
    timeout: Annotated[float, Meta(ge=1, description="seconds to wait for an answer")] = DEFAULT_SECONDS


class Link(Struct, frozen=True):
    """A link of a card."""

    label: str
    url: str


class CardShown(Struct, frozen=True):
    """What a card shows."""

    title: Annotated[str, Meta(description="a few words")]
    text: Annotated[str, Meta(description="Markdown")] = ""
    links: list[Link] = []


class SendCard(Struct, frozen=True, rename="camel"):
    """Arguments of ``send_card``."""

    card: CardShown
    fallback_text: Annotated[str, Meta(description="what is said instead where there are no cards")] = ""


def tools(config: AgentConfig, desk: Desk) -> list[Tool[Any]]:
    """Return the tools of this family."""
    interactive = _Interactive(config, desk)
    return [
        Tool(
            "ask_user_question",
            "Ask the people of this chat with buttons, and wait for one of them to choose. Returns the chosen value.",
            AskUserQuestion,
            interactive.ask,
            timeout=None,
        ),
        Tool("send_card", "Show a card with a title, a text and links. It asks nothing.", SendCard, interactive.show),
    ]


class _Interactive:
    def __init__(self, config: AgentConfig, desk: Desk) -> None:
        self._config = config
        self._desk = desk

    async def ask(self, arguments: AskUserQuestion) -> str:
        left = int(self._config.turn_seconds - self._desk.asked_for) - ANSWER_SECONDS
        if arguments.timeout > left:
            raise ToolError(
                f"this turn has time to wait {max(left, 0)} seconds for an answer: ask with a shorter timeout"
            )
        here = self._desk.here()
        if here is None:
            raise ToolError("this turn was asked nowhere: there is nobody to ask")
        if here.channel_type == AGENT:
            raise ToolError("another agent asks in this turn: there is nobody to choose; ask it in words")
        key = self._desk.key("ask_user_question", arguments)
        content = _question(arguments, key)
        try:
            answer = json.loads(await self._desk.ask(content, key, arguments.timeout))
        except TimeoutError:
            raise ToolError(
                f"nobody has answered within {arguments.timeout:g} seconds; an answer that comes later is told to you"
                " as a message"
            ) from None
        except apsw.Error as error:
            raise ToolError(f"the question could not be written: {error}") from None
        if answer.get("expired"):
            raise ToolError("the question has expired: nobody has answered")
        return str(answer["value"])

    async def show(self, arguments: SendCard) -> str:
        card = arguments.card
        links = "\n".join(f"[{link.label}]({link.url})" for link in card.links)
        text = "\n\n".join(part for part in (card.text, links) if part)
        to = address_of(self._desk, None)
        content = _checked({"title": card.title, "text": text, "fallback": arguments.fallback_text})
        key = self._desk.key("send_card", arguments)
        number = write(self._desk, "card", content, to, key)
        return await told(self._desk, key, number, f"delivered as #{number}")


def _question(arguments: AskUserQuestion, reference: str) -> str:
    options = [
        option
        if isinstance(option, str)
        else {
            "label": option.label,
            "value": option.label if option.value is None else option.value,
            "done": option.label if option.selected_label is None else option.selected_label,
        }
        for option in arguments.options
    ]
    return _checked({"title": arguments.title, "text": arguments.question, "options": options, "reference": reference})


def _checked(content: dict[str, object]) -> str:
    """Return a card row's content, as the host will read it."""
    try:
        return cards.to_content(cards.from_content(json.dumps(content)))
    except ValueError as error:
        raise ToolError(str(error)) from None
