"""Approvals, questions, and the appliance's own messages about them."""

from dataclasses import replace

import apsw
import pytest

from nanoclaw_runner.contract.cards import Option
from nanoclawd.errors import NotFound
from nanoclawd.store import agent_groups, approvals, chats, host_messages, questions, sessions
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.approvals import Approval, NewApproval
from nanoclawd.store.chats import Chat
from nanoclawd.store.host_messages import HostMessage
from nanoclawd.store.questions import Question
from nanoclawd.store.sessions import Session

YES_NO = (Option("Yes", "yes", "Allowed"), Option("No", "no", "Denied"))
ADA, BOB = "telegram:1", "telegram:2"
SOON, LATER, FAR = "2027-01-01T00:00:00.000Z", "2027-01-02T00:00:00.000Z", "2030-01-01T00:00:00.000Z"


def request(subject: str = "s", expires_at: str = LATER, **columns: object) -> NewApproval:
    return replace(NewApproval("sender", subject, "May they?", "Eve, in Room", YES_NO, expires_at), **columns)


def started(connection: apsw.Connection, subject: str = "s", expires_at: str = LATER, **columns: object) -> Approval:
    made, new = approvals.begin(connection, request(subject, expires_at, **columns))
    assert new
    return made


@pytest.fixture
def session(connection: apsw.Connection, group: AgentGroup, chat: Chat) -> Session:
    return sessions.create(connection, group.id, chat.id)


def test_an_approval_in_full(connection: apsw.Connection, group: AgentGroup, chat: Chat, session: Session):
    made = started(
        connection,
        payload={"messages": [{"text": "h\u00e9llo \ud83d\udc4b"}], "more": None},
        agent_group_id=group.id,
        messaging_group_id=chat.id,
        session_id=session.id,
        user_id=BOB,
    )
    assert (made.action, made.subject, made.title, made.body, made.options) == (
        "sender",
        "s",
        "May they?",
        "Eve, in Room",
        YES_NO,
    )
    assert (made.status, made.stage, made.decided_at, made.decided_by, made.decision) == (
        "pending",
        "decision",
        None,
        None,
        None,
    )
    assert (made.group, made.channel_type, made.platform_id) == ("main", "matrix", chat.platform_id)
    assert made.payload["messages"][0]["text"].startswith("h\u00e9llo")
    assert approvals.by_id(connection, made.id) == made
    with pytest.raises(NotFound):
        approvals.by_id(connection, "nothing")


def test_nobody_is_asked_twice_at_once(connection: apsw.Connection):
    """W-28: what waits is returned as it is; when it has ended, the same can be asked anew."""
    first = started(connection)
    assert approvals.begin(connection, request(title="Another?")) == (first, False)
    other = started(connection, action="chat")
    assert approvals.pending(connection) == [first, other]
    assert approvals.decide(connection, first.id, "rejected", ADA, "no")
    again = started(connection)
    assert again.id != first.id
    assert [one.id for one in approvals.every(connection)] == [again.id, other.id, first.id]
    assert len(approvals.every(connection, limit=2)) == 2


def test_exactly_one_decision(connection: apsw.Connection):
    """A double click, a click and an expiry, a click after the end: the first counts."""
    made = started(connection)
    assert approvals.decide(connection, made.id, "approved", ADA, "yes")
    for status in ("rejected", "expired", "approved"):
        assert not approvals.decide(connection, made.id, status, BOB, "no")
    ended = approvals.by_id(connection, made.id)
    assert (ended.status, ended.decided_by, ended.decision) == ("approved", ADA, "yes")
    assert ended.decided_at is not None
    assert approvals.pending(connection) == []
    assert not approvals.decide(connection, "nothing", "approved", ADA, "yes")
    assert not approvals.set_card(connection, made.id, "T", "B", YES_NO)
    assert not approvals.set_payload(connection, made.id, {})
    assert not approvals.ask_for_name(connection, made.id, ADA)
    assert approvals.by_id(connection, made.id) == ended


def test_waiting_for_a_name(connection: apsw.Connection):
    """It is in the database, so a restart forgets nothing; it ends with the approval."""
    first, second = started(connection, "1"), started(connection, "2")
    assert approvals.waiting_for_name(connection, ADA) is None
    assert approvals.ask_for_name(connection, first.id, ADA)
    assert approvals.ask_for_name(connection, second.id, ADA)
    found = approvals.waiting_for_name(connection, ADA)
    assert found is not None
    assert (found.id, found.stage, found.name_from) == (first.id, "name", ADA)
    assert approvals.waiting_for_name(connection, BOB) is None
    approvals.decide(connection, first.id, "approved", ADA, "new-agent")
    found = approvals.waiting_for_name(connection, ADA)
    assert found is not None
    assert found.id == second.id
    approvals.decide(connection, second.id, "expired", None, None)
    assert approvals.waiting_for_name(connection, ADA) is None


def test_a_name_that_nobody_wants_to_give(connection: apsw.Connection):
    """The choice is open again."""
    made = started(connection)
    assert not approvals.ask_again(connection, made.id)
    approvals.ask_for_name(connection, made.id, ADA)
    assert approvals.ask_again(connection, made.id)
    assert approvals.by_id(connection, made.id) == made
    assert approvals.waiting_for_name(connection, ADA) is None


def test_what_an_ended_approval_still_has_to_do(connection: apsw.Connection):
    """Kept over a restart until nothing is left of it."""
    waiting, done, empty = (started(connection, subject, payload=load) for subject, load in (("1", {"a": 1}),
        ("2", {"a": 1}), ("3", {})))  # fmt: skip
    assert not approvals.carry(connection, waiting.id, {})
    for one in (done, empty):
        approvals.decide(connection, one.id, "approved", ADA, "yes")
    assert [one.id for one in approvals.unfinished(connection)] == [done.id]
    assert approvals.carry(connection, done.id, {"a": 2})
    assert [one.payload for one in approvals.unfinished(connection)] == [{"a": 2}]
    assert approvals.carry(connection, done.id, {})
    assert approvals.unfinished(connection) == []


def test_what_a_card_says_can_change(connection: apsw.Connection):
    made = started(connection)
    more = (*YES_NO, Option("Maybe", "maybe", "Postponed"))
    assert approvals.set_card(connection, made.id, "Which?", "Choose", more)
    assert approvals.set_payload(connection, made.id, {"messages": [1, 2]})
    changed = approvals.by_id(connection, made.id)
    assert (changed.title, changed.body, changed.options, changed.payload) == (
        "Which?",
        "Choose",
        more,
        {"messages": [1, 2]},
    )


def test_expiry(connection: apsw.Connection):
    """W-60: everything that is asked has an end, and the next one is known without a look at each."""
    assert approvals.earliest_expiry(connection) is None
    late, early = started(connection, "late", LATER), started(connection, "early", SOON)
    assert approvals.earliest_expiry(connection) == SOON
    assert approvals.expired(connection, "2026-12-31T23:59:59.999Z") == []
    assert approvals.expired(connection, SOON) == [early]
    assert approvals.expired(connection, FAR) == [early, late]
    approvals.decide(connection, early.id, "expired", None, None)
    assert approvals.expired(connection, SOON) == []
    assert approvals.earliest_expiry(connection) == LATER


def test_old_decisions_are_forgotten(connection: apsw.Connection):
    done, waiting = started(connection, "done"), started(connection, "waiting")
    host_messages.post(connection, HostMessage("card", "irc", "ada", None, "{}", approval_id=done.id))
    approvals.decide(connection, done.id, "approved", ADA, "yes")
    assert approvals.prune(connection, "2026-01-01T00:00:00.000Z") == 0
    assert approvals.prune(connection, FAR) == 1
    assert approvals.every(connection) == [waiting]
    with pytest.raises(NotFound):
        host_messages.by_id(connection, "card")


def test_what_it_is_about_must_be_there(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    for column in ("agent_group_id", "session_id", "messaging_group_id"):
        with pytest.raises(NotFound):
            approvals.begin(connection, request(**{column: "nothing"}))
    assert approvals.every(connection) == []
    started(connection, "chat", messaging_group_id=chat.id)
    started(connection, "group", agent_group_id=group.id)
    chats.delete(connection, chat.id)
    agent_groups.delete(connection, group.id)
    assert approvals.every(connection) == []


def question(session: Session, number: int = 1, thread: str | None = None, expires_at: str = LATER) -> Question:
    return Question(
        id=f"question{number:04}",
        session_id=session.id,
        message_out_id=f"out-{number}",
        channel_type="matrix",
        platform_id="!room:example.org",
        thread_id=thread,
        title="Tea?",
        body="",
        options=YES_NO,
        agent_reference="tea",
        created_at=f"2026-01-01T00:00:00.{number:03}Z",
        expires_at=expires_at,
    )


def test_a_questions_life(connection: apsw.Connection, session: Session):
    """F-26: created, read by its id, deleted; one of an unknown session is refused by its foreign key."""
    asked = question(session)
    assert questions.add(connection, asked)
    assert questions.by_id(connection, asked.id) == asked
    assert questions.by_session_and_row(connection, session.id, "out-1") == asked
    assert questions.by_session_and_row(connection, session.id, "out-2") is None
    assert questions.take(connection, asked.id) == asked
    assert questions.take(connection, asked.id) is None
    with pytest.raises(NotFound):
        questions.by_id(connection, asked.id)
    with pytest.raises(NotFound, match="session"):
        questions.add(connection, replace(asked, session_id="abcdefghijkl"))
    assert questions.every(connection) == []


def test_a_row_asks_once(connection: apsw.Connection, session: Session):
    """F-26: a delivery that is tried again makes no second question, also under another id."""
    assert questions.add(connection, question(session))
    assert not questions.add(connection, question(session))
    assert not questions.add(connection, replace(question(session), id="another00001"))
    assert len(questions.every(connection)) == 1


def test_questions_of_a_place(connection: apsw.Connection, session: Session):
    """No thread is a place of its own."""
    for number, thread in enumerate((None, "t", None), start=1):
        questions.add(connection, question(session, number, thread))

    def ids(channel_type: str, platform_id: str, thread_id: str | None) -> list[str]:
        return [one.id for one in questions.of_chat(connection, channel_type, platform_id, thread_id)]

    assert ids("matrix", "!room:example.org", None) == ["question0001", "question0003"]
    assert ids("matrix", "!room:example.org", "t") == ["question0002"]
    assert ids("irc", "!room:example.org", None) == []


def test_questions_end(connection: apsw.Connection, session: Session, group: AgentGroup):
    """W-60: by time, or with their session."""
    assert questions.earliest_expiry(connection) is None
    questions.add(connection, question(session, 1, expires_at=LATER))
    questions.add(connection, question(session, 2, expires_at=SOON))
    assert questions.earliest_expiry(connection) == SOON
    assert [one.id for one in questions.expired(connection, SOON)] == ["question0002"]
    assert [one.id for one in questions.expired(connection, FAR)] == ["question0002", "question0001"]
    agent_groups.delete(connection, group.id)
    assert questions.every(connection) == []


def words(message_id: str, platform_id: str = "ada", **columns: object) -> HostMessage:
    return replace(HostMessage(message_id, "terminal", platform_id, None, '{"text": "x"}'), **columns)


def test_a_host_messages_life(connection: apsw.Connection):
    """Posted once, due at once, sending before the I/O, retried later, delivered."""
    assert host_messages.post(connection, words("a", in_reply_to="m1", person=ADA))
    assert not host_messages.post(connection, words("a", content="{}"))
    posted = host_messages.by_id(connection, "a")
    assert (posted.status, posted.attempts, posted.in_reply_to, posted.person) == ("pending", 0, "m1", ADA)
    assert posted.next_attempt_at == posted.created_at
    assert host_messages.due(connection, FAR) == [posted]
    assert host_messages.due(connection, "2026-01-01T00:00:00.000Z") == []
    host_messages.record(connection, "a", "sending", attempts=1)
    assert host_messages.due(connection, FAR)[0].status == "sending"
    host_messages.record(connection, "a", "pending", next_attempt_at=SOON, reason="no network")
    again = host_messages.by_id(connection, "a")
    assert (again.attempts, again.next_attempt_at, again.reason) == (1, SOON, "no network")
    assert host_messages.earliest(connection, "2026-01-01T00:00:00.000Z") == SOON
    assert host_messages.earliest(connection, SOON) is None
    host_messages.record(connection, "a", "delivered", platform_message_id="77")
    assert host_messages.due(connection, FAR) == []
    done = host_messages.by_id(connection, "a")
    assert (done.status, done.platform_message_id, done.reason) == ("delivered", "77", None)
    with pytest.raises(NotFound):
        host_messages.by_id(connection, "b")
    with pytest.raises(NotFound):
        host_messages.post(connection, words("c", approval_id="nothing"))


def test_the_order_of_host_messages(connection: apsw.Connection):
    for message_id in ("3", "1", "2"):
        host_messages.post(connection, words(message_id, next_attempt_at=SOON))
    assert [one.id for one in host_messages.due(connection, FAR)] == ["3", "1", "2"]
    assert [one.id for one in host_messages.due(connection, FAR, limit=1)] == ["3"]


def test_a_channel_that_comes_up(connection: apsw.Connection):
    """Everything that waits on it without a timer is looked at; what has a time of its own keeps it."""
    for message_id, channel in (("a", "irc"), ("b", "irc"), ("c", "matrix")):
        host_messages.post(connection, words(message_id, channel_type=channel))
        host_messages.record(connection, message_id, "pending", next_attempt_at=LATER if message_id == "b" else None)
    assert host_messages.make_channel_due(connection, "irc") == 1
    assert [one.id for one in host_messages.due(connection, SOON)] == ["a"]
    assert host_messages.make_channel_due(connection) == 1
    assert {one.id for one in host_messages.due(connection, SOON)} == {"a", "c"}


def test_a_clock_that_was_set_back(connection: apsw.Connection):
    """Nothing waits for a time that the old clock had made up."""
    for message_id, moment in (("near", SOON), ("far", FAR), ("never", None)):
        host_messages.post(connection, words(message_id))
        host_messages.record(connection, message_id, "pending", next_attempt_at=moment)
    assert host_messages.bring_forward(connection, LATER) == 1
    assert [one.id for one in host_messages.due(connection, LATER)] == ["near", "far"]


def test_the_answer_to_a_message(connection: apsw.Connection):
    """The last one of its channel."""
    assert host_messages.answer_to(connection, "terminal", "m1") is None
    for message_id, channel, answered in (("a", "terminal", "m1"), ("b", "terminal", "m1"), ("c", "terminal", "m2")):
        host_messages.post(connection, words(message_id, channel_type=channel, in_reply_to=answered))
    host_messages.post(connection, words("d", channel_type="irc", in_reply_to="m1"))
    found = host_messages.answer_to(connection, "terminal", "m1")
    assert found is not None
    assert found.id == "b"


def test_an_interrupted_sending_is_due_again(connection: apsw.Connection):
    """Also if it had waited for its chat."""
    host_messages.post(connection, words("a"))
    host_messages.record(connection, "a", "pending")
    host_messages.record(connection, "a", "sending")
    assert [one.id for one in host_messages.due(connection, FAR)] == ["a"]


def test_open_cards_of_a_person(connection: apsw.Connection):
    """Delivered to them, undecided, and asking for a choice; an approval with two cards counts once."""
    first, second, third, fourth = (started(connection, subject) for subject in "1234")
    for message_id, one, person in (
        ("1a", first, ADA),
        ("1b", first, ADA),
        ("2", second, ADA),
        ("3", third, BOB),
        ("4", fourth, ADA),
    ):
        host_messages.post(connection, words(message_id, approval_id=one.id, person=person))
    assert host_messages.open_cards_for(connection, ADA) == []
    for message_id in ("1a", "1b", "3", "4"):
        host_messages.record(connection, message_id, "delivered")
    assert [one.id for one in host_messages.open_cards_for(connection, ADA)] == [first.id, fourth.id]
    assert [one.id for one in host_messages.of_approval(connection, first.id)] == ["1a", "1b"]
    approvals.decide(connection, first.id, "approved", ADA, "yes")
    approvals.ask_for_name(connection, fourth.id, ADA)
    assert host_messages.open_cards_for(connection, ADA) == []


def test_old_host_messages_are_forgotten(connection: apsw.Connection):
    """Not those that are open, nor the cards of what waits: an expiry has to edit them."""
    waiting, done = started(connection, "waiting"), started(connection, "done")
    for message_id, one in (("open", None), ("ended", None), ("failed", None), ("card", waiting), ("old card", done)):
        host_messages.post(connection, words(message_id, approval_id=one and one.id))
        if message_id != "open":
            host_messages.record(connection, message_id, "failed" if message_id == "failed" else "delivered")
    approvals.decide(connection, done.id, "approved", ADA, "yes")
    assert host_messages.prune(connection, "2026-01-01T00:00:00.000Z") == 0
    assert host_messages.prune(connection, FAR) == 3
    assert [host_messages.by_id(connection, kept).id for kept in ("open", "card")] == ["open", "card"]
