"""The Discord adapter keeps the contract, and delivers as people expect (F-47, F-58…60, F-73…75, F-128, F-129).

All against a server written from the public documentation (``tests/discord_api``), by the library itself.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract import CARD, AdapterContract, Received, attachment
from discord_stage import NAME, DiscordSide, Renaming, Stage

from discord_api.limits import Limit
from eventually import eventually
from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.rows import Address
from nanoclawd.sessions.ports import Delivered, Edit, PartialText, Reaction, ShownCard, Text, Undelivered

CODE = "Some words first.\n\n```python\n" + "\n".join(f"print({number})" for number in range(400)) + "\n```\n\nThe end."
TABLE = "| town | people |\n| --- | --- |\n| Ulm | 126000 |\n"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, monkeypatch)
    await made.api.start()
    made.make()
    yield made
    await made.end()


class TestDiscord(AdapterContract):
    @pytest.fixture
    def received(self) -> Received:
        return Renaming()

    @pytest.fixture
    def side(self, stage: Stage, received: Renaming) -> DiscordSide:
        return DiscordSide(stage, received)


def texts(stage: Stage, channel: str) -> list[str]:
    return stage.people.texts(channel)


async def test_an_answer_goes_to_the_thread_that_it_is_for(stage: Stage):
    """F-128, F-129: with a thread it is there, without one in the channel."""
    await stage.begin()
    channel = stage.people.channel("general")
    thread = stage.people.thread(channel, "plans")
    await stage.deliver(channel, Text("in the thread"), "row-1", thread=thread)
    await stage.deliver(channel, Text("in the channel"), "row-2")
    assert (texts(stage, thread), texts(stage, channel)) == (["in the thread"], ["in the channel"])


async def test_a_long_answer_comes_in_messages_whose_code_is_fenced_in_each(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    assert isinstance(await stage.deliver(channel, Text(CODE)), Delivered)
    shown = texts(stage, channel)
    assert len(shown) > 1
    assert all(len(one) <= 2000 and one.count("```") % 2 == 0 for one in shown)
    lines = [line for one in shown for line in one.splitlines() if line.startswith("print(")]
    assert lines == [f"print({number})" for number in range(400)]


async def test_a_table_comes_as_code_since_chats_have_none(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    await stage.deliver(channel, Text(f"Look:\n\n{TABLE}"))
    (shown,) = texts(stage, channel)
    assert shown.count("```") == 2
    assert "| ---" not in shown
    assert "Ulm" in shown


async def test_markdown_that_fits_is_left_to_the_platform(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    await stage.deliver(channel, Text("**bold** and _soft_, # no heading\n> quoted"))
    assert texts(stage, channel) == ["**bold** and _soft_, # no heading\n> quoted"]


async def test_people_may_be_notified_but_never_everybody(stage: Stage):
    await stage.begin()
    channel, alice = stage.people.channel("general"), stage.people.user_id("Alice")
    await stage.deliver(channel, Text(f"@everyone @here <@&{stage.api.world.role['id']}> <@{alice}>"))
    (shown,) = stage.people.shown(channel)
    assert shown["pings"] == [alice]


async def test_a_delivery_that_is_repeated_is_one_message(stage: Stage):
    """The answer to the request got lost: the platform knows the second by its nonce. Also by another daemon."""
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.fail("POST /channels/.*/messages$", status=503, after=True)
    first = await stage.deliver(channel, Text("once"), "row-7")
    assert isinstance(first, Undelivered)
    assert not first.permanent
    await stage.adapter.teardown()
    await stage.begin()
    assert isinstance(await stage.deliver(channel, Text("once"), "row-7"), Delivered)
    assert texts(stage, channel) == ["once"]
    assert len(stage.api.rest.repeats) == 1


async def test_a_retry_goes_on_where_the_first_attempt_has_ended(stage: Stage):
    """W-39: no part comes twice, though the platform has forgotten the nonces, and the daemon has died in between."""
    await stage.begin()
    channel = stage.people.channel("general")
    words = "\n\n".join(f"paragraph {number} " + "word " * 150 for number in range(9))
    # The third message of the answer meets a server that is away for a moment.
    posted = stage.api.world.post
    count = 0

    def breaking(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == 3:
            raise ValueError("told to fail")
        return posted(*arguments, **options)  # type: ignore[arg-type]

    stage.api.world.post = breaking  # type: ignore[method-assign,assignment]
    first = await stage.deliver(channel, Text(words), "row-5")
    assert isinstance(first, Undelivered)
    assert len(texts(stage, channel)) == 2
    stage.api.rest._nonces.clear()
    await stage.adapter.teardown()
    await stage.begin()
    second = await stage.deliver(channel, Text(words), "row-5")
    assert isinstance(second, Delivered)
    shown = texts(stage, channel)
    assert second.platform_message_id == stage.people.shown(channel)[0]["id"]
    assert [f"paragraph {number} " in "\n".join(shown) for number in range(9)] == [True] * 9
    assert "\n".join(shown).count("paragraph ") == 9


async def test_files_go_with_the_words_and_more_than_ten_in_more_messages(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    files = tuple(attachment(f"{number}.txt", b"%d" % number) for number in range(12))
    assert isinstance(await stage.deliver(channel, Text("twelve", files)), Delivered)
    first, second = stage.people.shown(channel)
    assert (first["text"], len(first["files"]), second["files"]) == ("twelve", 10, ["10.txt", "11.txt"])
    assert all(not file.file.closed for file in files)


async def test_a_card_has_buttons_and_loses_them_by_an_edit(stage: Stage):
    """F-73, F-74, F-75."""
    await stage.begin()
    channel = stage.people.channel("general")
    ten = Card("Which?", "", tuple(Option(f"Choice {number}", f"v{number}", "") for number in range(10)))
    outcome = await stage.deliver(channel, ShownCard(ten, "k3f9m2x7q1zp"), "row-1")
    assert isinstance(outcome, Delivered)
    (shown,) = stage.people.shown(channel)
    assert (shown["text"], shown["buttons"]) == ("**Which?**", [f"Choice {number}" for number in range(10)])
    assert [len(row["components"]) for row in stage.api.world.messages[channel][shown["id"]]["components"]] == [5, 5]
    await stage.deliver(channel, Edit(outcome.platform_message_id or "", "Which?\nChoice 3"), "row-2")
    (shown,) = stage.people.shown(channel)
    assert (shown["text"], shown["buttons"]) == ("Which?\nChoice 3", [])


async def test_a_card_longer_than_a_message_has_its_buttons_at_the_end_and_is_edited_there(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    long = Card("Read this", "word " * 700, CARD.options)
    outcome = await stage.deliver(channel, ShownCard(long, "k3f9m2x7q1zp"))
    assert isinstance(outcome, Delivered)
    shown = stage.people.shown(channel)
    assert [one["buttons"] for one in shown] == [[], ["Yes", "No"]]
    assert outcome.platform_message_id == shown[-1]["id"]
    await stage.deliver(channel, Edit(outcome.platform_message_id, "Went on"), "row-2")
    assert [one["buttons"] for one in stage.people.shown(channel)] == [[], []]


async def test_a_display_has_no_buttons(stage: Stage):
    """F-75."""
    await stage.begin()
    channel = stage.people.channel("general")
    await stage.deliver(channel, ShownCard(Card("Report", "All is well.", (), fallback="All is well."), ""))
    (shown,) = stage.people.shown(channel)
    assert (shown["text"], shown["buttons"]) == ("**Report**\nAll is well.", [])


async def test_an_edit_changes_all_messages_of_a_long_answer(stage: Stage):
    """F-58: shorter, what is too much goes; longer, what is missing comes."""
    await stage.begin()
    channel = stage.people.channel("general")
    outcome = await stage.deliver(channel, Text("one\n\n" + "word " * 900), "row-1")
    assert isinstance(outcome, Delivered)
    target = outcome.platform_message_id or ""
    assert len(texts(stage, channel)) == 3
    assert isinstance(await stage.deliver(channel, Edit(target, "short"), "row-2"), Delivered)
    assert texts(stage, channel) == ["short"]
    single = await stage.deliver(channel, Text("another"), "row-3")
    assert isinstance(single, Delivered)
    longer = await stage.deliver(channel, Edit(single.platform_message_id or "", "w " * 1500), "row-4")
    assert isinstance(longer, Delivered)
    assert " ".join(texts(stage, channel)[1:]).split() == ["w"] * 1500


@pytest.mark.parametrize("target", ["404", "", "m-1", "../1"])
async def test_what_is_not_there_can_not_be_changed(stage: Stage, target: str):
    """F-59, W-21."""
    await stage.begin()
    channel = stage.people.channel("general")
    for number, body in enumerate((Edit(target, "new words"), Reaction(target, "\N{THUMBS UP SIGN}"))):
        outcome = await stage.deliver(channel, body, f"row-{number}")
        assert isinstance(outcome, Undelivered)
        assert outcome.permanent
    assert texts(stage, channel) == []


async def test_reactions_are_the_platforms(stage: Stage):
    """F-60."""
    await stage.begin()
    channel = stage.people.channel("general")
    message = stage.people.say(channel, "hello")
    assert isinstance(await stage.deliver(channel, Reaction(message, "\N{THUMBS UP SIGN}")), Delivered)
    assert stage.people.shown(channel)[0]["reactions"] == ["\N{THUMBS UP SIGN}"]
    unknown = await stage.deliver(channel, Reaction(message, "thumbs"), "row-2")
    assert isinstance(unknown, Undelivered)
    assert unknown.permanent
    assert "Emoji" in unknown.reason


@pytest.mark.parametrize(
    ("pattern", "how", "permanent", "wait"),
    [
        ("POST .*/messages", {"status": 403}, True, None),
        ("POST .*/messages", {"status": 404}, True, None),
        ("POST .*/messages", {"status": 503}, False, None),
        ("POST .*/messages", {"status": 429, "retry_after": 90.0}, False, 90.0),
    ],
)
async def test_what_the_platform_refuses_is_told_with_its_reason(
    stage: Stage, pattern: str, how: dict[str, float], permanent: bool, wait: float | None
):
    """W-21: nothing that nobody can see counts as delivered."""
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.fail(pattern, times=1, **how)
    outcome = await stage.deliver(channel, Text("hello"))
    assert isinstance(outcome, Undelivered)
    assert outcome.permanent is permanent
    assert outcome.retry_after == wait
    assert "Discord" in outcome.reason
    assert texts(stage, channel) == []


async def test_who_takes_no_messages_is_told_for_good(stage: Stage):
    """W-21."""
    await stage.begin()
    alice = stage.people.user_id("Alice")
    chat = await stage.adapter.open_dm(alice)
    assert chat == stage.people.dm("Alice")
    stage.api.world.unsent_dms.add(alice)
    outcome = await stage.deliver(chat or "", Text("hello"))
    assert isinstance(outcome, Undelivered)
    assert outcome.permanent
    assert "Cannot send messages to this user" in outcome.reason
    assert await stage.adapter.open_dm("404") is None


@pytest.mark.parametrize("chat", ["", "town-hall", "..", "1/2", "1" * 21])
async def test_a_chat_of_no_platform_is_no_delivery(stage: Stage, chat: str):
    """W-21."""
    await stage.begin()
    before = len(stage.api.rest.log)
    outcome = await stage.deliver(chat, Text("hello"))
    assert isinstance(outcome, Undelivered)
    assert outcome.permanent
    assert not [name for _at, name in stage.api.rest.log[before:] if "messages" in name]


async def test_an_answer_is_shown_while_it_is_written_and_is_one_message_in_the_end(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    stage.adapter.show_progress(address, PartialText("m-1", "The beginning of an answer that takes its time to write"))
    await eventually(lambda: texts(stage, channel))
    assert texts(stage, channel) == ["The beginning of an answer that takes its time to write …"]
    whole = "The beginning of an answer that takes its time to write, and its end."
    outcome = await stage.deliver(channel, Text(whole, (attachment(),)), in_reply_to="m-1")
    assert isinstance(outcome, Delivered)
    (shown,) = stage.people.shown(channel)
    assert (shown["id"], shown["text"], shown["files"]) == (outcome.platform_message_id, whole, ["notes.txt"])
    await stage.adapter.end_turn(address, "m-1", completed=True)
    assert texts(stage, channel) == [whole]


async def test_half_an_answer_does_not_stay(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    stage.adapter.show_progress(address, PartialText("m-1", "The beginning of an answer that takes its time to write"))
    await eventually(lambda: texts(stage, channel))
    await stage.adapter.end_turn(address, "m-1", completed=False)
    assert texts(stage, channel) == []


async def test_a_beginning_that_was_posted_unheard_becomes_the_answer(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.fail("POST /channels/.*/messages$", status=503, after=True)
    progress = PartialText("m-1", "The beginning of an answer that takes its time to write")
    stage.adapter.show_progress(Address(NAME, channel), progress)
    await eventually(lambda: texts(stage, channel))
    outcome = await stage.deliver(channel, Text("The whole answer."), in_reply_to="m-1")
    assert isinstance(outcome, Delivered)
    assert texts(stage, channel) == ["The whole answer."]


async def test_half_an_answer_goes_once_discord_is_back(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    stage.adapter.show_progress(address, PartialText("m-1", "The beginning of an answer that takes its time to write"))
    await eventually(lambda: texts(stage, channel))
    stage.people.fail("DELETE /channels/.*/messages", status=503, times=2)
    await stage.adapter.end_turn(address, "m-1", completed=False)
    await eventually(lambda: not texts(stage, channel))


async def test_a_restart_in_the_middle_of_an_answer_leaves_one_message(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    stage.adapter.show_progress(address, PartialText("m-1", "The beginning of an answer that takes its time to write"))
    await eventually(lambda: texts(stage, channel))
    await eventually((stage.directory / "state" / "live.json").exists)
    await stage.adapter.teardown()
    await stage.begin()
    outcome = await stage.deliver(channel, Text("The whole answer."), in_reply_to="m-1")
    assert isinstance(outcome, Delivered)
    assert texts(stage, channel) == ["The whole answer."]


async def test_typing_and_threads(stage: Stage):
    """F-177: who subscribes becomes a member of the thread, once."""
    await stage.begin()
    channel = stage.people.channel("general")
    thread = stage.people.thread(channel, "plans")
    await stage.adapter.set_typing(Address(NAME, channel, thread))
    await stage.adapter.subscribe(Address(NAME, channel, thread))
    await stage.adapter.subscribe(Address(NAME, channel, thread))
    assert stage.people.typed(thread) == 1
    assert stage.people.joined(thread)


async def test_rate_limits_are_kept_and_nothing_is_lost(stage: Stage):
    stage.api.rest.buckets.routes["POST messages"] = Limit(3, 0.5)
    await stage.begin()
    channels = [stage.people.channel(name) for name in ("a", "b")]
    began = asyncio.get_running_loop().time()
    outcomes = await asyncio.gather(
        *(
            stage.deliver(channel, Text(f"text {number}"), f"{channel}-{number}")
            for channel in channels
            for number in range(12)
        )
    )
    took = asyncio.get_running_loop().time() - began
    assert all(isinstance(one, Delivered) for one in outcomes)
    assert all(sorted(texts(stage, one)) == sorted(f"text {number}" for number in range(12)) for one in channels)
    # Twelve at three in half a second: the last ones may go after 1.5 s. No more than a fifth is waited beyond.
    assert took < 1.5 * 1.2 + 0.3
    assert stage.api.rest.buckets.exceeded == {}


async def test_a_global_limit_is_waited_for(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.fail("POST .*/messages", status=429, retry_after=0.3, everywhere=True)
    assert isinstance(await stage.deliver(channel, Text("hello")), Delivered)
    assert texts(stage, channel) == ["hello"]


async def test_who_gives_up_waiting_for_the_global_limit_locks_nobody_out(stage: Stage):
    await stage.begin()
    channel = stage.people.channel("general")
    stage.people.fail("POST .*/messages", status=429, retry_after=20.0, everywhere=True)
    waiting = asyncio.create_task(stage.deliver(channel, Text("first"), "row-1"))
    await eventually(lambda: not stage.api.rest.failures[0].times)
    await asyncio.sleep(0.05)  # the answer is on its way: nothing tells when it has been read
    waiting.cancel()
    await asyncio.wait({waiting})
    async with asyncio.timeout(5):
        assert isinstance(await stage.deliver(channel, Text("second"), "row-2"), Delivered)
