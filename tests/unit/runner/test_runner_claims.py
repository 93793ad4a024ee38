"""Claims: an open query's client begins to work while they are written, and nothing comes of that before (F-89)."""

from collections.abc import Awaitable, Callable

import apsw
import pytest
from runner_stage import PATIENCE_SECONDS, Host
from told_provider import Opens, Query, Talk

from eventually import eventually
from nanoclaw_runner import exchange
from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import claude_tools
from nanoclaw_runner.providers.base import Activity, Init, Partial, Result, Works


async def _first_words(talk: Talk, query: Query) -> None:
    query.say(Partial("2"))


async def _a_tool(talk: Talk, _query: Query) -> None:
    assert talk.provider.workshop is not None
    await talk.provider.workshop.tools.call("current_time", {})


async def _its_own_tool(talk: Talk, _query: Query) -> None:
    assert talk.provider.workshop is not None
    watch = claude_tools.Watch(talk.provider.workshop.tools, 9, lambda _event: None)
    await watch.before({"tool_name": "Bash"}, "1", None)


async def _it_is_on_its_way(_talk: Talk, query: Query) -> None:
    query.room.set()


@pytest.mark.parametrize("first", [_first_words, _a_tool, _its_own_tool, _it_is_on_its_way])
async def test_nothing_comes_of_a_prompt_before_it_is_claimed(
    host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch, first: Callable[[Talk, Query], Awaitable[None]]
):
    """F-89: an open client gets to work while the claim is being written; whatever it does comes after the claim."""
    monkeypatch.setattr(exchange, "PASSING_SECONDS", PATIENCE_SECONDS)
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        query.room.clear()
        two = talk.insert("b")
        await talk.query(1, 2)
        assert two not in host.acks()
        await first(talk, query)
        await eventually(lambda: host.acks().get(two) == "processing")
        query.room.set()
        query.say(Result("2"))
        await talk.settled(two)
        assert host.replies() == ["1", "2"]


async def test_an_answer_that_overtakes_the_claim_counts(host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch):
    """F-89: what is done with is not claimed anew, or it would be answered twice."""
    monkeypatch.setattr(exchange, "PASSING_SECONDS", PATIENCE_SECONDS)
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        query.room.clear()
        two = talk.insert("b")
        (await talk.query(1, 2)).say(Result("2"))
        await talk.settled(two)
        query.room.set()
        three = talk.insert("c")
        (await talk.query(1, 3)).say(Result("3"))
        await talk.settled(one, two, three)
        assert host.replies() == ["1", "2", "3"]


async def test_a_client_that_takes_nothing_holds_no_claim_up(host: Host, opened: Opens):
    """F-89: its pipe is full for as long as it is busy with something else."""
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        query.room.clear()
        two = talk.insert("b")
        await eventually(lambda: host.acks().get(two) == "processing")
        query.say(Result("2"))
        await talk.settled(two)


async def test_a_provider_that_does_not_say_so_is_asked_after_the_claim(
    host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch
):
    """F-89: what its program does nobody here sees."""
    monkeypatch.delattr(Query, "passed_on")
    claimed: list[str | None] = []
    push = Query.push

    def seen(query: Query, prompt: Prompt) -> None:
        claimed.append(host.acks().get(prompt.reference))
        push(query, prompt)

    monkeypatch.setattr(Query, "push", seen)
    async with opened() as talk:
        one = talk.insert("a")
        (await talk.query()).say(Result("1"))
        await talk.settled(one)
        two = talk.insert("b")
        (await talk.query(1, 2)).say(Result("2"))
        await talk.settled(two)
    assert claimed == ["processing"]


async def test_a_slow_disk_holds_no_client_up(host: Host, opened: Opens):
    """F-89: its signs of life are heard, and its bytes carried, while its claim is being written."""
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Init("c"), Result("1"))
        await talk.settled(one)
        reader = apsw.Connection(str(host.places.outbound_db), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN").fetchall()
        reader.execute("SELECT * FROM messages_out").fetchall()
        two = talk.insert("b")
        await talk.query(1, 2)
        exchange = talk.conversation._exchange
        assert exchange is not None
        for event in (Init("c"), Works("files"), Activity()):
            before = exchange.heard_at
            query.say(event)
            await eventually(lambda before=before: exchange.heard_at > before)
        begun = talk.outbox._begun
        assert begun is not None
        assert not begun.done()
        reader.close()
        await eventually(lambda: host.acks().get(two) == "processing")
        query.say(Result("2"))
        await talk.settled(two)
        assert host.replies() == ["1", "2"]


async def test_a_claim_that_cannot_be_written_ends_the_runner(
    host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch
):
    """F-89: nobody is answered by a runner that could not say that it has begun."""
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        talk.outbox._connection.execute("PRAGMA query_only = ON").fetchall()
        two = talk.insert("b")
        await talk.query(1, 2)
        query.say(Result("2"))
        await eventually(lambda: talk.task is not None and talk.task.done())
        assert two not in host.acks()
        assert host.replies() == ["1"]
