"""The gateway's ups and downs, and what was said while nobody listened (F-48, F-49): nothing is lost, nothing doubled.

All against a server written from the public documentation (``tests/discord_api``), by the library itself.
"""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract import Received
from discord_stage import FAST, NAME, Stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventually import eventually
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelPlaces, HealthState, InvalidOption
from nanoclawd.channels.discord import client, create, lanes, listener, wire
from nanoclawd.channels.discord.clicks import Clicks
from nanoclawd.channels.discord.marks import Marks
from nanoclawd.channels.discord.places import Places
from nanoclawd.errors import NanoclawError, Refused, Unavailable
from nanoclawd.sessions.ports import Delivered, Text


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, monkeypatch)
    await made.api.start()
    made.people.channel("general")
    made.make()
    yield made
    await made.end()


def heard(stage: Stage) -> list[str]:
    return [one.text for one in stage.received.events]


async def hears(stage: Stage, *texts: str) -> None:
    await stage.received.until(lambda: len(stage.received.events) >= len(texts))
    assert heard(stage) == list(texts)


def counts(stage: Stage) -> tuple[int, int]:
    found = stage.people.counts()
    return found["identified"], found["resumed"]


async def test_a_connection_that_breaks_is_resumed_with_all_that_was_missed(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.cut()
    # Said while the line is down: the session keeps it.
    stage.people.say(channel, "one")
    stage.people.say(channel, "two")
    await hears(stage, "one", "two")
    stage.people.say(channel, "three")
    await hears(stage, "one", "two", "three")
    assert counts(stage) == (1, 1)
    assert stage.received.lost_for == []


@pytest.mark.parametrize("accident", ["reconnect", "resumable", "1001", "4000", "4009"])
async def test_what_the_gateway_asks_for_is_a_resume(stage: Stage, accident: str):
    await stage.begin()
    channel = stage.people.channel("general")
    if accident == "reconnect":
        stage.people.reconnect()
    elif accident == "resumable":
        stage.people.invalidate(resumable=True)
    else:
        await stage.api.gateway.close(int(accident))
    await eventually(lambda: counts(stage) == (1, 1))
    stage.people.say(channel, "after it")
    await hears(stage, "after it")


async def test_a_session_that_is_no_more_begins_anew_and_asks_for_what_was_said(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.say(channel, "before")
    await hears(stage, "before")
    stage.people.invalidate(resumable=False)
    thread = stage.people.thread(channel, "begun meanwhile")
    stage.people.say(channel, "meanwhile")
    stage.people.say(thread, "in a thread")
    await stage.received.until(lambda: len(stage.received.events) == 3)
    assert sorted(heard(stage)) == ["before", "in a thread", "meanwhile"]
    assert stage.received.events[-1].address.platform_id == channel
    assert counts(stage) == (2, 0)


async def test_what_was_said_while_the_daemon_was_down_is_heard_when_it_is_back(stage: Stage):
    """In channels, in threads that are new, and in direct chats; each once, in order."""
    await stage.begin()
    channel, direct = stage.people.channel("general"), stage.people.dm("Carol")
    stage.people.say(channel, "one")
    stage.people.say(direct, "psst", "Carol")
    await stage.received.until(lambda: len(stage.received.events) == 2)
    await stage.adapter.teardown()
    for number in range(250):
        stage.people.say(channel, f"missed {number}")
    thread = stage.people.thread(channel, "new")
    stage.people.say(thread, "in the thread", mention=True)
    stage.people.say(direct, "are you there?", "Carol")
    new = stage.people.channel("brand-new")
    stage.people.say(new, "first words here")
    await stage.begin()
    stage.people.say(channel, "live again")
    await stage.received.until(lambda: len(stage.received.events) == 256)
    assert len(set(heard(stage))) == 256
    of_channel = [one.text for one in stage.received.events if one.address == Address(NAME, channel)]
    assert of_channel == ["one", *(f"missed {number}" for number in range(250)), "live again"]
    (in_thread,) = (one for one in stage.received.events if one.text.endswith("in the thread"))
    assert (in_thread.address, in_thread.is_mention) == (Address(NAME, channel, thread), True)
    (asked,) = (one for one in stage.received.events if one.text == "are you there?")
    assert not asked.is_group


async def test_what_was_said_before_the_bot_came_is_not_for_it(stage: Stage):
    channel, other = stage.people.channel("general"), stage.people.channel("workshop")
    stage.people.say(channel, "old")
    stage.people.say(other, "older")
    await stage.begin()
    stage.people.say(channel, "new")
    await hears(stage, "new")
    await stage.adapter.teardown()
    await stage.begin()
    stage.people.say(other, "newer")
    await hears(stage, "new", "newer")


async def test_a_message_that_was_not_stored_is_asked_for_by_the_next_daemon(stage: Stage):
    """Its mark is written after it was stored, and not passed by what came later elsewhere."""
    await stage.begin()
    channel, other = stage.people.channel("general"), stage.people.channel("workshop")
    stage.people.say(channel, "stored")
    await hears(stage, "stored")
    stage.received.refusals = [Unavailable("the disk is full")] * 1000
    stage.people.say(other, "not stored")
    await eventually(lambda: stage.received.offered > 1)
    refusals, stage.received.refusals = stage.received.refusals, []
    del refusals
    await stage.adapter.teardown()
    await stage.begin()
    await stage.received.until(lambda: "not stored" in heard(stage))
    assert heard(stage).count("stored") == 1


async def test_marks_survive_a_daemon_that_was_killed(tmp_path: Path):
    marks = Marks(tmp_path / "marks.json")
    await marks.open()
    assert marks.is_first_time
    marks.raise_floor(50)
    marks.expect("70")
    marks.expect("80")
    marks.note("1", "80", is_direct=True)
    assert marks.after("other") == 69, "70 is not stored yet"
    marks.note("2", "70")
    await eventually((tmp_path / "marks.json").exists)
    again = Marks(tmp_path / "marks.json")
    await eventually(lambda: "70" in (tmp_path / "marks.json").read_text())
    await again.open()
    assert (again.after("1"), again.after("2"), again.direct()) == (80, 70, ["1"])
    assert again.after("other") >= 69
    await marks.close()
    (tmp_path / "marks.json").write_text("{")
    await again.open()
    assert again.is_first_time


async def test_what_is_too_much_at_once_is_read_from_the_history(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lanes, "MAX_WAITING", 5)
    await stage.begin()
    channel = stage.people.channel("general")
    stage.received.refusals = [Unavailable("busy")]
    texts = [f"text {number}" for number in range(40)]
    for text in texts:
        stage.people.say(channel, text)
    await stage.received.until(lambda: len(set(heard(stage))) == 40)
    assert list(dict.fromkeys(heard(stage))) == texts


async def test_a_history_that_can_not_be_read_yet_is_read_later(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nanoclawd.channels.discord.catch_up._PAUSE_SECONDS", 0.05)
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.say(channel, "one")
    await hears(stage, "one")
    await stage.adapter.teardown()
    stage.people.say(channel, "two")
    stage.people.fail("GET .*/messages", status=503, times=2)
    await stage.begin()
    stage.people.say(channel, "three")
    await hears(stage, "one", "two", "three")


async def test_a_session_whose_gateway_is_no_more_is_resumed_where_sessions_begin(stage: Stage):
    url, stage.api.gateway.url = stage.api.gateway.url, "ws://127.0.0.1:9/gone"
    # READY names a place that will not be there; where sessions begin is asked for, and stays.
    asked = stage.api.rest._gateway_bot

    async def gateway_bot(request: Any) -> dict[str, Any]:
        return await asked(request) | {"url": url}

    stage.api.rest._gateway_bot = gateway_bot  # type: ignore[method-assign]
    await stage.api.stop()
    await stage.api.start(stage.api.port)
    stage.api.gateway.url = "ws://127.0.0.1:9/gone"
    await stage.begin()
    stage.people.cut()
    stage.people.say(stage.people.channel("general"), "where are you?")
    await hears(stage, "where are you?")
    assert counts(stage) == (1, 1)


async def test_a_silent_gateway_is_noticed_and_left(stage: Stage):
    """A line that is half open: the gateway neither says nor acknowledges anything."""
    stage.pace = replace(FAST, silence=1.0, connect=1.0)
    await stage.begin()
    channel = stage.people.channel("general")
    stage.api.gateway.mute = True
    stage.people.say(channel, "into the silence")
    await eventually(lambda: not stage.adapter.reachable(Address(NAME, channel)))
    assert stage.adapter.health().state is HealthState.DEGRADED
    stage.api.gateway.mute = False
    await hears(stage, "into the silence")
    assert stage.adapter.health().state is HealthState.OK
    assert Address(NAME, channel) in stage.received.due


async def test_a_platform_that_is_away_for_long_is_waited_for(stage: Stage):
    """Deliveries cost no attempts meanwhile, and are due when it is back. One line in the journal, not thousands."""
    await stage.begin()
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    stage.people.away(away=True)
    await eventually(lambda: not stage.adapter.reachable(address))
    health = stage.adapter.health()
    assert (health.state, "connecting again since" in health.detail) == (HealthState.DEGRADED, True)
    before = stage.people.requests()
    stage.people.say(channel, "hello?")
    await eventually(lambda: stage.adapter._up is not None and stage.adapter._up._reason != "")
    stage.people.away(away=False)
    await stage.received.until(lambda: address in stage.received.due)
    await hears(stage, "hello?")
    assert isinstance(await stage.deliver(channel, Text("here")), Delivered)
    assert stage.people.requests() - before < 10
    assert stage.received.lost_for == []


async def test_the_heart_beats(stage: Stage, tmp_path: Path):
    """The server ends a connection whose client does not beat (4009); ours lives."""
    stage.api.gateway.heartbeat_seconds = 0.2
    await stage.begin()
    connection = next(iter(stage.api.gateway.connections))
    beats = connection._heard
    await eventually(lambda: connection._heard > beats + 0.5)
    assert counts(stage) == (1, 0)


async def test_a_wrong_token_is_said_with_the_next_step(stage: Stage):
    """F-49: the channel is down with a reason, and nothing else is."""
    stage.api.world.token = "another"
    with pytest.raises(Refused, match=rf"token.*ncl channels login {NAME}"):
        await stage.begin()
    assert stage.people.requests("GET /gateway/bot") == 0


async def test_no_token_is_said_with_the_next_step(stage: Stage):
    """F-49."""
    (stage.directory / "credentials" / f"nanoclawd.{NAME}").unlink()
    with pytest.raises(Refused, match=NAME):
        await stage.begin()


async def test_a_library_that_is_not_there_is_said_with_the_next_step(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """F-49."""
    for name in [one for one in sys.modules if one.startswith(("discord.", "nanoclawd.channels.discord."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "discord", None)
    with pytest.raises(Unavailable) as lacking:
        create(NAME, {}, ChannelPlaces(stage.directory, stage.directory))
    assert lacking.value.hint == "sudo apt install python3-discord"


@pytest.mark.parametrize("options", [{"api": "https://host/with/a/path"}, {"api": 7}, {"token": "x"}, {"stream": "so"}])
def test_wrong_options_are_named(tmp_path: Path, options: dict[str, object]):
    """A token is no option: it would lie in a file."""
    with pytest.raises(InvalidOption) as caught:
        create(NAME, options, ChannelPlaces(tmp_path, tmp_path))
    assert caught.value.option == next(iter(options))


async def test_who_the_bot_is_and_what_comes_next(stage: Stage):
    await stage.begin()
    account = await stage.adapter.account()
    assert account.name == "@helper"
    assert "mention it" in account.next_step
    stage.api.world.channels.clear()
    await stage.adapter.teardown()
    await stage.begin()
    link = (await stage.adapter.account()).next_step
    assert f"client_id={stage.api.world.application['id']}" in link
    assert "permissions=274878024768" in link
    stage.api.world.token = "another"
    with pytest.raises(NanoclawError):
        await stage.adapter.account()


async def test_a_token_that_is_revoked_is_told(stage: Stage):
    await stage.begin()
    stage.api.world.token = "another"
    stage.people.cut()
    await stage.received.until(lambda: stage.received.lost_for)
    assert f"token any more: ncl channels login {NAME}" in stage.received.lost_for[0]


async def test_without_the_right_to_read_the_bot_hears_what_is_said_to_it(stage: Stage):
    stage.api.world.content_allowed = False
    stage.api.world.application["flags"] = 0
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.say(channel, "among us")
    stage.people.say(channel, "hello", mention=True)
    stage.people.say(stage.people.dm("Carol"), "just us", "Carol")
    await stage.received.until(lambda: len(stage.received.events) == 2)
    assert sorted(heard(stage)) == ["@helper hello", "just us"]
    health = stage.adapter.health()
    assert health.state is HealthState.DEGRADED
    assert "Message Content" in (health.hint or "")
    assert counts(stage) == (1, 0)


async def test_a_right_that_the_gateway_denies_after_all_is_done_without(stage: Stage):
    """4014, though the application's flags say otherwise."""
    stage.api.world.content_allowed = False
    await stage.begin()
    stage.people.say(stage.people.channel("general"), "hello", mention=True)
    await hears(stage, "@helper hello")
    assert "Message Content" in (stage.adapter.health().hint or "")


@pytest.mark.parametrize("code", [4010, 4011, 4012, 4013])
async def test_what_time_does_not_mend_is_told(stage: Stage, code: int):
    await stage.begin()
    await stage.api.gateway.close(code)
    await stage.received.until(lambda: stage.received.lost_for)
    assert len(stage.received.lost_for) == 1


async def test_sessions_that_are_used_up_are_waited_for(stage: Stage):
    stage.api.gateway.starts_left = 0
    with pytest.raises(Unavailable, match="241 minutes"):
        await stage.begin()
    assert counts(stage) == (0, 0)


async def test_new_sessions_keep_their_distance(stage: Stage):
    stage.pace = replace(FAST, identify=0.6)
    await stage.begin()
    for expected in (2, 3):
        stage.people.invalidate(resumable=False)
        await eventually(lambda n=expected: counts(stage)[0] == n)
    first, second, third = stage.api.gateway.identified
    assert min(second - first, third - second) >= 0.55


# What is no event.

BROKEN = [
    "",
    "not json",
    "[]",
    "null",
    '"text"',
    "{" * 3000,
    json.dumps({"op": 0, "t": "MESSAGE_CREATE", "s": None, "d": None}),
    json.dumps({"op": 0, "t": "MESSAGE_CREATE", "s": None, "d": {"id": "77", "channel_id": "8", "author": 7}}),
    json.dumps(
        {"op": 0, "t": "MESSAGE_UPDATE", "s": None, "d": {"id": "78", "channel_id": {}, "edited_timestamp": "x"}}
    ),
    json.dumps({"op": 0, "t": "MESSAGE_DELETE", "s": None, "d": []}),
    json.dumps({"op": 0, "t": "MESSAGE_DELETE_BULK", "s": None, "d": {"ids": ["1", {}], "channel_id": "8"}}),
    json.dumps({"op": 0, "t": "MESSAGE_REACTION_ADD", "s": None, "d": {"message_id": "79"}}),
    json.dumps({"op": 0, "t": "INTERACTION_CREATE", "s": None, "d": {"id": "80", "type": "three"}}),
    json.dumps({"op": 0, "t": "GUILD_CREATE", "s": None, "d": {"id": "81", "channels": [7]}}),
    json.dumps({"op": 0, "t": "GUILD_CREATE", "s": None, "d": {"id": "83", "\ud800": 1}}),
    json.dumps({"op": 0, "t": "MESSAGE_UPDATE", "s": None, "d": {"id": "84", "edited_timestamp": "\ud800"}}),
    json.dumps({"op": 0, "t": "INTERACTION_CREATE", "s": None, "d": {"id": "85", "\ud800": 1}}),
    json.dumps({"op": 0, "t": "THREAD_CREATE", "s": None, "d": {"id": "../82"}}),
    json.dumps({"op": 0, "t": "GUILD_ROLE_CREATE", "s": None, "d": 3}),
    json.dumps({"op": 0, "t": "NEVER_HEARD_OF", "s": None, "d": {}}),
    json.dumps({"op": 0, "t": "MESSAGE_CREATE", "s": None, "d": {"id": "9" * 60, "channel_id": "9" * 60}}),
    json.dumps({"op": 77, "d": {}}),
    json.dumps({"op": "zero"}),
]


async def test_what_makes_no_sense_is_skipped_and_told_and_the_next_is_heard(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    await stage.begin()
    channel = stage.people.channel("general")
    for number, text in enumerate(BROKEN):
        stage.api.gateway.raw(text)
        stage.people.say(channel, f"text {number}")
    await hears(stage, *(f"text {number}" for number in range(len(BROKEN))))
    assert counts(stage) == (1, 0), "on the same connection"
    await eventually(lambda: "77" in stage.received.aside)
    told = "\n".join([*stage.received.aside, caplog.text])
    assert all(number in told for number in ("77", "78", "79", "80", "81", "../82", "83", "84", "85"))
    assert "a-bot.token" not in caplog.text
    # Nor has any of it moved a mark beyond what is to come.
    await stage.adapter.teardown()
    stage.people.say(channel, "and now?")
    await stage.begin()
    await hears(stage, *(f"text {number}" for number in range(len(BROKEN))), "and now?")


async def test_a_stream_that_can_not_be_unpacked_any_more_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    await stage.begin()
    channel = stage.people.channel("general")
    for connection in stage.api.gateway.connections:
        await connection.socket.send_bytes(b"\xff\xfe no zlib \x00\x00\xff\xff")
    await eventually(lambda: counts(stage) == (1, 1))
    monkeypatch.setattr(client, "MAX_PAYLOAD_BYTES", 10_000)
    stage.api.gateway.raw(json.dumps({"op": 99, "d": "x" * 200_000}))
    await eventually(lambda: counts(stage) == (1, 2))
    stage.people.say(channel, "still there")
    await hears(stage, "still there")


FIELDS = sorted(
    {
        *("id", "channel_id", "guild_id", "message_id", "user_id", "name", "parent_id"),
        *wire.Message.__struct_fields__,
        *wire.Interaction.__struct_fields__,
        *wire.Guild.__struct_fields__,
    }
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just("81")
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)


class NoRequests:
    """A platform that is away."""

    async def channel(self, _channel: str) -> wire.Channel:
        raise OSError("away")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["MESSAGE_CREATE", "GUILD_CREATE", "INTERACTION_CREATE", "CHANNEL_UPDATE", "READY"]), data=JSON
)
async def test_any_payload_whatever_is_survived(kind: str, data: Any):
    """Handlers never raise into the library: that would end the connection."""
    places = Places(NAME)
    host = Received()
    rest: Any = NoRequests()
    made = listener.Listener(host, rest, places, Marks(Path("/nonexistent/marks.json")), {})
    clicks = Clicks(host, rest, made, places, lambda: "1")
    handlers = {**made.handlers(), "INTERACTION_CREATE": clicks.take}
    handlers[kind](data)
    await clicks.close()
    await made.close()
