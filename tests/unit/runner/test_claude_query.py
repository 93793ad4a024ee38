"""The provider claude around its client, which is a stand-in here: what is kept, begun anew, and given up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.places import Places
from nanoclaw_runner.prompt import Line, Prompt
from nanoclaw_runner.providers import base, claude, claude_link, claude_tools
from nanoclaw_runner.providers.claude_link import ClientError, Ended, Setup, StaleError
from nanoclaw_runner.providers.claude_messages import Reader
from nanoclaw_runner.tools.base import Toolbox
from nanoclaw_runner.way_out import WayOut
from nanoclaw_runner.workshop import Workshop


@dataclass
class SystemMessage:
    subtype: str
    data: dict[str, Any]


@dataclass
class ResultMessage:
    result: str
    user_message_uuids: list[str] | None
    subtype: str = "success"
    is_error: bool = False
    errors: list[str] | None = None
    api_error_status: int | None = None
    usage: dict[str, int] | None = None
    model_usage: dict[str, dict[str, Any]] | None = None
    total_cost_usd: float | None = None


@dataclass
class Stage:
    """Every client that was started, and how the next ones behave."""

    clients: list["FakeLink"] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    broken: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a client has been started, or told something, that a test waits for."""
        while not condition():
            self.news.clear()
            await self.news.wait()


class FakeLink:
    """A client that says what a test has it say."""

    stage: Stage

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.reader = Reader(session_id=setup.continuation)
        self.items: asyncio.Queue[Any] = asyncio.Queue()
        self.watch = claude_tools.Watch(setup.tools, 10, self.items.put_nowait)
        self.clean = True
        self.alive = False
        self.said: list[tuple[str, str, bool]] = []
        self.stage.clients.append(self)

    async def open(self) -> None:
        if self.setup.continuation in self.stage.gone:
            raise StaleError
        if self.stage.broken:
            raise ClientError("Claude's client could not be started.")
        self.alive = True
        self.stage.news.set()
        number = len(self.stage.clients)
        self.items.put_nowait(SystemMessage("init", {"session_id": self.setup.continuation or f"s{number}"}))

    async def close(self) -> None:
        self.alive = False

    def say(self, text: str, identifier: str, *, command: bool = False) -> None:
        self.clean = False
        self.said.append((text, identifier, command))
        self.stage.news.set()

    async def passed_on(self) -> None:
        pass

    def drop_leftovers(self) -> None:
        while not self.items.empty():
            self.items.get_nowait()

    def answer(self, text: str, *numbers: int, **more: Any) -> None:
        """Answer the prompts of these numbers."""
        self.items.put_nowait(ResultMessage(text, [self.said[number][1] for number in numbers], **more))


@dataclass
class House:
    stage: Stage
    provider: claude.Claude
    instructions: list[str]
    places: Places

    @property
    def client(self) -> FakeLink:
        return self.stage.clients[-1]


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    stage, instructions = Stage(), ["be good"]
    FakeLink.stage = stage
    monkeypatch.setattr(claude, "Link", FakeLink)
    places = Places.beneath(tmp_path)
    config = AgentConfig(provider="claude", endpoint="anthropic", model="claude-x", silence_seconds=1.0)
    workshop = Workshop(
        config,
        places,
        cast("Desk", None),
        Toolbox([], max_calls=9),
        lambda: instructions[0],
        WayOut(places.gateway_socket),
    )
    provider = claude.create(workshop)
    yield House(stage, provider, instructions, places)
    await provider.drop()


def prompt(text: str) -> Prompt:
    return Prompt(reference="m", lines=(Line(sender="", text=text, context=False),), text=text)


async def until(events: Any, wanted: type) -> Any:
    async for event in events:
        if isinstance(event, wanted):
            return event
    raise AssertionError("the events ended")


async def answered(house: House, text: str, continuation: str | None, words: str) -> str:
    """Have a turn answered and closed; return the conversation's name."""
    query = house.provider.query(prompt(text), continuation)
    events = query.events()
    first = asyncio.ensure_future(anext(events))
    await house.stage.until(lambda: house.stage.clients and house.client.said and house.client.said[-1][0] == text)
    name = house.client.reader.session_id
    house.client.answer(words, -1)
    event = await first
    name = event.continuation if isinstance(event, base.Init) else name
    result = event if isinstance(event, base.Result) else await until(events, base.Result)
    assert (result.text, result.covers) == (words, 1)
    await query.close()
    assert name is not None
    return name


async def test_a_client_serves_the_next_turn_too(house: House):
    """F-42."""
    name = await answered(house, "one", None, "first")
    assert await answered(house, "two", name, "second") == name
    assert [client.setup.continuation for client in house.stage.clients] == [None]


async def test_other_instructions_or_another_conversation_begin_another_client(house: House):
    name = await answered(house, "one", None, "first")
    house.instructions[0] = "be better"
    await answered(house, "two", name, "second")
    await answered(house, "three", None, "third")
    assert [(one.setup.instructions, one.setup.continuation) for one in house.stage.clients] == [
        ("be good", None),
        ("be better", name),
        ("be better", None),
    ]
    assert [one.alive for one in house.stage.clients] == [False, False, True]


async def test_a_client_that_was_started_early_is_used(house: House):
    house.provider.warm("s9")
    await house.stage.until(lambda: house.stage.clients and house.client.alive)
    assert await answered(house, "one", "s9", "first") == "s9"
    assert len(house.stage.clients) == 1


async def test_a_conversation_that_is_gone_is_begun_anew_with_the_message(house: House):
    """§7.3: the message is not lost."""
    house.stage.gone.add("old")
    query = house.provider.query(prompt("hello"), "old")
    events = query.events()
    told = await anext(events)
    assert isinstance(told, base.Progress)
    assert (await until(events, base.Init)).continuation == "s2"
    assert [said[0] for said in house.client.said] == ["hello"]
    await query.close()


async def test_follow_ups_are_covered_by_what_took_them_in(house: House):
    """F-46."""
    query = house.provider.query(prompt("one"), None)
    events = query.events()
    await until(events, base.Init)
    for text in ("two", "three"):
        query.push(prompt(text))
    assert [said[0] for said in house.client.said] == ["one", "two", "three"]
    house.client.answer("of the first two", 0, 1)
    result = await until(events, base.Result)
    assert (result.text, result.covers) == ("of the first two", 2)
    house.client.items.put_nowait(ResultMessage("by the way", ["nobody's"]))
    assert (await until(events, base.Result)).covers == 0
    house.client.answer("of the third", 2)
    assert (await until(events, base.Result)).covers == 1
    await query.close()
    assert house.client.alive


async def test_a_failure_ends_the_query_and_the_client_with_it(house: House):
    """F-44, F-45."""
    query = house.provider.query(prompt("one"), None)
    events = query.events()
    await until(events, base.Init)
    house.client.answer("API Error: 529 Overloaded", 0, is_error=True, api_error_status=529)
    error = await until(events, base.Error)
    assert (error.trouble, error.retryable) == ("overloaded", True)
    await query.close()
    assert not house.client.alive
    await answered(house, "two", "s1", "second")


async def test_what_fails_in_the_background_is_nobodys_failure(house: House):
    query = house.provider.query(prompt("one"), None)
    events = query.events()
    await until(events, base.Init)
    failing = ResultMessage("API Error: 529", ["nobody's"], is_error=True, api_error_status=529)
    house.client.items.put_nowait(failing)
    house.client.answer("all well", 0)
    assert (await until(events, base.Result)).text == "all well"
    await query.close()


async def test_silence_without_a_reason_ends_the_turn(house: House):
    """W-72: with a reason, a tool that runs or a wait that was announced, it does not."""
    query = house.provider.query(prompt("one"), None)
    events = query.events()
    await until(events, base.Init)
    house.client.reader.wait_until = asyncio.get_running_loop().time() + 1.2
    house.client.watch.running["1"] = "Bash"
    loop = asyncio.get_running_loop()
    loop.call_later(0.6, house.client.watch.running.clear)
    begun = loop.time()
    error = await until(events, base.Error)
    assert loop.time() - begun > 2.0
    assert "gave no sign for 1 s" in error.message
    assert error.trouble == "network"
    await query.close()


async def test_a_wait_without_end_is_not_waited_for(house: House):
    query = house.provider.query(prompt("one"), None)
    events = query.events()
    await until(events, base.Init)
    data = {"retry_delay_ms": 3_600_000, "error_status": 429, "error": "rate_limit"}
    house.client.items.put_nowait(SystemMessage("api_retry", data))
    error = await until(events, base.Error)
    assert "60 minutes" in error.message
    assert error.trouble == "rate-limit"
    await query.close()


async def test_a_client_that_dies_is_told_and_replaced(house: House):
    query = house.provider.query(prompt("one"), None)
    events = query.events()
    await until(events, base.Init)
    house.client.items.put_nowait(Ended("exit code -9"))
    assert "ended while it worked" in (await until(events, base.Error)).message
    await query.close()
    await answered(house, "two", "s1", "second")
    assert len(house.stage.clients) == 2


async def test_a_client_that_cannot_be_started_is_told(house: House):
    house.stage.broken = True
    error = await until(house.provider.query(prompt("one"), None).events(), base.Error)
    assert error.message == "Claude's client could not be started."


async def test_commands_are_the_clients_own(house: House):
    """W-66."""
    assert await house.provider.command("compact", "", None) == claude.NOTHING_KEPT
    name = await answered(house, "one", None, "first")
    running = asyncio.ensure_future(house.provider.command("context", "in short\n/evil", name))
    await house.stage.until(lambda: len(house.client.said) == 2)
    assert house.client.said[-1][0] == "/context in short /evil"
    assert house.client.said[-1][2] is True
    house.client.answer("## Context", -1)
    assert await running == "## Context"
    assert await answered(house, "two", name, "second") == name
    assert len(house.stage.clients) == 1


async def test_clear_forgets_everything(house: House):
    await answered(house, "one", None, "first")
    kept = house.places.home / ".claude" / "projects" / "-workspace"
    kept.mkdir(parents=True)
    (kept / "s1.jsonl").write_text("{}")
    assert await house.provider.command("clear", "", "s1") is None
    assert not kept.parent.exists()
    assert not house.client.alive


def test_no_key_is_in_the_clients_environment(tmp_path: Path):
    config = AgentConfig(provider="claude", endpoint="anthropic", model="claude-x", context_tokens=50_000)
    setup = Setup(config, Places.beneath(tmp_path), Toolbox([], max_calls=9), "http://127.0.0.1:7", "", None)
    environment = claude_link._environment(setup)
    assert environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:7/anthropic"
    assert environment["ANTHROPIC_API_KEY"] == "held-by-the-gateway"
    assert environment["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "50000"
    assert environment["DISABLE_AUTOUPDATER"] == environment["DISABLE_TELEMETRY"] == "1"
