"""Through a channel's socket into the router, people and approvals: every frame is answered, and nobody is stuck."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES
from nanoclawd.config import Access
from nanoclawd.errors import InvalidName
from nanoclawd.routing.engage import check_pattern
from unit.fuzz.hostile import maybe_texts, texts, values
from unit.fuzz.whole import CHANNEL, MEMBER, OWNER, Whole, whole

HARD = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_chats = st.sampled_from(["team", "club", OWNER, "new-room"]) | texts
_senders = st.sampled_from([MEMBER, OWNER, "stranger", None]) | texts
_messages = st.fixed_dictionaries(
    {"op": st.just("message"), "chat": _chats, "message_id": texts, "text": texts, "sender": _senders},
    optional={
        "name": texts, "thread": maybe_texts, "mention": st.booleans(), "group": st.booleans(),
        "chat_name": maybe_texts, "timestamp": maybe_texts,
        "quote": st.fixed_dictionaries({"text": texts}, optional={"sender": texts, "message_id": maybe_texts}),
    },
)  # fmt: skip
_clicks = st.fixed_dictionaries(
    {"op": st.just("click"), "card": texts, "sender": st.sampled_from([OWNER, MEMBER]) | texts, "chat": _chats},
    optional={"option": st.integers(1, 12), "value": texts, "name": texts, "thread": maybe_texts},
)
_others = st.one_of(
    st.fixed_dictionaries({"op": st.just("named"), "chat": _chats}, optional={"name": texts, "group": st.booleans()}),
    st.fixed_dictionaries({"op": st.just("dm"), "handle": texts}, optional={"chat": maybe_texts}),
    st.fixed_dictionaries(
        {"op": st.just("conversations"), "chats": st.lists(st.fixed_dictionaries({"chat": texts, "name": texts}))}
    ),
    st.dictionaries(st.sampled_from(["op", "chat", "text", "card", "sender", "message_id"]), values, max_size=5).filter(
        lambda frame: frame.get("op") not in ("fail", "lose", "watch", "ack")
    ),
)
_frames = _messages | _messages | _clicks | _others


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@settings(HARD, max_examples=60)
@given(
    frames=st.lists(_frames, min_size=6, max_size=14),
    access=st.sampled_from([Access(), Access("public", "public", 24.0, "main"), Access("strict", "strict")]),
    buttons=st.booleans(),
    threads=st.booleans(),
)
async def test_every_frame_is_answered_and_the_next_message_gets_through(
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    frames: list[dict[str, Any]],
    access: Access,
    buttons: bool,
    threads: bool,
):
    caplog.clear()
    options = {"buttons": buttons, "edits": buttons, "threads": threads}
    async with whole(tmp_path_factory.mktemp("w"), access, **options) as running:
        await running.ordinary()
        for frame in frames:
            reply = await running.account.ask(frame)
            assert reply.get("ok") is True or reply["error"]["code"] in {"BadFrame", "InvalidName", "TooLarge"}, reply
            await _press_what_is_open(running)
        await running.rest()
        await running.ordinary()
    assert not _errors(caplog)


async def _press_what_is_open(running: Whole) -> None:
    """Strangers press the buttons that there are, and write the numbers; none of it counts."""
    await running.rest()
    for one in [one for one in running.account.deliveries if one["kind"] == "card"][-1:]:
        frame = {"op": "click", "card": one["card"], "chat": "team", "sender": "mallory", "option": 1}
        words = (await running.account.ask(frame))["words"]
        assert "may not" in words or "not open" in words or "already" in words, words


@pytest.mark.parametrize(
    "text",
    ["\0" * 170_000, "\x01\x1b" * 85_000, '"' * 262_144, "\\" * 200_000, "\n" * 240_000,
     "\u2028" * 87_381, "ﷺ" * 87_000, "x" * 262_144,
     "\ud800" * 170_000,
     "/" * 262_144, "/clear@" + "b" * 262_000, "/\u200b" + "\u200b" * 80_000 + "clear",
     "e" + "\u0316\u0301" * 60_000, "1" + " " * 262_000, " " * 262_000 + "/clear"],
    ids=range(15),
)  # fmt: skip
async def test_enormous_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str):
    """What a row can't hold is refused with the bound; the chat goes on."""
    async with whole(tmp_path) as running:
        for chat in ("team", "club", "new-room"):
            frame = {"op": "message", "chat": chat, "message_id": "1", "text": text, "sender": OWNER, "group": True}
            event = {**frame, "mention": True, "quote": {"text": text[:100_000], "sender": text[:1000]}}
            reply = await running.account.ask(event if len(json.dumps(frame)) < 400_000 else frame)
            assert reply.get("ok") is True or reply["error"]["code"] == "TooLarge", reply
        await running.rest()
        await running.ordinary()
        contents = await running.contents()
        assert contents
        assert max(len(content.encode()) for content in contents) <= MAX_CONTENT_BYTES
    assert not _errors(caplog)


EXPLODING = (
    "a{60000}" * 100, "a{99999999}", "(?:(?:a{1000}){1000}){1000}", "[ab]{6000000}", ".{6000000}", "(?x)a{6 000 000}",
    "(?x)[#]a{6#\n000000}", "(?x)(a{10000}) {10000}", "(?:a?){1000}(?:a){1000}",
)  # fmt: skip
BOMBS = (
    *EXPLODING,
    "(a+)+$", "(a|aa)+$", "(.*)*\\1x", "(?:(?:.*)*)*x", "(?R)", "a(?R)?b", "(a|(?1))*b", "(?:abc){e<=9}z", "(x+x+)+y",
    "(?:(?:(?:a{1,1000}){1,1000}){1,1000}){1,1000}b", "(?=(a*))*b", "(?<=a*b)c", "(?:a{9999}) {0}",
    "(" * 490 + ")" * 490, "(|a)*" * 200, "(?i)" + "\u017f" * 900, "[",
    "(?P<a", "\\", "(?b)(?:a.*b){e}", "(?P<n>a)(?P>n)*(?&n)*$",
)  # fmt: skip


@pytest.mark.parametrize("pattern", EXPLODING)
def test_a_pattern_that_explodes_is_not_written(pattern: str):
    """Before the library writes out a hundred million letters."""
    with pytest.raises(InvalidName, match="counts"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["a{10000}", "(?:ab){100}c{99}", "[0-9a-f]{8}(-[0-9a-f]{4}){3}", "(x{1,99}){1,99}"])
def test_a_pattern_that_counts_is_written(pattern: str):
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", BOMBS, ids=lambda pattern: pattern[:24])
async def test_patterns_that_explode(tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str):
    """However a pattern came into the database: neither it nor a text for it holds anybody up."""
    async with whole(tmp_path) as running:
        await running.database.run(
            lambda connection: (
                connection.execute(
                    "UPDATE messaging_group_agents SET engage_pattern = ? WHERE sender_scope = 'known'", (pattern,)
                ).get
            )
        )
        for number, text in enumerate(("a" * 50_000 + "!", "ab" * 25_000, "\u017fs" * 20_000)):
            frame = {"op": "message", "chat": "club", "message_id": f"{number}", "text": text, "sender": OWNER}
            reply = await running.account.ask({**frame, "group": True})
            assert reply.get("ok") is True, reply
        await running.ordinary()
    assert not _errors(caplog)


@pytest.mark.parametrize(
    "frame", [{"op": "message", "chat": CHANNEL}, {"op": "click"}, {"op": "named"}, {"op": None}, {}]
)
async def test_a_frame_that_lacks_something_is_told_what(tmp_path: Path, frame: dict[str, Any]):
    async with whole(tmp_path) as running:
        reply = await running.account.ask(frame)
        assert reply["error"]["code"] == "BadFrame"
        assert reply["error"]["message"]


async def test_a_chat_that_is_half_a_character_has_no_name(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with whole(tmp_path) as running:
        reply = await running.account.ask({"op": "named", "chat": "\ud800", "name": "x"})
        assert reply["error"]["code"] == "InvalidName"
        await running.ordinary()
    assert not _errors(caplog)


@pytest.mark.parametrize("moment", ["", "x" * 900_000, "\ud800", "2026\n", "\x1b[2J"])
async def test_a_time_that_is_none_is_not_remembered(tmp_path: Path, moment: str):
    """The router keeps its last decisions, and would keep this beside each."""
    async with whole(tmp_path) as running:
        frame = {"op": "message", "chat": "team", "message_id": "1", "text": "x", "sender": MEMBER, "timestamp": moment}
        assert (await running.account.ask({**frame, "group": True}))["ok"] is True
        (decision,) = running.router.recent("1")
        assert decision.event.timestamp is None
        assert (await running.account.ask({**frame, "timestamp": "2026-11-22T10:00:00Z"}))["ok"] is True
        assert running.router.recent("1")[0].event.timestamp == "2026-11-22T10:00:00Z"
