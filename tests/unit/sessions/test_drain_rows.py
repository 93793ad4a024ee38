"""What an agent's rows mean: words and files, questions, changes of messages, requests; and where they may go."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from session_stage import CHAT, SESSION, Platform, Stage, message, said

from nanoclaw_runner.contract import cards, clock
from nanoclaw_runner.contract.rows import Address, OutboundRow
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.sessions import courier
from nanoclawd.sessions.drain import LONGEST_RETRY_SECONDS, MAX_ATTEMPTS
from nanoclawd.sessions.inbound import Delivery, Inbound
from nanoclawd.sessions.ports import Delivered, Edit, Outgoing, Reaction, SessionRef, ShownCard, Text, Undelivered

ELSEWHERE = Address("memory", "elsewhere")
CARD = cards.Card("Deploy?", "To production.", (cards.Option("Yes", "yes", "Deployed"), cards.Option("No", "no", "No")))


def numbered(outgoing: Outgoing) -> Delivered:
    """A platform that gives each message a number."""
    return Delivered(f"p-{outgoing.id}")


async def state(stage: Stage, row_id: str) -> Delivery:
    return (await stage.files.read(lambda inbound: inbound.deliveries([row_id])))[row_id]


async def notes(stage: Stage) -> list[str]:
    """What the agent is told, as context."""

    def read(inbound: Inbound) -> list[str]:
        return [
            json.loads(str(inbound.content_of(row.id)))["text"]
            for row in inbound.pending()
            if row.id.startswith("delivery-failed-")
        ]

    return await stage.files.read(read)


def to(address: Address) -> dict[str, object]:
    return {"channel_type": address.channel_type, "platform_id": address.platform_id, "thread_id": address.thread_id}


async def make_due(stage: Stage) -> None:
    past = clock.now_text(plus_seconds=-1)
    stage.query_inbound("UPDATE delivered SET next_attempt_at = ? WHERE next_attempt_at IS NOT NULL", past)


# Where it may go.


@pytest.mark.parametrize("thread", [None, "t1", "another"])
async def test_its_own_chat_is_any_thread_of_it(stage: Stage, thread: str | None):
    stage.write_out("r1", thread_id=thread)
    await stage.run()
    assert [outgoing.address for outgoing in stage.platform.got] == [Address("memory", "chat", thread)]


async def test_another_chat_needs_leave(stage: Stage):
    """And loses it: it is judged when the row is to go."""
    stage.rules.chats.add(("memory", "elsewhere"))
    stage.write_out("allowed", **to(ELSEWHERE))
    await stage.run()
    stage.rules.chats.clear()
    stage.write_out("refused", **to(ELSEWHERE))
    drained = await stage.run()
    assert stage.platform.ids == ["allowed"]
    assert [problem.text for problem in drained.problems] == [
        "A reply of the agent was refused: this agent may not write to that chat."
    ]


async def test_who_waits_for_it_is_told_where_they_are(stage: Stage):
    """In the chat of the message that the row answers, whatever chat the row itself names."""
    stage.session = SessionRef(SESSION.id, "main", None, "ag-1")
    await stage.restart()
    await stage.files.append(message("m1", address=ELSEWHERE))
    stage.write_out("r1", in_reply_to="m1")
    stage.write_out("r2", in_reply_to="nothing")
    drained = await stage.run()
    assert {problem.address for problem in drained.problems} == {ELSEWHERE, None}
    assert len(await notes(stage)) == 1
    assert stage.query_inbound("SELECT platform_id FROM messages_in WHERE id LIKE 'delivery-failed-%'") == "elsewhere"


# Failures.


@pytest.mark.parametrize(("asked", "waited"), [(1.0, 5), (90.0, 90), (1e9, LONGEST_RETRY_SECONDS)])
async def test_a_platform_that_asks_for_time_gets_it(stage: Stage, asked: float, waited: float):
    """W-11: a rate limit is no loss. Never less than the host's own back-off, never for ever."""
    stage.platform.answer = lambda _outgoing: Undelivered("slow down", retry_after=asked)
    stage.write_out("r1")
    begun = clock.now()
    await stage.run()
    again = clock.parse((await state(stage, "r1")).next_attempt_at or "") - begun
    assert timedelta(seconds=waited - 0.01) <= again < timedelta(seconds=waited + 5)


async def test_a_platform_that_asks_for_time_again_and_again_costs_no_attempts(stage: Stage):
    """W-11: in a long burst a row may be asked to wait far more often than a fault would be tolerated."""
    stage.platform.answer = lambda _outgoing: Undelivered("slow down", retry_after=1)
    stage.write_out("r1")
    for _ in range(3 * MAX_ATTEMPTS):
        await stage.run()
        await make_due(stage)
    found = await state(stage, "r1")
    assert (found.status, found.reason) == ("pending", "slow down")
    stage.platform.answer = lambda _outgoing: Delivered("p1")
    await stage.run()
    assert (await state(stage, "r1")).status == "delivered"
    assert await notes(stage) == []


async def test_a_platform_that_asks_for_time_forgives_no_fault(stage: Stage):
    """Of faults there are as many as ever, whatever lies between them."""
    answers = [Undelivered("down"), Undelivered("slow down", retry_after=1)] * (MAX_ATTEMPTS - 1)
    stage.platform.answer = lambda _outgoing: answers.pop(0) if answers else Undelivered("down")
    stage.write_out("r1")
    for _ in range(2 * MAX_ATTEMPTS - 1):
        await stage.run()
        await make_due(stage)
    assert (await state(stage, "r1")).status == "failed"


async def test_attempts_are_counted_over_restarts(stage: Stage):
    """W-11: in the database, not in memory."""
    stage.platform.answer = lambda _outgoing: Undelivered("down")
    stage.write_out("r1")
    for _ in range(MAX_ATTEMPTS):
        await stage.run()
        await make_due(stage)
        await stage.restart()
    assert (await state(stage, "r1")).status == "failed"
    assert (await state(stage, "r1")).attempts == MAX_ATTEMPTS
    assert await notes(stage) == ["A reply could not be delivered: down."]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"kind": "system", "content": "{}"}, "nothing here knows that"),
        ({"kind": "card", "content": '{"text": "no title"}'}, "title"),
        ({"kind": "card", "content": "{}"}, "title"),
        ({"channel_type": None}, "no address"),
        ({"kind": "card", "content": cards.to_content(CARD), "platform_id": None}, "no address"),
        ({"channel_type": "nowhere"}, "may not write"),
    ],
)
async def test_nothing_that_was_not_done_counts_as_done(stage: Stage, columns: dict[str, object], words: str):
    """W-21: an unknown action, a card without a title, a missing address: failed, logged, told to agent and person."""
    stage.rules.fails.append(Refused("nothing here knows that"))
    stage.write_out("r1", **columns)
    drained = await stage.run()
    assert (await state(stage, "r1")).status == "failed"
    assert words in drained.problems[0].text
    assert words in (await notes(stage))[0]
    assert (drained.delivered, stage.platform.got) == (0, [])


# Questions.


async def test_a_question_is_kept_before_it_is_shown(stage: Stage):
    """F-26: under the id that its buttons carry, the same at each attempt."""
    answers: list[Delivered | Undelivered] = [Undelivered("later"), Delivered("p1")]
    shown: list[object] = []

    def answer(outgoing: Outgoing) -> Delivered | Undelivered:
        assert stage.rules.questions == {"q1": (CARD, CHAT)}
        shown.append(outgoing.body)
        return answers.pop(0)

    stage.platform.answer = answer
    stage.write_out("q1", kind="card", content=cards.to_content(CARD))
    await stage.run()
    await make_due(stage)
    await stage.run()
    assert shown == [ShownCard(CARD, "card-q1")] * 2
    assert (await state(stage, "q1")).platform_message_id == "p1"


async def test_a_question_that_nobody_saw_is_withdrawn(stage: Stage):
    stage.platform.answer = lambda _outgoing: Undelivered("the chat has gone", permanent=True)
    stage.write_out("q1", kind="card", content=cards.to_content(CARD))
    drained = await stage.run()
    assert stage.rules.questions == {}
    assert drained.problems[0].text == "A question could not be delivered: the chat has gone."


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unavailable("the disk"), "pending"), (Refused("too many"), "failed"), (KeyError(), "pending")],
)
@pytest.mark.parametrize("kind", ["card", "system"])
async def test_the_houses_own_trouble(stage: Stage, kind: str, error: Exception, status: str):
    """What may pass is tried again; an exception that nobody expected ends in the journal, and never a drain."""
    stage.rules.fails.append(error)
    stage.write_out("r1", kind=kind, content=cards.to_content(CARD))
    stage.write_out("r2")
    await stage.run()
    assert (await state(stage, "r1")).status == status
    # What is said in the same chat stays behind what is tried again.
    assert stage.platform.ids == ([] if kind == "card" and status == "pending" else ["r2"])
    await make_due(stage)
    await stage.run()
    assert (await state(stage, "r1")).status == ("delivered" if status == "pending" else "failed")


# Requests.


async def test_a_request_is_handed_on_once(stage: Stage):
    """It needs no address, and no chat has to be in reach."""
    stage.platform.away = True
    stage.write_out("s1", kind="system", content='{"action": "control"}', channel_type=None, platform_id=None)
    await stage.run()
    await stage.run()
    assert [row.content for row in stage.rules.requests] == ['{"action": "control"}']
    assert (await state(stage, "s1")).status == "delivered"


async def test_a_request_that_hangs_holds_nothing_up(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """And is not begun again: part of it may have been done."""
    monkeypatch.setattr(courier, "REQUEST_SECONDS", 0.05)
    begun: list[str] = []

    async def hang(_session: SessionRef, row: OutboundRow) -> None:
        begun.append(row.id)
        await asyncio.Event().wait()

    monkeypatch.setattr(stage.rules, "request", hang)
    stage.write_out("s1", kind="system", content="{}")
    stage.write_out("r1")
    drained = await stage.run()
    await stage.run()
    assert (begun, stage.platform.ids) == (["s1"], ["r1"])
    assert "was not done with it" in drained.problems[0].text


# Changes of earlier messages.


@pytest.mark.parametrize("by", ["number", "text", "id"])
async def test_a_reaction_names_the_platforms_own_id(stage: Stage, by: str):
    """W-2: the agent knows a number or an id of ours; the platform gets its own, without what the host appended."""
    await stage.files.append(message("55:main", platform_message_id="55"))
    reference: dict[str, object] = {"number": 2, "text": "2", "id": "55:main"}
    stage.write_out("r1", content=json.dumps({"operation": "reaction", "messageId": reference[by], "emoji": "👍"}))
    await stage.run()
    assert [outgoing.body for outgoing in stage.platform.got] == [Reaction("55", "👍")]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("by_number", [True, False])
async def test_an_edit_of_its_own_message(stage: Stage, later: bool, by_number: bool):
    """W-2: in the same breath with the message, and long after it: what was delivered is not read again."""
    stage.platform.answer = numbered
    seq = stage.write_out("r1")
    if later:
        await stage.run()
        await stage.restart()
    target = seq if by_number else "r1"
    stage.write_out("e1", content=json.dumps({"operation": "edit", "messageId": target, "text": "better"}))
    await stage.run()
    assert [outgoing.body for outgoing in stage.platform.got] == [Text("r1"), Edit("p-r1", "better")]


async def test_an_edit_without_an_address_stays_in_the_chat(stage: Stage):
    stage.platform.answer = numbered
    stage.write_out("r1")
    content = json.dumps({"operation": "edit", "messageId": "r1", "text": "x"})
    stage.write_out("e1", content=content, channel_type=None, platform_id=None)
    await stage.run()
    assert stage.platform.got[1].address == CHAT


async def test_an_edit_waits_for_its_message(stage: Stage):
    """Its target is tried again later: an edit that went before it would be of nothing."""
    results: list[Delivered | Undelivered] = [Undelivered("later")]
    stage.platform.answer = lambda outgoing: results.pop(0) if results else numbered(outgoing)
    stage.write_out("r1")
    stage.write_out("e1", content=json.dumps({"operation": "edit", "messageId": "r1", "text": "x"}))
    await stage.run()
    assert ((await state(stage, "e1")).status, stage.platform.got) == ("pending", [])
    await make_due(stage)
    await stage.run()
    assert [outgoing.body for outgoing in stage.platform.got] == [Text("r1"), Edit("p-r1", "x")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"operation": "edit", "messageId": 2, "text": "x"}, "messages of its own"),
        ({"operation": "edit", "messageId": 99, "text": "x"}, "no message 99"),
        ({"operation": "edit", "messageId": 98, "text": "x"}, "no message 98"),
        ({"operation": "edit", "messageId": "nobody", "text": "x"}, "no message nobody"),
        ({"operation": "edit", "messageId": "r-failed", "text": "x"}, "was not delivered"),
        ({"operation": "edit", "messageId": "r-nameless", "text": "x"}, "has no name"),
        ({"operation": "reaction", "messageId": 4, "emoji": "x"}, "has no name"),
        ({"operation": "edit", "messageId": "r-there", "text": "x"}, "in another chat"),
        ({"operation": "reaction", "messageId": 6, "emoji": "x"}, "in another chat"),
        ({"operation": "reaction", "messageId": 2, "emoji": "x" * 65}, "emoji"),
        ({"operation": "reaction", "messageId": 2}, "emoji"),
        ({"operation": "reaction", "messageId": 2, "emoji": "\x1b[2J"}, "emoji"),
        ({"operation": "edit", "messageId": 2}, "text"),
        ({"operation": "edit", "messageId": True, "text": "x"}, "messageId"),
        ({"operation": "edit", "messageId": -1, "text": "x"}, "messageId"),
        ({"operation": "edit", "messageId": 10**30, "text": "x"}, "messageId"),
        ({"operation": "edit", "messageId": "", "text": "x"}, "messageId"),
        ({"operation": "edit", "messageId": "x" * 2000, "text": "x"}, "messageId"),
        ({"operation": ["edit"], "messageId": 2, "text": "x"}, "neither edit nor reaction"),
    ],
)
async def test_a_change_of_what_is_not_its_own(stage: Stage, change: dict[str, object], words: str):
    """No person's message, no other chat's, none of the host's: a platform's ids are unique in a chat only."""
    await stage.files.append(message("m2", platform_message_id="55"))
    await stage.files.append(message("m4"))
    await stage.files.append(message("m6", platform_message_id="66", address=ELSEWHERE))
    stage.rules.chats.add(("memory", "elsewhere"))

    def answer(outgoing: Outgoing) -> Delivered | Undelivered:
        if outgoing.id == "r-failed":
            return Undelivered("no", permanent=True)
        return Delivered() if outgoing.id == "r-nameless" else numbered(outgoing)

    stage.platform.answer = answer
    for name in ("r-failed", "r-nameless"):
        stage.write_out(name)
    stage.write_out("r-there", **to(ELSEWHERE))
    await stage.run()
    before = len(stage.platform.got)
    stage.write_out("e1", content=json.dumps(change))
    drained = await stage.run()
    assert words in drained.problems[0].text
    assert len(stage.platform.got) == before


async def test_a_container_that_rewrites_its_past(stage: Stage):
    """Where a message went is the host's own knowledge: a row that claims another chat afterwards changes nothing."""
    stage.rules.chats.add(("memory", "elsewhere"))
    stage.platform.answer = numbered
    seq = stage.write_out("r1")
    await stage.run()
    with apsw.Connection(str(stage.paths.outbound_db)) as connection:
        connection.execute("UPDATE messages_out SET platform_id = 'elsewhere' WHERE id = 'r1'")
    connection.close()
    change = json.dumps({"operation": "edit", "messageId": seq, "text": "approved"})
    stage.write_out("e1", content=change, **to(ELSEWHERE))
    drained = await stage.run()
    assert "in another chat" in drained.problems[0].text
    assert stage.platform.ids == ["r1"]


async def test_a_database_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path):
    """What was delivered then is known as delivered; where it went is not, so it can't be changed."""
    stage = Stage(tmp_path, Platform(answer=numbered))
    await stage.files.make()
    stage.write_out("r1")
    await stage.run()
    await stage.files.close()
    for column in ("channel_type", "platform_id"):
        stage.query_inbound(f"ALTER TABLE delivered DROP COLUMN {column}")
    await stage.restart()
    stage.write_out("e1", content=json.dumps({"operation": "edit", "messageId": "r1", "text": "x"}))
    stage.write_out("r2")
    drained = await stage.run()
    assert "can't be changed" in drained.problems[0].text
    assert stage.platform.ids == ["r1", "r2"]
    await stage.end()


# Files.


def put(stage: Stage, name: str, data: bytes = b"data") -> Path:
    path = stage.paths.outbound_files / name
    path.write_bytes(data)
    path.chmod(0o660)
    return path


async def test_files_go_with_the_words_and_are_removed(stage: Stage):
    read: list[tuple[str, int, bytes]] = []

    def answer(outgoing: Outgoing) -> Delivered:
        assert isinstance(outgoing.body, Text)
        read.extend((one.name, one.size, one.file.read()) for one in outgoing.body.files)
        return Delivered()

    stage.platform.answer = answer
    paths = [put(stage, "a.txt", b"first"), put(stage, "größe 1.pdf", b"")]
    stage.write_out("r1", content=json.dumps({"text": "two files", "files": ["a.txt", "größe 1.pdf", "a.txt"]}))
    stage.write_out("r2")
    await stage.run()
    assert read == [("a.txt", 5, b"first"), ("größe 1.pdf", 0, b"")]
    assert not any(path.exists() for path in paths)
    assert stage.platform.texts == ["two files", "r2"]


async def test_files_stay_until_the_message_has_its_outcome(stage: Stage):
    """Each attempt has them anew; a refusal for good removes them as a delivery does."""
    path = put(stage, "a.txt")
    sizes: list[int] = []

    def answer(outgoing: Outgoing) -> Undelivered:
        assert isinstance(outgoing.body, Text)
        sizes.append(len(outgoing.body.files[0].file.read()))
        return Undelivered("no", permanent=len(sizes) == 2)

    stage.platform.answer = answer
    stage.write_out("r1", content=json.dumps({"files": ["a.txt"]}))
    await stage.run()
    assert path.exists()
    await make_due(stage)
    await stage.run()
    assert (sizes, path.exists()) == ([4, 4], False)


async def test_files_are_removed_only_after_the_outcome_is_recorded(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A crash in between leaves a file behind; the other order would deliver a message without its file."""
    path = put(stage, "a.txt")
    stage.write_out("r1", content=json.dumps({"files": ["a.txt"]}))
    seen: list[object] = []
    remove = stage.files.remove_files

    async def look_first(opened: object) -> None:
        seen.append(stage.query_inbound("SELECT status FROM delivered WHERE message_out_id = 'r1'"))
        await remove(opened)  # type: ignore[arg-type]  # what the drain hands in

    monkeypatch.setattr(stage.files, "remove_files", look_first)
    await stage.run()
    assert (seen, path.exists()) == (["delivered"], False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"text": "x", "files": "a.txt"}, "list of names"),
        ({"text": "x", "files": [7]}, "list of names"),
        ({"text": "x", "files": [f"{n}" for n in range(11)]}, "at most 10"),
        ({"text": "x", "files": ["../outbound.db"]}, "plain name"),
        ({"text": "x", "files": ["/etc/passwd"]}, "plain name"),
        ({"text": "x", "files": [".."]}, "plain name"),
        ({"text": "x", "files": [""]}, "plain name"),
        ({"text": "x", "files": ["a\0b"]}, "can't be shown"),
        ({"text": "x", "files": ["a\u202etxt.exe"]}, "can't be shown"),
        ({"text": "x", "files": ["a\x1b[31m"]}, "can't be shown"),
        ({"text": "x", "files": ["\ud800"]}, "can't be shown"),
        ({"text": "x", "files": ["x" * 256]}, "plain name"),
        ({"text": 7, "files": ["a.txt"]}, "says nothing"),
        ({"text": "x", "files": ["missing"]}, "no file 'missing'"),
    ],
)
async def test_names_that_are_none(stage: Stage, content: dict[str, object], words: str):
    put(stage, "a.txt")
    stage.write_out("r1", content=json.dumps(content))
    drained = await stage.run()
    assert words in drained.problems[0].text
    assert stage.platform.got == []


async def test_a_text_of_half_a_character_is_spoken(stage: Stage):
    stage.write_out("r1", content='{"text": "a\\ud83e"}')
    stage.write_out("r2", content=said("b"))
    await stage.run()
    assert stage.platform.texts == ["a?", "b"]
