"""Delivery of what an agent said: once, in order of seq, with its intent recorded first."""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_stage import CHAT, Platform, Stage, message, said

from nanoclaw_runner.contract import clock
from nanoclaw_runner.store.inbox import Inbox
from nanoclaw_runner.store.outbox import Reply
from nanoclawd.sessions.drain import MAX_ATTEMPTS
from nanoclawd.sessions.inbound import Delivery, Notice
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.ports import Delivered, Outgoing, SessionRef, Text, Undelivered


async def known(stage: Stage, *row_ids: str) -> dict[str, Delivery]:
    return await stage.files.read(lambda inbound: inbound.deliveries(row_ids))


async def make_due(stage: Stage) -> None:
    """Let the time of every postponed delivery pass."""
    past = clock.now_text(plus_seconds=-1)
    stage.query_inbound("UPDATE delivered SET next_attempt_at = ? WHERE next_attempt_at IS NOT NULL", past)


async def test_a_row_keeps_what_was_written(stage: Stage):
    """F-33: in_reply_to, address and content, exactly; F-98, F-34: then the host knows it as delivered."""
    before = stage.write_out("r1", in_reply_to="m1", content='{"text": "größer\\n<b>", "x": [1]}')
    written = stage.paths.outbound_db.stat()
    drained = await stage.run()
    assert drained.delivered == 1
    (got,) = stage.platform.got
    assert (got.id, got.in_reply_to, got.address, got.body) == ("r1", "m1", CHAT, Text("größer\n<b>"))
    assert (await known(stage, "r1"))["r1"].status == "delivered"
    assert stage.files.watermark == before
    after = stage.paths.outbound_db.stat()
    assert (after.st_mtime_ns, after.st_size) == (written.st_mtime_ns, written.st_size)
    assert (await stage.run()).delivered == 0
    assert stage.platform.ids == ["r1"]


async def test_the_platforms_own_id_is_kept(stage: Stage):
    stage.platform.answer = lambda _outgoing: Delivered("$event:example.org")
    stage.write_out("r1")
    await stage.run()
    assert (await known(stage, "r1"))["r1"].platform_message_id == "$event:example.org"


async def test_a_thousand_rows_once_each_and_in_order(stage: Stage):
    """F-37"""
    with stage.outbox() as outbox:
        outbox.finish([Reply(said(str(number)), address=CHAT) for number in range(1000)], (), 0)
    looks = 1
    while (await stage.run()).more:
        looks += 1
    assert stage.platform.ids == stage.outbound_ids()
    assert stage.platform.texts == [str(n) for n in range(1000)]
    assert looks < 10
    await stage.restart()
    await stage.run()
    assert len(stage.platform.got) == 1000


async def test_acknowledgements_are_taken_over(stage: Stage):
    """F-88, F-91: a claim is told, a completion stored with the delivery it belongs to."""
    for name in ("m1", "m2"):
        await stage.files.append(message(name))
    with stage.outbox() as outbox:
        outbox.claim(["m1", "m2"])
    drained = await stage.run("m1", "m2")
    assert (drained.claimed, drained.finished) == ({"m1", "m2"}, {})
    stage.reply("answer", completed=("m1",))
    drained = await stage.run("m1", "m2")
    assert (drained.claimed, drained.finished, drained.delivered) == ({"m2"}, {"m1": "completed"}, 1)
    assert await stage.files.read(lambda inbound: inbound.status_of("m1")) == "completed"
    assert await stage.files.read(lambda inbound: inbound.status_of("m2")) == "pending"


@pytest.mark.parametrize("form", ["iso", "sqlite", "offset"])
async def test_a_deferred_row_waits(stage: Stage, form: str):
    """F-32: in either format; what comes after it does not wait for it."""
    moment = clock.now() + timedelta(hours=1)
    texts = {
        "iso": clock.to_text(moment),
        "sqlite": moment.strftime("%Y-%m-%d %H:%M:%S"),
        "offset": moment.astimezone(ZoneInfo("Asia/Kathmandu")).isoformat(),
    }
    stage.write_out("later", deliver_after=texts[form])
    stage.write_out("now")
    looked_at = clock.now_text()
    await stage.run()
    assert stage.platform.ids == ["now"]
    due = await stage.files.read(lambda inbound: inbound.next_due(looked_at))
    assert abs(clock.parse(due or "") - moment) < timedelta(seconds=1)
    assert stage.files.watermark == 0
    await make_due(stage)
    with apsw.Connection(str(stage.paths.outbound_db)) as connection:
        connection.execute("UPDATE messages_out SET deliver_after = '2020-01-01 00:00:00' WHERE id = 'later'")
    connection.close()
    await stage.restart()
    await stage.run()
    assert stage.platform.ids == ["now", "later"]


@pytest.mark.parametrize(
    "text", ["2020-01-01T00:00:00Z", "2020-01-01 00:00:00", "soon", "9999-12-31T23:59:59-14:00", ""]
)
async def test_what_defers_nothing(stage: Stage, text: str):
    """F-32: a time that has passed, or that is none (W-40)."""
    stage.write_out("r1", deliver_after=text)
    await stage.run()
    assert stage.platform.ids == ["r1"]


async def test_nothing_is_shown_to_nobody(stage: Stage):
    stage.platform.away = True
    stage.write_out("r1")
    stage.write_out("r2")
    for _ in range(3):
        assert (await stage.run()).delivered == 0
    assert [state.attempts for state in (await known(stage, "r1", "r2")).values()] == [0, 0]
    stage.platform.away = False
    await stage.run()
    assert stage.platform.ids == ["r1", "r2"]


async def test_a_message_is_answered_when_its_answer_was_delivered(stage: Stage):
    """What a channel asks is told so until then, also after a restart; and then that its turn has ended, once."""
    stage.platform.away = True
    await stage.files.append(message("m1"))
    stage.reply("one", "two", completed=("m1",))
    with apsw.Connection(str(stage.paths.outbound_db)) as connection:
        connection.execute("UPDATE messages_out SET in_reply_to = 'm1'")
    connection.close()
    drained = await stage.run("m1")
    assert (drained.finished, drained.held) == ({"m1": "completed"}, {"m1"})
    assert await stage.files.read(lambda inbound: inbound.pending()) == []
    assert await stage.files.read(lambda inbound: inbound.status_of("m1")) == "pending"
    await stage.restart()
    stage.platform.away = False
    results: list[Delivered | Undelivered] = [Delivered(), Undelivered("later")]
    stage.platform.answer = lambda _outgoing: results.pop(0) if results else Delivered()
    assert (await stage.run()).late == frozenset()
    await make_due(stage)
    drained = await stage.run()
    assert drained.late == {"m1"}
    assert await stage.files.read(lambda inbound: inbound.status_of("m1")) == "completed"
    assert (await stage.run()).late == frozenset()


async def test_a_drain_tells_when_to_come_again(stage: Stage):
    """Also while the container is awake: nothing rings at a time by itself."""
    assert (await stage.run()).again is None
    stage.write_out("later", deliver_after=clock.now_text(plus_seconds=100))
    stage.platform.answer = lambda _outgoing: Undelivered("down")
    stage.write_out("r1")
    begun = clock.now()
    again = (await stage.run()).again
    assert timedelta(seconds=4) < clock.parse(again or "") - begun < timedelta(seconds=10)
    await make_due(stage)
    stage.platform.away = True
    again = (await stage.run()).again
    assert clock.parse(again or "") - begun > timedelta(seconds=90), "what is due waits for its chat, not for a time"


async def test_what_becomes_due_while_others_are_carried_out_is_not_forgotten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    """W-11: another chat's rate limit makes a drain last longer than the pause before the next attempt."""
    stage.rules.chats.add(("memory", "elsewhere"))
    real, ahead = clock.now, [timedelta()]
    monkeypatch.setattr(clock, "now", lambda: real() + ahead[0])

    def answer(outgoing: Outgoing) -> Delivered | Undelivered:
        if isinstance(outgoing.body, Text) and outgoing.body.text == "one" and not ahead[0]:
            return Undelivered("wait")
        ahead[0] += timedelta(seconds=60)
        return Delivered()

    stage.platform.answer = answer
    stage.write_out("one")
    stage.write_out("two", platform_id="elsewhere")
    drained = await stage.run()
    assert drained.delivered == 1
    assert drained.again is not None
    assert (await stage.run()).delivered == 1


async def test_a_platform_that_fails_is_tried_again(stage: Stage):
    """W-11: after 5 … 320 s, ten minutes in all; after the eighth it has failed, and the agent is told in its turn."""
    stage.platform.answer = lambda _outgoing: Undelivered("the platform is down")
    await stage.files.append(message("m1"))
    stage.reply("answer", completed=("m1",))
    (row,) = stage.outbound_ids()
    for attempt, wait in enumerate((5, 10, 20, 40, 80, 160, 320), start=1):
        begun = clock.now()
        drained = await stage.run()
        state = (await known(stage, row))[row]
        assert (state.status, state.attempts, state.reason) == ("pending", attempt, "the platform is down")
        postponed = clock.parse(state.next_attempt_at or "") - begun
        assert timedelta(seconds=wait - 0.001) <= postponed < timedelta(seconds=wait + 5)
        assert (drained.problems, stage.files.watermark) == ((), 0)
        assert (await stage.run()).delivered == 0
        assert (await known(stage, row))[row].attempts == attempt
        await make_due(stage)
    drained = await stage.run()
    assert (await known(stage, row))[row].status == "failed"
    assert (await known(stage, row))[row].attempts == MAX_ATTEMPTS
    assert "the platform is down" in drained.problems[0].text
    assert stage.files.watermark > 0
    seen = Inbox(stage.paths.inbound_db).look(lambda found: found, now=clock.now_text(), fresh=False).rows
    notes = [found for found in seen if not found.trigger]
    assert "the platform is down" in json.loads(notes[0].content)["text"]
    assert len(notes) == 1


async def test_a_platform_that_comes_back_meanwhile_is_told_everything_in_its_order(stage: Stage):
    """What was said later does not overtake what waits, whenever during a look at it the platform can be reached."""
    stage.write_out("r1")
    stage.write_out("usage", kind="system", content=json.dumps({"action": "usage", "turn": "m1"}))
    stage.write_out("r2")
    told = stage.rules.reported

    async def come_back(session: SessionRef, row_id: str, content: Mapping[str, object]) -> None:
        await told(session, row_id, content)
        stage.platform.away = False

    stage.rules.reported = come_back  # type: ignore[method-assign]
    await stage.files.add_notice(Notice("notice-1", "and a word of the appliance's", CHAT, clock.now_text()))
    stage.platform.away = True
    drained = await stage.run()
    assert (stage.platform.ids, drained.unseen) == ([], {(CHAT.channel_type, CHAT.platform_id)})
    await stage.run()
    assert stage.platform.ids == ["r1", "r2", "notice-1"]


async def test_a_session_that_has_slept_knows_where_something_is_yet_to_come(stage: Stage):
    """What an agent begins to say is not shown before what it said earlier, also after a sleep."""
    stage.platform.answer = lambda _outgoing: Undelivered("the line is bad")
    stage.write_out("r1")
    before = Mailbox(stage.session, stage.files, stage.platform, stage.rules)
    await before.load()
    await before.drain()
    assert before.is_behind(CHAT)
    after = Mailbox(stage.session, stage.files, stage.platform, stage.rules)
    await after.load()
    assert after.is_behind(CHAT)
    assert not after.is_behind(replace(CHAT, platform_id="elsewhere"))
    stage.platform.answer = lambda _outgoing: Delivered()
    await make_due(stage)
    await after.drain()
    assert not after.is_behind(CHAT)
    last = Mailbox(stage.session, stage.files, stage.platform, stage.rules)
    await last.load()
    assert not last.is_behind(CHAT)


async def test_what_is_said_later_stays_behind_what_is_tried_again(stage: Stage):
    """In a chat all comes in its order; other chats do not wait for it."""
    elsewhere = ("memory", "elsewhere")
    stage.rules.chats.add(elsewhere)
    failures = ["r1", "r1", "r2"]

    def answer(outgoing: Outgoing) -> Delivered | Undelivered:
        if failures and outgoing.id == failures[0]:
            failures.pop(0)
            return Undelivered("the line is bad")
        return Delivered()

    stage.platform.answer = answer
    await stage.files.append(message("m3"))
    for row in ("r1", "r2"):
        stage.write_out(row)
    stage.write_out("other", channel_type=elsewhere[0], platform_id=elsewhere[1])
    stage.reply("the last", completed=("m3",))
    last = stage.outbound_ids()[-1]
    with apsw.Connection(str(stage.paths.outbound_db)) as connection:
        connection.execute("UPDATE messages_out SET in_reply_to = 'm3' WHERE id = ?", (last,))
    connection.close()
    drained = await stage.run("m3")
    assert stage.platform.ids == ["other"]
    assert drained.held == {"m3"}, "what waits behind another is not answered yet"
    assert drained.again is not None
    assert (await stage.run()).delivered == 0
    for _ in range(3):
        await make_due(stage)
        drained = await stage.run()
    assert stage.platform.ids == ["other", "r1", "r2", last]
    assert drained.late == {"m3"}
    states = await known(stage, "r1", "r2", last)
    assert [states[row].attempts for row in ("r1", "r2", last)] == [3, 2, 1]


async def test_a_permanent_refusal_is_not_tried_again(stage: Stage):
    stage.platform.answer = lambda _outgoing: Undelivered("the chat has gone", permanent=True)
    stage.write_out("r1")
    drained = await stage.run()
    assert (await known(stage, "r1"))["r1"].status == "failed"
    assert len(drained.problems) == 1
    assert (await stage.run()).problems == ()


@pytest.mark.parametrize(
    "columns",
    [
        {"kind": "card"},
        {"platform_id": "another chat"},
        {"channel_type": "another channel"},
        {"channel_type": None},
        {"content": "words"},
        {"content": "[]"},
        {"content": "{}"},
        {"content": said(" ")},
        {"content": '{"text": 7}'},
        {"content": '{"operation": "delete", "messageId": 2}'},
    ],
)
async def test_a_row_that_may_not_be_delivered_is_refused_once(stage: Stage, columns: dict[str, object]):
    stage.write_out("bad", **columns)
    stage.write_out("good")
    drained = await stage.run()
    assert stage.platform.ids == ["good"]
    assert len(drained.problems) == 1
    assert (await stage.run()).problems == ()


async def test_more_refused_rows_than_one_look_takes(stage: Stage):
    """Nobody rings for what is left: the drain itself has to say that there is more."""
    connection = apsw.Connection(str(stage.paths.outbound_db))
    with connection:
        connection.executemany(
            "INSERT INTO messages_out (id, seq, timestamp, kind, content) VALUES (?, ?, '2026', 'chat', '{}')",
            [(f"bad-{number}", 1 + 2 * number) for number in range(201)],
        )
    connection.close()
    stage.write_out("good")
    looks = 1
    while (await stage.run()).more:
        looks += 1
    assert stage.platform.ids == ["good"]
    assert looks == 2


async def test_notices_come_after_replies(stage: Stage):
    await stage.files.add_notice(Notice("n1", "the agent has stopped", CHAT, clock.now_text(), in_reply_to="m1"))
    stage.write_out("r1")
    await stage.run()
    assert stage.platform.ids == ["r1", "n1"]
    assert [outgoing.is_notice for outgoing in stage.platform.got] == [False, True]
    assert stage.platform.texts[1] == "the agent has stopped"
    await stage.run()
    await stage.drain.run_notices()
    assert len(stage.platform.got) == 2


async def test_without_the_containers_database(stage: Stage):
    """F-105: a look raises nothing and makes a new one, which the next container can use; its answers arrive."""
    await stage.files.append(message("m1"))
    stage.reply("one", "two", "three", completed=("m1",))
    await stage.run("m1")
    assert len(stage.platform.got) == 3
    assert stage.files.watermark == int(str(stage.query_outbound("SELECT max(seq) FROM messages_out")))
    stage.paths.outbound_db.unlink()
    drained = await stage.run()
    assert (drained.delivered, drained.finished) == (0, {})
    await stage.files.append(message("m2"))
    stage.reply("four", completed=("m2",))
    await stage.run("m2")
    assert stage.platform.texts == ["one", "two", "three", "four"]


async def test_only_these_files(stage: Stage):
    """F-35: no write-ahead log appears, whatever is done."""
    seen: set[str] = set()
    for number in range(5):
        await stage.files.append(message(f"m{number}"))
        stage.reply("answer", completed=(f"m{number}",))
        seen |= {path.name for path in stage.paths.root.rglob("*.db*")}
        await stage.run(f"m{number}")
        seen |= {path.name for path in stage.paths.root.rglob("*.db*")}
    assert seen == {"inbound.db", "outbound.db"}


events = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["plain", "deferred", "bad"])),
        st.tuples(st.just("run"), st.lists(st.sampled_from(["ok", "ok", "later", "never"]), max_size=6)),
        st.tuples(st.sampled_from(["away", "back", "restart", "time passes"]), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(happenings=events)
def test_every_row_once_and_in_order(happenings: list[tuple[str, object]]):
    """F-37, F-99: whatever fails, is deferred, out of reach or restarted meanwhile. The platform tells the truth."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(Path(directory), happenings))


async def play(root: Path, happenings: list[tuple[str, object]]) -> None:
    results: list[str] = []
    refused: list[str] = []

    def answer(outgoing: Outgoing) -> Delivered | Undelivered:
        result = results.pop(0) if results else "ok"
        if result == "never":
            refused.append(outgoing.id)
            return Undelivered("never", permanent=True)
        return Delivered() if result == "ok" else Undelivered("later")

    stage = Stage(root, Platform(answer=answer))
    await stage.files.make()
    bad: set[str] = set()

    async def check() -> None:
        rows = stage.outbound_ids()
        final = {key for key, state in (await known(stage, *rows)).items() if state.status in ("delivered", "failed")}
        assert len(stage.platform.ids) == len(set(stage.platform.ids))
        assert set(stage.platform.ids) | set(refused) | bad >= final
        for row in rows:
            seq = int(str(stage.query_outbound(f"SELECT seq FROM messages_out WHERE id = '{row}'")))
            assert row in final or seq > stage.files.watermark, "the watermark has passed an unfinished row"

    for number, (event, detail) in enumerate(happenings):
        match event:
            case "write":
                name = f"{detail}-{number}"
                columns: dict[str, object] = {}
                if detail == "deferred":
                    columns = {"deliver_after": clock.now_text(plus_seconds=1000)}
                elif detail == "bad":
                    columns = {"platform_id": "elsewhere"}
                    bad.add(name)
                stage.write_out(name, **columns)
            case "run":
                assert isinstance(detail, list)
                results[:] = detail
                await stage.run()
                results.clear()
                await check()
            case "away" | "back":
                stage.platform.away = event == "away"
            case "restart":
                await stage.restart()
            case "time passes":
                await make_due(stage)
    stage.platform.away = False
    with apsw.Connection(str(stage.paths.outbound_db)) as connection:
        connection.execute("UPDATE messages_out SET deliver_after = NULL")
    connection.close()
    for _ in range(2):
        await make_due(stage)
        await stage.run()
    await check()
    rows = stage.outbound_ids()
    expected = [row for row in rows if row not in bad and row not in refused]
    assert sorted(stage.platform.ids, key=rows.index) == expected
    plain = [row for row in stage.platform.ids if row.startswith("plain")]
    if not any(event == "run" and "later" in detail for event, detail in happenings if isinstance(detail, list)):
        assert plain == [row for row in expected if row.startswith("plain")]
    await stage.end()
