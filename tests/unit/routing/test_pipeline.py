"""The steps before the wirings: answers and names, threads, unknown chats; and what each says about itself."""

import pytest

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.config import Access
from nanoclawd.routing import ids
from nanoclawd.routing.decision import Action, CardAnswer, Outcome
from nanoclawd.routing.facts import session_mode
from nanoclawd.store import approvals, chats, host_messages, members, questions
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.approvals import Approval, NewApproval
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.host_messages import HostMessage
from nanoclawd.store.questions import Question
from unit.routing.world import CHANNEL, World, event, person

YES_NO = (Option("Allow", "allow", "Allowed"), Option("Deny", "deny", "Denied"))
DM = Address(CHANNEL, "dm-owner")


def open_approval(world: World, person_id: str = person("owner"), subject: str = "s") -> Approval:
    """An approval whose card this person has got."""
    new = NewApproval("sender", subject, "May X write?", "", YES_NO, now_text(plus_seconds=3600))
    made, _ = approvals.begin(world.connection, new)
    card = HostMessage(f"card-{made.id}", CHANNEL, "dm", None, "{}", approval_id=made.id, person=person_id)
    host_messages.post(world.connection, card)
    host_messages.record(world.connection, card.id, "delivered")
    return made


def open_question(world: World, chat: Chat, group_id: str, thread: str | None = None) -> Question:
    session = session_rows.create(world.connection, group_id, chat.id, thread)
    question = Question(
        "abcd01234567", session.id, "out-1", CHANNEL, chat.platform_id, thread, "Which?", "",
        (Option("Red", "red", "Red"), Option("Blue", "blue", "Blue")), "", now_text(), now_text(plus_seconds=3600),
    )  # fmt: skip
    assert questions.add(world.connection, question)
    return question


class TestAnswers:
    def test_an_approval_in_a_direct_chat(self, world: World):
        """By its number or words, from whom the card was sent to, wherever that person writes alone."""
        approval = open_approval(world)
        for text in ("1", "allow", f"{approval.id[:4]} 1"):
            decided = world.decide(event(DM, text), buttons=False)
            assert decided.action is Action.ANSWER
            assert decided.answer == CardAnswer("approval", approval.id, "allow")
            assert decided.deciding.rule == f"approval {approval.id}"

    def test_what_is_no_answer(self, world: World):
        """Another person, a group, another text, a channel with buttons: ordinary messages."""
        open_approval(world)
        room = world.chat()
        for said, buttons in (
            (event(DM, "1", "member"), False),
            (event(DM, "1", None), False),
            (event(room, "1"), False),
            (event(DM, "what is this about?"), False),
            (event(DM, "1"), True),
        ):
            assert world.decide(said, buttons=buttons).action is not Action.ANSWER

    def test_a_question_in_its_chat_and_thread(self, world: World):
        group = world.group("main")
        room = world.chat(policy="strict")
        question = open_question(world, room, group.id, "t")
        decided = world.decide(event(room, "blue", "member", thread="t"), buttons=False)
        assert decided.answer == CardAnswer("question", question.id, "blue")
        for said in (
            event(room, "blue", "stranger", thread="t"),
            event(room, "blue", "member"),
            event(room, "blue", "member", thread="u"),
            event(world.chat(), "blue", "member", thread="t"),
        ):
            assert world.decide(said, buttons=False).action is not Action.ANSWER

    def test_several_open_cards(self, world: World):
        """The person is asked back, and names one by its tag."""
        first, second = open_approval(world, subject="a"), open_approval(world, subject="b")
        decided = world.decide(event(DM, "1"), buttons=False)
        assert decided.action is Action.REPLY
        assert first.id[:4] in decided.reply
        tagged = world.decide(event(DM, f"{second.id[:4]} 2"), buttons=False)
        assert tagged.answer == CardAnswer("approval", second.id, "deny")

    @pytest.mark.parametrize("kind", ["answer", "ask"])
    def test_an_answer_told_again(self, world: World, kind: str):
        """After a crash the channel tells it again: it is no message, and answers nothing else."""
        said = event(DM, "1", message_id="m1")
        words = HostMessage(ids.words_id(kind, DM, "m1"), CHANNEL, DM.platform_id, None, '{"text": "Done."}')
        host_messages.post(world.connection, words)
        open_approval(world)
        decided = world.decide(said, buttons=False)
        assert (decided.action, decided.answer) == (Action.ANSWER, None)

    def test_a_message_that_was_kept_is_no_answer(self, world: World):
        open_approval(world)
        assert world.facts(event(DM, "1"), buttons=False, intercept=False).cards == ()


class TestNames:
    def test_a_name_told_again(self, world: World):
        """After a crash the channel tells it again: it is no message, and names nothing else."""
        words = HostMessage(ids.words_id("named", DM, "m1"), CHANNEL, DM.platform_id, None, '{"text": "Connected."}')
        host_messages.post(world.connection, words)
        said = event(DM, "Shopping list", message_id="m1")
        assert (world.decide(said).action, world.decide(said).answer) == (Action.ANSWER, None)
        another = open_approval(world)
        approvals.ask_for_name(world.connection, another.id, person("owner"))
        assert world.decide(said).action is Action.ANSWER
        assert world.decide(event(DM, "Kitchen", message_id="m2")).action is Action.NAME

    def test_the_next_direct_message_is_the_name(self, world: World):
        approval = open_approval(world)
        approvals.ask_for_name(world.connection, approval.id, person("owner"))
        decided = world.decide(event(DM, "Shopping list"))
        assert decided.action is Action.NAME
        assert decided.deciding.rule == f"approval {approval.id}"

    @pytest.mark.parametrize("text", ["", "  ", "/help", "/whoami"])
    def test_what_is_no_name(self, world: World, text: str):
        approval = open_approval(world)
        approvals.ask_for_name(world.connection, approval.id, person("owner"))
        assert world.decide(event(DM, text)).action is not Action.NAME

    def test_others_and_groups_give_no_name(self, world: World):
        approval = open_approval(world)
        approvals.ask_for_name(world.connection, approval.id, person("owner"))
        assert world.decide(event(DM, "x", "member")).action is not Action.NAME
        assert world.decide(event(world.chat(), "x", mention=True)).action is not Action.NAME


class TestUnheardChats:
    @pytest.mark.parametrize("known", [False, True])
    def test_each_policy(self, world: World, known: bool):
        place = world.chat() if known else Address(CHANNEL, "nowhere")
        for policy, action, reason in (
            ("strict", Action.DROP, "chat_strict"),
            ("request_approval", Action.ASK, "chat_pending"),
            ("public", Action.DROP, "no_agent_wired"),
        ):
            world.access = Access(unknown_chats=policy)
            decided = world.decide(event(place, is_group=True, mention=True))
            assert (decided.action, decided.reason) == (action, reason)
            assert decided.deciding.name == "chat"
            assert decided.deciding.outcome is Outcome.STOP
            silent = world.decide(event(place, is_group=True))
            assert (silent.action, silent.reason) == (Action.IGNORE, "")
            assert world.decide(event(place, is_group=False)).action is action

    def test_the_default_agent(self, world: World):
        world.access = Access(unknown_chats="public", default_group="main")
        assert world.decide(event(DM)).reason == "no_agent_wired"
        world.group("main")
        decided = world.decide(event(DM))
        assert decided.action is Action.REGISTER
        assert "wired to main" in decided.deciding.reason

    def test_a_refused_chat(self, world: World):
        """Whatever the policy says now."""
        chat = world.chat()
        chats.deny(world.connection, chat.id, person("owner"))
        for policy in ("strict", "request_approval", "public"):
            world.access = Access(unknown_chats=policy, default_group="main")
            decided = world.decide(event(chat, mention=True))
            assert (decided.action, decided.reason) == (Action.DROP, "chat_denied")

    def test_a_refused_chat_that_was_wired_later_is_heard(self, world: World):
        chat = world.chat()
        chats.deny(world.connection, chat.id, person("owner"))
        world.wired(chat, world.group("main"), engage_mode="pattern", engage_pattern=".")
        assert world.decide(event(chat)).wirings[0].action is Action.ENGAGE


class TestModes:
    @pytest.mark.parametrize(
        ("own", "threads", "is_group", "expected"),
        [
            ("shared", False, False, "shared"),
            ("shared", False, True, "shared"),
            ("shared", True, False, "shared"),
            ("shared", True, True, "per-thread"),
            ("per-thread", False, False, "per-thread"),
            ("per-thread", False, True, "per-thread"),
            ("per-thread", True, False, "per-thread"),
            ("per-thread", True, True, "per-thread"),
            ("agent-shared", False, False, "agent-shared"),
            ("agent-shared", False, True, "agent-shared"),
            ("agent-shared", True, False, "agent-shared"),
            ("agent-shared", True, True, "agent-shared"),
        ],
    )
    def test_the_mode_that_holds(self, own: str, threads: bool, is_group: bool, expected: str):
        """F-123, F-124."""
        wiring = Wiring("mga-1", "mg-1", "ag-1", own, 0, "mention", None, "all", "drop", "now")
        assert session_mode(wiring, threads=threads, is_group=is_group) == expected

    def test_the_session_that_is_there(self, world: World):
        """F-165: looked for by agent, chat and thread; agent-shared by agent alone, and never another kind (W-22)."""
        first, second = world.group("one"), world.group("two")
        chat = world.chat()
        world.wired(chat, first, engage_mode="pattern", engage_pattern=".")
        world.wired(chat, second, engage_mode="pattern", engage_pattern=".", session_mode="agent-shared")
        threaded = session_rows.create(world.connection, first.id, chat.id, "t", mode="per-thread")
        session_rows.create(world.connection, second.id, chat.id, "t", mode="per-thread")
        one, two = world.decide(event(chat, thread="t")).wirings
        assert one.session == threaded
        assert two.session is None
        shared = session_rows.create(world.connection, second.id, None, mode="agent-shared")
        one, two = world.decide(event(chat, thread="u")).wirings
        assert (one.session, two.session) == (None, shared)
        assert [step.name for step in one.steps] == ["engage", "access", "scope", "session"]

    def test_a_thread_that_does_not_count(self, world: World):
        """F-122."""
        chat = world.chat()
        world.wired(chat, world.group("main"), engage_mode="pattern", engage_pattern=".")
        decided = world.decide(event(chat, thread="t"), threads=False)
        assert decided.wirings[0].thread_id is None
        assert decided.steps[0].reason == "the thread does not count"
        assert decided.steps[0].rule == f"channel {CHANNEL} has no threads"


def test_a_broken_wiring_of_the_database_is_each_ones_own(world: World):
    """F-149, F-163: an invalid pattern and one that takes too long say so at their own wirings only."""
    chat = world.chat()
    patterns = {"fine": ".", "invalid": "(", "bomb": r"(\w+\s?)+$", "other": "^nothing$"}
    for folder, pattern in patterns.items():
        world.wired(chat, world.group(folder), engage_mode="pattern", engage_pattern=pattern)
    decided = world.decide(event(chat, "word " * 5000 + "!"))
    assert {one.group: (one.action, one.reason) for one in decided.wirings} == {
        "fine": (Action.ENGAGE, ""),
        "invalid": (Action.ENGAGE, ""),
        "bomb": (Action.DROP, "pattern_timeout"),
        "other": (Action.DROP, "no_agent_engaged"),
    }


def test_two_wirings_of_one_person(world: World):
    """Somebody may be known to one agent of a chat and not to the other."""
    chat = world.chat(policy="strict")
    for folder in ("one", "two"):
        world.wired(chat, world.group(folder), engage_mode="pattern", engage_pattern=".")
    members.add(world.connection, person("guest"), world.decide(event(chat)).wirings[1].agent_group_id)
    decided = world.decide(event(chat, sender="guest"))
    assert [one.action for one in decided.wirings] == [Action.DROP, Action.ENGAGE]
