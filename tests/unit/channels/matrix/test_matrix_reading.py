"""What other people's programs may send on Matrix: read strictly, and never in the way of what follows."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclawd.channels.adapter import ChannelPlaces, InvalidOption
from nanoclawd.channels.matrix import create
from nanoclawd.channels.matrix.backlog import Backlog
from nanoclawd.channels.matrix.keys import Keys
from nanoclawd.channels.matrix.options import Options, check, may_invite
from nanoclawd.channels.matrix.reading import Malformed, Said, read, without_fallback
from nanoclawd.channels.matrix.state import Device, Progress, Sealed, Store
from nanoclawd.routing.event import Change

ADA = "@ada:bed.test"
MXC = "mxc://bed.test/AbCdEf"


def event(content: Any, kind: str = "m.room.message", **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "content": content,
        "sender": ADA,
        "event_id": "$one",
        "origin_server_ts": 1_767_000_000_000,
        **more,
    }


def said(content: Any, kind: str = "m.room.message", **more: Any) -> Said:
    found = read(event(content, kind, **more))
    assert found is not None
    return found


def text(body: str, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, **more}


def test_words_of_all_kinds():
    assert said(text("hello")).text == "hello"
    assert said(text("hello")).timestamp == "2025-12-29T09:20:00.000Z"
    assert said({"msgtype": "m.emote", "body": "waves"}).text == "* waves"
    assert said({"msgtype": "m.location", "body": "here", "geo_uri": "geo:1,2"}).text == "here\ngeo:1,2"
    assert said({"msgtype": "com.example.new", "body": "as words"}).text == "as words"
    assert read(event({"msgtype": "m.notice", "body": "by a program"})) is None
    poll = {"m.poll.start": {"question": {"m.text": [{"body": "Tea?"}]}, "answers": [{"m.text": [{"body": "Yes"}]}]}}
    assert said(poll, "m.poll.start").text == "[poll] Tea?\n- Yes"
    old = {"question": {"org.matrix.msc1767.text": "Tea?"}, "answers": [{"org.matrix.msc1767.text": "No"}]}
    assert said({"org.matrix.msc3381.poll.start": old}, "org.matrix.msc3381.poll.start").text == "[poll] Tea?\n- No"


def test_files_with_and_without_words():
    info = {"mimetype": "image/png", "size": 7}
    image = {"msgtype": "m.image", "body": "cat.png", "url": MXC, "info": info}
    (file,) = said(image).files
    assert (said(image).text, file.name, file.media_type, file.size) == ("", "cat.png", "image/png", 7)
    assert json.loads(file.reference) == {"u": MXC}
    captioned = said({**image, "body": "look", "filename": "cat.png"})
    assert (captioned.text, captioned.files[0].name) == ("look", "cat.png")
    key = {"k": "a" * 43}
    sealed = {"url": MXC, "key": key, "iv": "b", "hashes": {"sha256": "c"}}
    hidden = said({"msgtype": "m.file", "body": "x", "file": sealed})
    assert json.loads(hidden.files[0].reference) == {"u": MXC, "k": "a" * 43, "i": "b", "h": "c"}
    sticker = said({"body": "a cat", "url": MXC, "info": info}, "m.sticker")
    assert (sticker.text, len(sticker.files)) == ("[sticker] a cat", 1)


def test_relations():
    thread = {
        "rel_type": "m.thread",
        "event_id": "$root",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": "$last"},
    }
    found = said(text("in it", **{"m.relates_to": thread}))
    assert (found.thread, found.reply_to) == ("$root", None)
    real = said(text("to you", **{"m.relates_to": {**thread, "is_falling_back": False}}))
    assert (real.thread, real.reply_to) == ("$root", "$last")
    replaced = text(
        "* new", **{"m.new_content": text("new"), "m.relates_to": {"rel_type": "m.replace", "event_id": "$old"}}
    )
    edit = said(replaced)
    assert (edit.change, edit.about, edit.text) == (Change.EDITED, "$old", "new")
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$old", "key": "👍"}}
    assert said(reaction, "m.reaction").change is Change.REACTED
    for redaction in (event({}, "m.room.redaction", redacts="$old"), event({"redacts": "$old"}, "m.room.redaction")):
        gone = read(redaction)
        assert gone is not None
        assert (gone.change, gone.about) == (Change.DELETED, "$old")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("plain", "plain"),
        ("> <@a:b> one\n> two\n\nanswer", "answer"),
        ("> <@a:b> one\nanswer", "answer"),
        ("> <@a:b> one", ""),
        (">no quote", ">no quote"),
    ],
)
def test_an_old_reply_s_quote_is_taken_off(body: str, left: str):
    assert without_fallback(body) == left


def test_mentions_are_what_the_event_says_and_no_guess():
    bot = "@bot:bed.test"
    assert said(text("hey @bot:bed.test bot")).mentioned == frozenset()
    assert said(text("hey", **{"m.mentions": {"user_ids": [bot, 7, "no id"]}})).mentioned == {bot}
    html = f'<a href="https://matrix.to/#/{bot}">bot</a> <a href="https://matrix.to/#/%40eve%3Abed.test">eve</a>'
    assert said(text("hey", formatted_body=html)).mentioned == {bot, "@eve:bed.test"}
    assert said(text("hey", formatted_body=html, **{"m.mentions": {}})).mentioned == frozenset()


@pytest.mark.parametrize(
    "odd",
    [
        7,
        {},
        {"type": "m.room.message"},
        event(text("hello"), sender="bob"),
        event(text("hello"), event_id="no id"),
        event(text("hello"), event_id="$" + "x" * 300),
        event({"msgtype": "m.text"}),
        event({"body": "hello"}),
        event({"msgtype": "m.image", "body": "x"}),
        event({"msgtype": "m.image", "body": "x", "url": "https://elsewhere"}),
        event({"msgtype": "m.file", "body": "x", "file": {"url": MXC}}),
        event({"m.relates_to": {"rel_type": "m.annotation"}}, "m.reaction"),
        event({}, "m.room.redaction"),
        event({"m.poll.start": {}}, "m.poll.start"),
    ],
)
def test_what_is_malformed_is_named_so(odd: object):
    with pytest.raises(Malformed):
        read(odd)


_keys = st.sampled_from(
    [
        "type",
        "content",
        "sender",
        "event_id",
        "origin_server_ts",
        "body",
        "msgtype",
        "m.relates_to",
        "rel_type",
        "key",
        "m.in_reply_to",
        "m.new_content",
        "m.mentions",
        "user_ids",
        "url",
        "file",
        "info",
        "size",
        "redacts",
        "unsigned",
        "m.poll.start",
        "question",
        "answers",
        "m.text",
        "iv",
        "k",
        "hashes",
        "sha256",
        "is_falling_back",
        "state_key",
        "events",
        "timeline",
        "state",
        "join",
        "invite",
        "rooms",
        "to_device",
        "limited",
        "prev_batch",
        "invite_state",
    ]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=6),
    max_leaves=20,
)
_kinds = st.sampled_from(
    ["m.room.message", "m.sticker", "m.reaction", "m.room.redaction", "m.poll.start", "m.room.member"]
)
_events = st.builds(
    lambda content, kind, more: {**event(content, kind), **more},
    st.dictionaries(_keys, _json, max_size=6) | _json,
    _kinds,
    st.dictionaries(_keys, _json, max_size=3),
)


@settings(max_examples=250, deadline=None)
@given(_events | _json)
def test_any_event_is_read_or_malformed(odd: Any):
    try:
        found = read(odd)
    except Malformed:
        return
    if found is not None:
        assert found.event_id.startswith("$")
        assert (found.change is None) == (found.about is None)
        assert found.timestamp is None or found.timestamp.endswith("Z")


@pytest.fixture(scope="module")
def keys_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@settings(max_examples=60, deadline=None)
@given(st.lists(_events, max_size=4), st.lists(_json, max_size=3), _json)
async def test_any_sync_is_taken_in(keys_place: Path, events: list[Any], between: list[Any], odd: Any):
    """What the library fails at is left out; what is beside it is learnt."""
    device = Device("http://127.0.0.1:1", "@bot:bed.test", "DEVICE", "token", "k" * 32, "")
    keys = Keys(device, Store(keys_place), encryption=True, seconds=1.0)
    member = {"type": "m.room.member", "state_key": ADA, "sender": ADA, "event_id": "$m", "origin_server_ts": 1}
    state = {"events": [*events, {**member, "content": {"membership": "join"}}]}
    raw = {
        "next_batch": "s1",
        "rooms": {
            "join": {"!a:bed.test": {"state": state, "timeline": {"events": [*events, odd], "limited": False}}},
            "invite": {"!b:bed.test": {"invite_state": {"events": events}}},
        },
        "to_device": {"events": between},
        "account_data": {"events": between},
        "device_lists": {"changed": between},
    }
    try:
        await keys.take_in(json.loads(json.dumps(raw)))
        assert ADA in keys.rooms["!a:bed.test"].users
    finally:
        await keys.close()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "homeserver"),
        ({"homeserver": "https://x"}, "user"),
        ({"homeserver": "http://matrix.example.org", "user": "bot"}, "homeserver"),
        ({"homeserver": "ftp://x", "user": "bot"}, "homeserver"),
        ({"homeserver": "https://a@b", "user": "bot"}, "homeserver"),
        ({"homeserver": "no name!", "user": "bot"}, "homeserver"),
        ({"homeserver": "https://x", "user": "a b"}, "user"),
        ({"homeserver": "https://x", "user": "bot", "login": "magic"}, "login"),
        ({"homeserver": "https://x", "user": "bot", "token": "secret"}, "token"),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, object], key: str, tmp_path: Path):
    with pytest.raises(InvalidOption) as refused:
        create("mx", options, ChannelPlaces(tmp_path, tmp_path))
    assert refused.value.option == key


def test_who_may_invite(tmp_path: Path):
    """By default only people of the account's own server."""
    here = tmp_path
    own = Options(homeserver="example.org", user="bot")
    check(own)
    assert may_invite(own, "@bot:example.org", "@ada:example.org")
    for stranger in ("@ada:elsewhere.org", "@ada:example.org.evil", "ada", "@:example.org"):
        assert not may_invite(own, "@bot:example.org", stranger)
    some = Options(homeserver="example.org", user="bot", invites=("@*:friends.org",))
    assert may_invite(some, "@bot:example.org", "@x:friends.org")
    assert not may_invite(some, "@bot:example.org", "@ada:example.org")
    for nobody in ((), "nobody", ""):
        assert not may_invite(Options(homeserver="example.org", user="bot", invites=nobody), "@bot:a", "@ada:a")
    typed = create(
        "mx", {"homeserver": "https://x", "user": "b", "invites": "@*:a.org @bob:b.org"}, ChannelPlaces(here, here)
    )
    assert may_invite(typed._options, "@bot:c.org", "@ada:a.org")
    assert may_invite(typed._options, "@bot:c.org", "@bob:b.org")
    assert not may_invite(typed._options, "@bot:c.org", "@ada:b.org")


def test_what_is_kept_is_found_again_and_broken_files_are_begun_anew(tmp_path: Path):
    store = Store(tmp_path)
    assert store.device() is None
    progress = Progress("s1", {"!a"}, {"!b": ADA}, {"!c": "!d"}, [Sealed("!a", event(text("x")), 1.0, told=True)])
    store.keep_progress(progress)
    assert Store(tmp_path).progress() == progress
    for broken in ("", "{", "[]", '{"since": 7}'):
        (tmp_path / "progress.json").write_text(broken)
        (tmp_path / "device.json").write_text(broken)
        assert store.progress() == Progress()
        assert store.device() is None


async def test_how_far_all_is_done_is_said_in_order():
    """A token is kept only after everything of its sync, and of those before it."""
    finished: list[str] = []
    done = asyncio.Event()

    def finish(token: str) -> None:
        finished.append(token)
        if token == "3":
            done.set()

    gates = {name: asyncio.Event() for name in ("a", "b")}
    order: list[str] = []

    def work(name: str, gate: str) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            await gates[gate].wait()
            order.append(name)

        return do

    backlog = Backlog()
    for token, jobs in (("1", [("a", "a1")]), ("2", [("b", "b1"), ("a", "a2")]), ("3", [])):
        backlog.begin(partial(finish, token))
        for chat, name in jobs:
            backlog.add(chat, work(name, chat))
        backlog.end()
    gates["b"].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (order, finished) == (["b1"], [])
    gates["a"].set()
    await asyncio.wait_for(done.wait(), 20)
    assert order == ["b1", "a1", "a2"]
    assert finished == ["1", "2", "3"]
    await backlog.stop()
