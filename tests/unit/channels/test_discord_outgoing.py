"""What is posted on Discord fits its limits, whatever agents write, and nothing is lost (W-39: the same each time)."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from discord_stage import NAME, Stage
from hypothesis import given
from hypothesis import strategies as st

from discord_api import rules
from discord_api.limits import Limit
from eventually import eventually
from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.discord import outgoing
from nanoclawd.sessions.ports import Delivered, PartialText, Text

WORDS = st.lists(st.text(st.characters(categories=["L", "N", "So"]), min_size=1, max_size=60), max_size=300)
TABLE = "| a | b |\n|-|-|\n| c | d |\n"
MARKS = st.sampled_from(["word ", "**bold** ", "`code` ", "\n\n", "\n", "```\n", "```py\n", "> ", "- ", TABLE])
MARKDOWN = st.lists(MARKS | st.text(max_size=30), max_size=200).map("".join)


@given(text=MARKDOWN)
def test_every_piece_can_be_posted(text: str):
    for piece in outgoing.pieces(text):
        assert piece.strip()
        assert not rules.faults({"content": piece}, 0)
        assert "\0" not in piece
        piece.encode()


@given(words=WORDS)
def test_no_word_is_lost_and_none_comes_twice(words: list[str]):
    pieces = outgoing.pieces(" ".join(words))
    assert "".join("".join(pieces).split()) == "".join("".join(words).split())


@given(text=st.text(max_size=5000))
def test_a_beginning_fits(text: str):
    assert rules.length(outgoing.cut(text)) <= rules.MAX_CONTENT


@given(delivery=st.text(max_size=3000), part=st.integers(0, 1000))
def test_a_nonce_is_the_same_each_time_and_short_enough(delivery: str, part: int):
    nonce = outgoing.nonce(delivery, part)
    assert nonce == outgoing.nonce(delivery, part)
    assert len(nonce) <= rules.MAX_NONCE
    assert nonce != outgoing.nonce(delivery, part + 1)


@given(
    labels=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=10),
    card_id=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=120),
)
def test_buttons_fit_and_are_read_back_as_what_they_mean(labels: list[str], card_id: str):
    rows = outgoing.buttons(Card("?", "", tuple(Option(label, label, "") for label in labels)), card_id)
    if rows is None:
        assert len(f"nanoclaw:{card_id}:1") + 1 > rules.MAX_CUSTOM_ID
        return
    assert not rules.faults({"content": "?", "components": rows}, 0)
    read = [outgoing.chosen(button["custom_id"]) for row in rows for button in row["components"]]
    assert read == [(card_id, f"#{number}") for number in range(1, len(labels) + 1)]


@given(text=st.text(max_size=120))
def test_any_button_is_read_or_is_none_of_ours(text: str):
    found = outgoing.chosen(text)
    assert found is None or text == f"nanoclaw:{found[0]}:{found[1].removeprefix('#')}"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, monkeypatch)
    await made.api.start()
    await made.begin()
    yield made
    await made.end()


async def test_many_chats_together_keep_the_limit_for_all_requests(stage: Stage):
    """W-39: the service has to refuse none."""
    stage.api.rest.buckets.everything = Limit(50, 1.0)
    rooms = [stage.people.channel(f"room-{number}") for number in range(120)]
    waiting = asyncio.gather(*(stage.deliver(room, Text("hello"), f"row {room}") for room in rooms))
    assert all(isinstance(one, Delivered) for one in await waiting)
    assert stage.people.counts()["exceeded"] == {}
    assert all(stage.people.texts(room) == ["hello"] for room in rooms)


async def test_answers_in_the_making_keep_to_their_pace_in_a_channel(stage: Stage):
    """Two agents write in one channel: no two changes within a second and a half all the same."""
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    began = asyncio.get_running_loop().time()
    number = 0
    while asyncio.get_running_loop().time() < began + 6:
        number += 1
        for asked in ("m-1", "m-2"):
            text = f"An answer to {asked} that has grown to {number} pieces by now: " + "more " * number
            stage.adapter.show_progress(address, PartialText(asked, text))
        await asyncio.sleep(0.02)  # as a model writes
    shown = [at for at, name in stage.api.rest.log if "/messages" in name]
    assert len(shown) >= 3
    assert min(later - earlier for earlier, later in pairwise(shown)) >= 1.4
    assert all(rules.length(text) <= rules.MAX_CONTENT for text in stage.people.texts(channel))
    await eventually(lambda: len(stage.people.texts(channel)) == 2)
