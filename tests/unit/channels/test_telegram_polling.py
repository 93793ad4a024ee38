"""News from Telegram over a bad network and a bad token: noticed, repaired, or told (F-177; W-11)."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from telegram_stage import ANN, BEA, GROUP, TOKEN, Stage, staged

from eventually import eventually
from fault_proxy import FaultProxy, Weather
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import HealthState
from nanoclawd.channels.telegram import polling, source
from nanoclawd.channels.telegram.polling import Queues, chat_of
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.sessions.ports import Delivered, Text


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


async def test_it_says_who_it_is(stage: Stage):
    await stage.up()
    health = stage.adapter.health()
    assert (health.state, health.detail, health.hint) == (HealthState.OK, "@nano_test_bot", None)


async def test_privacy_mode_is_said_with_the_setting_that_ends_it(stage: Stage):
    stage.people.privacy(reads_all=False)
    await stage.up()
    health = stage.adapter.health()
    assert health.state is HealthState.OK
    assert "privacy mode" in health.detail
    assert "/setprivacy" in (health.hint or "")
    # What is not for the bot does not come, what is does.
    stage.people.write(GROUP, ANN, "hello all")
    stage.people.write(GROUP, ANN, "hello @nano_test_bot")
    assert (await stage.heard()).text == "hello @nano_test_bot"


@pytest.mark.parametrize("token", ["", "nonsense", "123:short", TOKEN.replace("A", "B")])
async def test_a_wrong_token_is_refused_in_words(stage: Stage, token: str, tmp_path: Path):
    (tmp_path / "credentials" / "nanoclawd.tele").write_text(token)
    with pytest.raises(Refused) as caught:
        await stage.up()
    assert caught.value.hint == "ncl channels login tele"
    assert not token or token not in caught.value.message


async def test_without_telegram_the_setup_says_so(stage: Stage):
    await stage.api.stop()
    with pytest.raises(Unavailable):
        await stage.up()
    stage.api.fault("getMe", status=429, description="Too Many Requests: retry after 5", retry_after=5)
    await stage.api.start()
    with pytest.raises(Unavailable, match="wait"):
        await stage.up()
    await stage.up()


async def test_a_revoked_token_ends_the_channel(stage: Stage):
    await stage.up()
    stage.api.revoke("other")
    await stage.received.until(lambda: stage.received.lost_for)
    assert "revoked" in stage.received.lost_for[0]


async def test_a_second_poller_is_told(stage: Stage):
    await stage.up()
    async with aiohttp.ClientSession() as client:
        for _ in range(3):
            async with client.get(f"{stage.api.address}/bot{TOKEN}/getUpdates?timeout=1") as answer:
                await answer.read()
            if stage.adapter.health().state is HealthState.DEGRADED:
                break
    health = stage.adapter.health()
    assert health.state is HealthState.DEGRADED
    assert "another program" in health.detail
    assert health.hint
    # It has gone: all is well again.
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)
    stage.people.write(ANN, ANN, "hello")
    await stage.heard()


async def test_a_webhook_that_somebody_has_set_is_taken_away(stage: Stage):
    await stage.up()
    stage.api._set_webhook({"url": "http://127.0.0.1:1/nowhere"})
    stage.people.write(ANN, ANN, "hello")
    assert (await stage.heard()).text == "hello"


async def test_trouble_of_the_service_is_waited_out(stage: Stage):
    await stage.up()
    stage.api.fault("getUpdates", times=3, status=502, garbage=True)
    stage.api.fault("getUpdates", times=2, status=429, description="Too Many Requests", retry_after=1)
    stage.api.fault("getUpdates", times=2, garbage=True)
    stage.people.write(ANN, ANN, "hello")
    await stage.heard()
    await stage.people.acknowledged()
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)


async def test_what_stands_before_telegram_is_no_news_for_the_journal(stage: Stage, caplog: pytest.LogCaptureFixture):
    """A page of a proxy's in the place of an answer: the channel is away, and no stack is logged for each of them."""
    await stage.up()
    chat = Address("tele", str(ANN))
    stage.api.fault("*", times=1000, status=502, garbage=True)
    assert not isinstance(await stage.deliver(Text("hello")), Delivered)
    assert not stage.adapter.reachable(chat)
    stage.people.write(ANN, ANN, "hello")  # ends the question that is open
    await eventually(lambda: stage.adapter.health().state is HealthState.DEGRADED)
    stage.api.calm()
    await stage.received.until(lambda: stage.received.due == [chat])
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)
    ours = [one for one in caplog.records if not one.name.startswith("aiohttp")]
    assert not [one for one in ours if one.exc_info]
    assert "Bad Gateway" not in "".join(one.getMessage() for one in ours)


async def test_an_answer_that_is_lost_doubles_nothing(stage: Stage):
    await stage.up()
    stage.api.fault("getUpdates", times=4, cut=True)
    for number in range(5):
        stage.people.write(ANN, ANN, str(number))
    await stage.people.acknowledged()
    assert [event.text for event in stage.received.events] == ["0", "1", "2", "3", "4"]


# Bad networks, by the proxy.


@pytest.fixture
async def proxy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultProxy]:
    """A network between the adapter and Telegram; a hung connection is noticed soon."""
    monkeypatch.setattr(source, "_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(polling, "_GRACE_SECONDS", 1.5)
    async with FaultProxy(stage.api.port) as made:
        stage.adapter = stage.new_adapter(f"http://127.0.0.1:{made.port}")
        await stage.up()
        yield made
        await stage.adapter.teardown()


@pytest.mark.parametrize("weather", [one for one in Weather if one is not Weather.FAIR])
async def test_what_is_said_during_a_fault_comes_after_it_once_and_in_order(
    stage: Stage, proxy: FaultProxy, weather: Weather
):
    stage.people.write(ANN, ANN, "before")
    await stage.heard()
    await proxy.change(weather)
    for number in range(5):
        stage.people.write(ANN, ANN, f"during {number}")
        stage.people.write(BEA, BEA, f"also {number}")
    if weather is not Weather.SLOW:
        await eventually(lambda: stage.adapter.health().state is HealthState.DEGRADED)
    await proxy.change(Weather.FAIR)
    stage.people.write(ANN, ANN, "after")
    await stage.heard(12)
    await stage.people.acknowledged()
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)
    texts = list({(event.address, event.message_id): event.text for event in stage.received.events}.values())
    assert [text for text in texts if "also" not in text] == ["before", *(f"during {n}" for n in range(5)), "after"]
    assert not stage.received.lost_for


async def test_a_delivery_over_a_dead_network_says_so(stage: Stage, proxy: FaultProxy):
    await proxy.change(Weather.REFUSED)
    outcome = await stage.deliver(Text("hello"))
    assert not isinstance(outcome, Delivered)
    assert not outcome.permanent
    await proxy.change(Weather.FAIR)
    assert isinstance(await stage.deliver(Text("hello")), Delivered)


async def test_what_an_outage_leaves_unsaid_waits_for_its_end(stage: Stage, proxy: FaultProxy):
    """However long it is: no attempt is lost to it (an answer has eight, within ten minutes)."""
    chat, other = Address("tele", str(ANN)), Address("tele", str(BEA))
    assert stage.adapter.reachable(chat)
    await proxy.change(Weather.REFUSED)
    assert not isinstance(await stage.deliver(Text("hello")), Delivered)
    assert not stage.adapter.reachable(chat)
    assert not stage.adapter.reachable(other)
    await proxy.change(Weather.FAIR)
    await stage.received.until(lambda: len(stage.received.due) == 2)
    assert stage.received.due == [chat, other]
    assert stage.adapter.reachable(chat)
    # What is wrong with a message alone is no outage.
    assert not isinstance(await stage.deliver(Text("hello"), chat=999), Delivered)
    assert stage.adapter.reachable(chat)


async def test_no_log_has_the_token(stage: Stage, proxy: FaultProxy, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    await proxy.change(Weather.RESET)
    await eventually(lambda: stage.adapter.health().state is HealthState.DEGRADED)
    await stage.deliver(Text("hello"))
    await proxy.change(Weather.FAIR)
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)
    stage.api.revoke("other")
    await stage.received.until(lambda: stage.received.lost_for)
    assert TOKEN.partition(":")[2] not in "".join(
        record.getMessage() + str(record.exc_text) for record in caplog.records if record.name != "aiohttp.access"
    )


# The order of updates.


async def test_offsets_follow_what_is_done_with_without_a_gap():
    gates = {number: asyncio.Event() for number in range(1, 5)}

    async def handle(number: int, _update: object) -> None:
        await gates[number].wait()

    queues = Queues(handle, polling.Waits())
    for number in gates:
        assert queues.begin({"update_id": number, "message": {"chat": {"id": number}}})
    assert queues.offset == 1
    gates[2].set()
    gates[4].set()
    await asyncio.sleep(0)
    await queues.rest(0.1)
    assert queues.offset == 1
    assert not queues.begin({"update_id": 2, "message": {"chat": {"id": 2}}}), "done with already"
    gates[1].set()
    await queues.rest(0.1)
    assert queues.offset == 3
    gates[3].set()
    await queues.rest(0.1)
    assert (queues.offset, queues.is_waiting) == (5, False)
    # An answer to a question that was asked before may have all of them once more.
    assert not any(queues.begin({"update_id": number}) for number in gates)
    queues.confirmed(5)
    # After a quiet week Telegram begins with another number.
    gates[1].set()
    assert queues.begin({"update_id": 1})
    assert queues.offset == 1
    await queues.rest(0.1)
    assert queues.offset == 2


def test_the_chat_of_an_update_is_found_wherever_it_is():
    assert chat_of({"update_id": 1, "edited_message": {"chat": {"id": 5}}}) == 5
    assert chat_of({"update_id": 1, "callback_query": {"message": {"chat": {"id": 6}}}}) == 6
    for odd in ({}, {"message": None}, {"message": {"chat": []}}, {"message": {"chat": {"id": []}}}, {"message": "x"}):
        assert chat_of({"update_id": 1, **odd}) is None


async def test_a_teardown_right_after_the_setup_comes_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While a connection is made, the library takes a cancellation for a fault of the network."""
    async with staged(tmp_path, monkeypatch) as stage:
        for moment in range(20):
            await stage.up()
            await asyncio.sleep(moment * 0.0005)  # the moment is the subject
            async with asyncio.timeout(10):
                await stage.adapter.teardown()
