"""What a person means by a text, also where strangers have chosen the names."""

from collections.abc import Callable

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_memory import fresh

from nanoclaw_runner.contract.cards import Option
from nanoclawd.errors import InvalidName, NotFound
from nanoclawd.store import agent_groups, approvals, chats, questions, resolve, sessions, users
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat


def put_ids(connection: apsw.Connection, table: str, *ids: str) -> None:
    """Give a table's rows, oldest first, ids that a test can write down."""
    for number, new in zip(connection.execute(f"SELECT rowid FROM {table}").fetchall(), ids, strict=True):
        connection.execute(f"UPDATE {table} SET id = ? WHERE rowid = ?", (new, number[0]))


def test_every_form_of_a_chat(connection: apsw.Connection, chat: Chat):
    other = chats.create(connection, "telegram", "-100200", "The Family")
    for text in (other.id, "telegram:-100200", "-100200", "The Family", "the family", other.id[:9], other.id[3:9]):
        assert resolve.chat(connection, text) == other
    assert resolve.chat(connection, "matrix:!room:example.org") == chat
    assert resolve.chat(connection, "Room") == chat


def test_every_form_of_a_group(connection: apsw.Connection, group: AgentGroup):
    other = agent_groups.create(connection, "home-office", "Clippy")
    for text in ("home-office", other.id, other.id[:9], other.id[3:9], "Clippy", "clippy"):
        assert resolve.group(connection, text) == other
    assert resolve.group(connection, "main") == group


def test_every_form_of_a_user(connection: apsw.Connection):
    ada = users.ensure(connection, "telegram:12345", "Ada L.")
    eve = users.ensure(connection, "matrix:@eve:example.org")
    for text in ("telegram:12345", "12345", "Ada L.", "ada l."):
        assert resolve.user(connection, text) == ada
    assert resolve.user(connection, eve.id) == eve


def test_every_form_of_a_wiring(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """W-30: a folder and an id with dashes are as good as any other."""
    other = agent_groups.create(connection, "home-office")
    chats.wire(connection, chat.id, group.id)
    wiring = chats.wire(connection, chat.id, other.id)
    for text in (
        wiring.id,
        wiring.id[:10],
        wiring.id[4:10],
        "matrix:!room:example.org/home-office",
        "Room/home-office",
        "room/home-office",
    ):
        assert resolve.wiring(connection, text) == wiring


def test_sessions_approvals_and_questions(connection: apsw.Connection, group: AgentGroup):
    session = sessions.create(connection, group.id, None)
    assert resolve.session(connection, session.id) == resolve.session(connection, session.id[:5]) == session
    yes = (Option("Yes", "yes", "Yes"),)
    approval, _ = approvals.begin(connection, approvals.NewApproval("x", "s", "T", "B", yes, "2030"))
    assert resolve.approval(connection, approval.id[:6]) == approval
    approvals.decide(connection, approval.id, "expired", None, None)
    assert resolve.approval(connection, approval.id).status == "expired"
    question = questions.Question(
        "question0001", session.id, "out-1", "irc", "#den", None, "T", "", yes, "", "2026", "2030"
    )
    questions.add(connection, question)
    assert resolve.question(connection, "ques") == question
    for find in (resolve.session, resolve.approval, resolve.question):
        for text in ("", "%", "_", "nothing", "\ud800"):
            with pytest.raises(NotFound):
                find(connection, text)


def test_beginnings_that_several_ids_have(connection: apsw.Connection):
    for number in range(3):
        chats.create(connection, "irc", f"#{number}")
    put_ids(connection, "messaging_groups", "mg-abc1", "mg-abc2", "mg-b")
    assert resolve.chat(connection, "abc1").id == "mg-abc1"
    assert resolve.chat(connection, "mg-b").id == "mg-b"
    for text in ("a", "mg-a", "abc"):
        with pytest.raises(InvalidName, match="mg-abc1, mg-abc2"):
            resolve.chat(connection, text)
    for text in ("mg-", "", "c"):
        with pytest.raises(NotFound):
            resolve.chat(connection, text)


def test_an_exact_id_is_never_a_beginning(connection: apsw.Connection):
    for number in range(2):
        chats.create(connection, "irc", f"#{number}")
    put_ids(connection, "messaging_groups", "mg-abc", "mg-abcd")
    assert resolve.chat(connection, "mg-abc").id == "mg-abc"


def test_names_that_several_have(connection: apsw.Connection):
    first, second = (chats.create(connection, "irc", place, "Den") for place in ("#a", "#b"))
    with pytest.raises(InvalidName, match="several chats") as caught:
        resolve.chat(connection, "Den")
    assert first.id in str(caught.value)
    assert second.id in str(caught.value)
    assert caught.value.hint == "ncl chats list"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mian", "did you mean main?"),
        ("home-ofice", "did you mean home-office?"),
        ("MAIN-", "did you mean main?"),
        ("something else", "ncl groups list"),
    ],
)
def test_did_you_mean(connection: apsw.Connection, group: AgentGroup, text: str, hint: str):
    agent_groups.create(connection, "home-office")
    with pytest.raises(NotFound) as caught:
        resolve.group(connection, text)
    assert caught.value.hint == hint


def test_strangers_names_stand_for_nobody_else(connection: apsw.Connection, chat: Chat):
    """W-59: a shown name in the form of an id or an address leads to nobody, above all not to who bears it."""
    users.ensure(connection, "irc:mallory", "telegram:12345")
    users.ensure(connection, "irc:telegram:777")
    chats.create(connection, "irc", "#trap", "telegram:-100")
    chats.create(connection, "irc", "#trap2", chat.id)
    for text in ("telegram:12345", "telegram:777"):
        with pytest.raises(NotFound):
            resolve.user(connection, text)
    with pytest.raises(NotFound):
        resolve.chat(connection, "telegram:-100")
    assert resolve.chat(connection, chat.id) == chat
    chats.create(connection, "irc", "#trap3", chat.id[3:9])
    with pytest.raises(InvalidName):
        resolve.chat(connection, chat.id[3:9])
    assert resolve.chat(connection, chat.id[:9]) == chat


def test_users_are_never_completed(connection: apsw.Connection):
    """Who has a shorter number is somebody else."""
    users.ensure(connection, "telegram:123")
    for text in ("telegram:12", "telegram:", "12", "telegram:1234"):
        with pytest.raises(NotFound):
            resolve.user(connection, text)


HOSTILE = st.one_of(
    st.text(max_size=30), st.text(alphabet="ab-:/mg%_", max_size=8), st.sampled_from(["\ud800", "\x00"])
)


@given(st.lists(HOSTILE, max_size=8), HOSTILE)
def test_any_text_is_an_answer_or_a_clear_error(names: list[str], text: str):
    """Whatever is asked among whatever names: one row that fits, or an error that prints harmlessly."""
    connection = fresh()
    agent_groups.create(connection, "main")
    for number, name in enumerate(names):
        made = chats.create(connection, "irc", f"#{number}", name)
        users.ensure(connection, f"irc:{number}", name)
        if number % 2:
            chats.wire(connection, made.id, agent_groups.by_folder(connection, "main").id)
    finders: tuple[Callable[[apsw.Connection, str], object], ...] = (
        *(resolve.chat, resolve.group, resolve.wiring, resolve.user),
        *(resolve.session, resolve.approval, resolve.question),
    )
    errors = []
    for find in finders:
        try:
            find(connection, text)
        except (NotFound, InvalidName) as error:
            errors.append(str(error))
    assert all(error.isprintable() for error in errors)
    for chat in chats.every(connection):
        assert resolve.chat(connection, chat.id) == chat
        assert resolve.chat(connection, f"irc:{chat.platform_id}") == chat
    connection.close()
