"""Open queries: follow-ups, quiet closing, bounds and reports."""

import asyncio
import json
from typing import Any

import apsw
import pytest
from place_stage import rows, several
from runner_stage import Host, chat
from told_provider import Opens

from eventually import eventually
from nanoclaw_runner.contract import clock
from nanoclaw_runner.providers.base import (
    Activity,
    Concern,
    Error,
    Init,
    Partial,
    Progress,
    Result,
    ToolBegan,
    ToolEnded,
    Usage,
    Works,
)


async def test_an_open_query_takes_the_next_message(host: Host, opened: Opens):
    """F-42, F-46: in one process and one query, the second answered as the first."""
    async with opened() as talk:
        for number in (1, 2, 3):
            one = talk.insert(f"m{number}", platform=f"chat-{number % 2}")
            (await talk.query(1, number)).say(Init("c-1"), Result(f"a{number}"))
            await talk.settled(one)
        assert host.replies() == ["a1", "a2", "a3"]
        assert [row[2] for row in rows(host)] == ["chat-1", "chat-0", "chat-1"]
        assert not talk.provider.queries[0].closed
        assert talk.provider.warmed == [None]


async def test_a_quiet_query_is_closed_and_the_loop_goes_on(host: Host, opened: Opens):
    """F-39, F-42: after the configured time; the next message begins a new one that goes on with the conversation."""
    async with opened(quiet_seconds=0.2) as talk:
        one = talk.insert("a")
        first = await talk.query()
        first.say(Init("c-1"), Result("1"))
        await talk.settled(one)
        answered = asyncio.get_running_loop().time()
        await eventually(lambda: first.closed)
        assert asyncio.get_running_loop().time() - answered > 0.1
        two = talk.insert("b")
        second = await talk.query(2)
        assert second.continuation == "c-1"
        second.say(Result("2"))
        await talk.settled(two)


@pytest.mark.parametrize("sign", ["activity", "input"])
async def test_activity_and_input_keep_a_query_open(host: Host, opened: Opens, sign: str):
    """F-38, F-40, F-41: each begins the quiet time anew."""
    async with opened(quiet_seconds=0.6) as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        begun = asyncio.get_running_loop().time()
        for number in range(2, 6):
            await asyncio.sleep(0.25)  # time that passes is what this is about
            if sign == "activity":
                query.say(Activity())
            else:
                talk.insert("more")
                (await talk.query(1, number)).say(Result("x"))
        assert not query.closed
        await eventually(lambda: query.closed)
        assert asyncio.get_running_loop().time() - begun > 1.4


async def test_no_quiet_time_at_all_closes_each_query(host: Host, opened: Opens):
    async with opened(quiet_seconds=0.0) as talk:
        for number in (1, 2):
            one = talk.insert("a")
            (await talk.query(number)).say(Result("1"))
            await talk.settled(one)
        await eventually(lambda: talk.provider.queries[1].closed)


async def test_a_command_closes_the_query_first(host: Host, opened: Opens):
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Init("c-1"), Result("1"))
        await talk.settled(one)
        host.command("clear")
        talk.ring()
        await talk.replies(2)
        assert query.closed
        two = talk.insert("b")
        second = await talk.query(2)
        assert second.continuation is None
        second.say(Result("2"))
        await talk.settled(two)


@pytest.mark.parametrize("end", [None, Error("broken pipe"), RuntimeError("gone")])
async def test_a_message_for_a_query_that_has_died_is_asked_anew(
    host: Host, opened: Opens, end: Error | Exception | None
):
    """Between two turns nobody notices: no message is lost in between."""
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        two = talk.insert("b")
        await talk.query(1, 2)
        query.say(Activity(), end)
        again = await talk.query(2)
        assert again.prompts[0].reference == two
        again.say(Result("2"))
        await talk.settled(two)
        assert host.replies() == ["1", "2"]
        assert query.closed


async def test_a_query_that_dies_again_is_told(host: Host, opened: Opens):
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)
        query.say(None)
        talk.insert("b")
        (await talk.query(2)).say(None)
        assert (await talk.replies(2))[1] == "Error: the provider ended without an answer"


async def test_a_failed_query_leaves_the_runner_alive(host: Host, opened: Opens):
    """F-44, F-45: told where it was asked, consumed, and the next one begins anew."""
    async with opened() as talk:
        one = talk.insert("a", thread="t-7")
        (await talk.query()).say(Partial("Hel"), Error("the moon is down"))
        await talk.settled(one)
        assert rows(host) == [("Error: the moon is down", "cli", "terminal", "t-7", one)]
        two = talk.insert("b")
        (await talk.query(2)).say(Result("2"))
        await talk.settled(two)


async def test_a_follow_up_is_acknowledged_when_it_is_answered(host: Host, opened: Opens):
    """W-37: not when it is pushed, so a crash before its answer leaves it to the next runner."""
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        two = talk.insert("b")
        await talk.query(1, 2)
        query.say(Result("1"))
        await talk.settled(one)
        assert host.acks()[two] == "processing"
    talk.outbox = type(talk.outbox)(host.places.outbound_db)
    assert talk.outbox.drop_claims() == [two]
    talk.outbox.close()


async def test_a_turn_that_takes_too_long_is_ended_with_a_word(host: Host, opened: Opens):
    async with opened(turn_seconds=0.2) as talk:
        one = talk.insert("a")
        query = await talk.query()
        await talk.settled(one)
        assert host.replies() == ["Error: I was not done within 0.2 seconds, and was stopped. Please ask again."]
        await eventually(lambda: query.closed)
        two = talk.insert("b")
        (await talk.query(2)).say(Result("2"))
        await talk.settled(two)


async def test_a_turn_of_endless_tool_calls_is_ended_with_a_word(host: Host, opened: Opens):
    async with opened(max_tool_calls=5) as talk:
        talk.insert("a")
        query = await talk.query()
        for _ in range(7):
            query.say(ToolBegan("bash"), ToolEnded("bash"))
        assert "more than 5 tool calls" in (await talk.replies(1))[0]
        await eventually(lambda: query.closed)


async def test_the_tools_bound_is_one_turns(host: Host, opened: Opens):
    async with opened(max_tool_calls=2) as talk:
        for number in (1, 2):
            one = talk.insert("a")
            query = await talk.query(1, number)
            assert talk.provider.workshop is not None
            tools = talk.provider.workshop.tools
            for _ in range(2):
                await tools.call("current_time", {})
            query.say(Result("x"))
            await talk.settled(one)


def system_rows(host: Host) -> list[dict[str, Any]]:
    return host.contents("system")


async def test_usage_rides_with_the_answer(host: Host, opened: Opens):
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(ToolBegan("bash"), ToolEnded("bash"), Result("1", usage=Usage("big-1", 10, 20, 30, 40, 50)))
        await talk.settled(one)
        two = talk.insert("b")
        query.say(Result("2"))
        await talk.settled(two)
    (report,) = system_rows(host)
    assert report.pop("seconds") >= 0
    assert report == {
        "action": "usage",
        "turn": one,
        "model": "big-1",
        "inputTokens": 10,
        "outputTokens": 20,
        "cacheReadTokens": 30,
        "cacheWriteTokens": 40,
        "costMicros": 50,
        "toolCalls": 1,
    }


async def test_the_usage_of_a_correction_is_counted_with_its_answer(host: Host, opened: Opens):
    several(host)
    async with opened() as talk:
        one = talk.insert("a")
        (await talk.query()).say(
            Result("x", usage=Usage("m", 1, 2)), Result('<message to="ada">x</message>', usage=Usage("m", 10, 20))
        )
        await talk.settled(one)
    (report,) = system_rows(host)
    assert (report["inputTokens"], report["outputTokens"], report["costMicros"]) == (11, 22, None)


async def test_troubles_are_over_when_something_works_again(host: Host, opened: Opens):
    """Also in the next container, and where the provider reports no usage; a server's own go on until it works."""
    ended = Concern("mcp", "files", "it has ended")
    async with opened() as talk:
        one = talk.insert("a")
        (await talk.query()).say(ended, Error("the key has expired", trouble="credentials"))
        await talk.settled(one)
    count = len(system_rows(host))
    async with opened() as talk:
        talk.insert("b")
        (await talk.query()).say(Works("mail"), Concern("refused", "", "no pictures"), Result("2"))
        await talk.replies(2)
        news = system_rows(host)[count:]
        assert news == [
            {"action": "over", "kind": "credentials", "subject": ""},
            {"action": "trouble", "kind": "refused", "message": "no pictures", "subject": ""},
        ]
        talk.insert("c")
        (await talk.query(prompts=2)).say(Works("files"), Works("files"), Result("3"))
        await talk.replies(3)
        news = system_rows(host)[count + 2 :]
        assert news == [{"action": "over", "kind": "mcp", "subject": "files"}, news[1]]
        assert news[1] == {"action": "over", "kind": "refused", "subject": ""}
        talk.insert("d")
        (await talk.query(prompts=3)).say(Result("4"))
        await talk.replies(4)
        assert len(system_rows(host)) == count + 4


async def test_troubles_are_reported_with_the_answer_and_once(host: Host, opened: Opens):
    concern = Concern("mcp", "files", "it has ended")
    async with opened() as talk:
        one = talk.insert("a")
        (await talk.query()).say(concern, concern, Error("the key has expired", trouble="credentials"))
        await talk.settled(one)
        assert system_rows(host) == [
            {"action": "trouble", "kind": "mcp", "message": "it has ended", "subject": "files"},
            {"action": "trouble", "kind": "credentials", "message": "the key has expired", "subject": ""},
        ]
        two = talk.insert("b")
        (await talk.query(2)).say(Result("2"))
        await talk.settled(two)
        talk.provider.queries[1].say(Concern("mcp", "mail", "it has ended"))
        await eventually(lambda: len(system_rows(host)) == 3)


async def test_a_silent_tool_has_its_own_bound(host: Host, opened: Opens):
    """W-72: while a tool runs, silence is judged by the tool's time, a question's not at all; then by the model's."""
    async with opened(silence_seconds=0.3) as talk:
        talk.insert("a")
        query = await talk.query()
        query.say(ToolBegan("bash", timeout=60))
        await eventually(lambda: any("running bash" in said for said in talk.notifier.said))
        await asyncio.sleep(0.6)  # silence is what this is about
        assert not [said for said in talk.notifier.said if "trigger" in said]
        query.say(ToolEnded("bash"))
        assert talk.provider.workshop is not None
        watcher = talk.provider.workshop.tools.watcher
        watcher.began("ask_user_question", None)
        await asyncio.sleep(0.6)  # as above
        assert not [said for said in talk.notifier.said if "trigger" in said]
        watcher.ended("ask_user_question")
        await eventually(lambda: any("WATCHDOG=trigger" in said for said in talk.notifier.said))


async def test_the_host_sees_which_tool_runs(host: Host, opened: Opens):
    state = "SELECT current_tool, tool_timeout_seconds, tool_started_at FROM container_state"
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(ToolBegan("bash", timeout=60))
        await eventually(lambda: host.outbound(state))
        ((name, timeout, started),) = host.outbound(state)
        assert (name, timeout) == ("bash", 60.0)
        assert clock.to_text(clock.parse(str(started))) == started
        query.say(ToolEnded("bash"), Result("x"))
        await talk.settled(one)
        await eventually(lambda: host.outbound(state) == [(None, None, None)])


async def test_what_the_provider_says_that_it_does_is_in_the_status(host: Host, opened: Opens):
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Progress("rate limited, trying again in 20 s"))
        await eventually(
            lambda: any("turn 1: rate limited, trying again in 20 s (openai)" in said for said in talk.notifier.said)
        )
        query.say(Result("x"))
        await talk.settled(one)


async def test_nothing_is_looked_at_while_nothing_happens(host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch):
    """W-35: no look at any database without a reason, asleep or with an open query."""
    async with opened() as talk:
        one = talk.insert("a")
        (await talk.query()).say(Result("1"))
        await talk.settled(one)
        await asyncio.sleep(0.05)  # the end of its turn: nothing tells when its last look is over
        looks: list[str] = []
        monkeypatch.setattr(talk.inbox, "look", lambda *_args, **_kinds: looks.append("look"))
        monkeypatch.setattr(talk.outbox, "acknowledged", lambda *_args: looks.append("acknowledged"))
        await asyncio.sleep(0.7)  # nothing happens
        assert looks == []
        monkeypatch.undo()


async def test_a_databases_failure_ends_the_runner(host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch):
    """What cannot be written must not be taken for said: the claim stays for the next container."""
    talk = opened()
    await talk.__aenter__()
    one = talk.insert("a")
    query = await talk.query()

    def full(*_args: object, **_kinds: object) -> None:
        raise apsw.FullError

    monkeypatch.setattr(talk.outbox, "finish", full)
    query.say(Result("1"))
    assert talk.task is not None
    await asyncio.wait((talk.task,))
    assert isinstance(talk.task.exception(), ExceptionGroup)
    assert host.acks() == {one: "processing"}
    assert query.closed
    talk.outbox.close()


async def test_context_after_a_question_does_not_hide_it(host: Host, opened: Opens):
    """F-174, F-176, W-7a: the question and the newest of what was said around it, oldest first."""
    async with opened() as talk:
        for number in range(15):
            host.insert(f"before {number}", trigger=False)
        one = host.insert("the question")
        for number in range(15):
            host.insert(f"after {number}", trigger=False)
        talk.ring()
        query = await talk.query()
        assert query.prompts[0].raw().splitlines() == ["the question", *(f"after {number}" for number in range(6, 15))]
        query.say(Result("1"))
        await talk.settled(one)


async def test_many_questions_are_taken_in_their_order(host: Host, opened: Opens):
    """F-174, F-175: three to a prompt, the oldest first, each followed by the next ones, none left out."""
    async with opened(max_messages_per_prompt=3) as talk:
        ids = [host.insert(f"q{number}") for number in range(7)]
        talk.ring()
        for number, texts in enumerate(("q0 q1 q2", "q3 q4 q5", "q6"), start=1):
            query = await talk.query(1, number)
            assert query.prompts[-1].raw().split() == texts.split()
            query.say(Result("x"))
        await talk.settled(*ids)


async def test_a_runner_that_has_only_carried_out_a_command_ends_when_idle(host: Host, opened: Opens):
    """W-7: whatever it has or has not done, quiet ends it."""
    async with opened(idle_seconds=0.2) as talk:
        host.command("clear")
        talk.ring()
        assert talk.task is not None
        await asyncio.wait_for(asyncio.shield(talk.task), 10)
        assert host.replies() == ["Session cleared."]


async def test_a_new_container_is_not_judged_by_an_old_claim(host: Host, opened: Opens):
    """W-5: what a dead one had claimed says nothing about this one, whose time begins with its turn."""
    one = host.insert("a", content=chat("a"))
    talk = opened(silence_seconds=1.0)
    with apsw.Connection(str(host.places.outbound_db)) as outbound:
        outbound.execute("INSERT INTO processing_ack VALUES (?, 'processing', '2020-01-01T00:00:00.000Z')", (one,))
    assert talk.outbox.drop_claims() == [one]
    async with talk:
        (await talk.query()).say(Result("1"))
        await talk.settled(one)
        assert not [said for said in talk.notifier.said if "trigger" in said]


async def test_a_query_that_cannot_be_begun_is_told(host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch):
    async with opened() as talk:

        def refuse(*_args: object) -> None:
            raise RuntimeError("no more processes")

        monkeypatch.setattr(talk.provider, "query", refuse)
        one = talk.insert("a")
        await talk.settled(one)
        assert host.replies() == ["Error: no more processes"]


async def test_a_push_that_fails_is_no_end_of_the_runner(host: Host, opened: Opens, monkeypatch: pytest.MonkeyPatch):
    async with opened() as talk:
        one = talk.insert("a")
        query = await talk.query()
        query.say(Result("1"))
        await talk.settled(one)

        def refuse(*_args: object) -> None:
            raise BrokenPipeError("gone")

        monkeypatch.setattr(query, "push", refuse)
        two = talk.insert("b")
        (await talk.query(2)).say(Result("2"))
        await talk.settled(two)
        assert host.replies() == ["1", "2"]


async def test_a_malformed_configuration_is_reported(host: Host):
    """F-191: the runner starts with the defaults, the operator hears of it."""
    for damage in ("[]", "{", '{"idle_seconds": "long"}', None):
        if damage is None:
            host.places.agent_config.unlink()
        else:
            host.places.agent_config.write_text(damage)
        count = len(system_rows(host))
        connection = host.connect()
        process = host.start_ready()
        host.await_ring_until(connection, lambda count=count: len(system_rows(host)) > count)
        process.kill()
        process.wait()
        # Should it wait to be accepted still: the next runner is not to ring somebody who is not there.
        connection.close()
    reports = system_rows(host)
    assert {(report["action"], report["kind"], report["subject"]) for report in reports} == {
        ("trouble", "configuration", "agent.json")
    }
    assert "Expected `object`, got `array`" in reports[0]["message"]
    host.configure()
    connection = host.connect()
    host.start_ready()
    host.await_ring_until(connection, lambda: len(system_rows(host)) == 5)
    assert system_rows(host)[4] == {"action": "over", "kind": "configuration", "subject": "agent.json"}
    assert json.dumps(reports[3]).count("No such file") == 1
