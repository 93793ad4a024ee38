"""The terminal's chat, the sessions' and the router's backends, over the daemon's real parts."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from machine import busy
from session_stage import message

from eventually import eventually
from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.rows import Address
from nanoclawd.control.values import (
    ApprovalState,
    CardState,
    EventType,
    Hypothesis,
    Peer,
    SessionState,
    TurnState,
    UploadedFile,
)
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.permissions.actions import APPROVE, REJECT, ActionHandler
from nanoclawd.permissions.approvals import NewRequest
from nanoclawd.store import agent_groups, chats, roles
from nanoclawd.store import sessions as session_rows
from unit.control.terminal_stage import JOE, ROOT, Screen, Terminal


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    made = Terminal(tmp_path)
    await made.open()
    await made.database.run(agent_groups.create, "main")
    yield made
    await made.close()


async def test_a_message_is_answered_and_its_turn_ends_last(terminal: Terminal):
    """Told twice it is one row, and the second time it is known how far it has come."""
    screen = Screen()
    async with terminal.chat.attach(ROOT, "main", screen):
        sent = await terminal.chat.send(ROOT, "main", "hello", "token-01")
        assert sent.state is TurnState.ACCEPTED
        turn = await screen.until(EventType.TURN, sent.message_id)
        assert (turn.state, screen.texts(EventType.MESSAGE)) == (TurnState.COMPLETED, ["re: hello"])
        again = await terminal.chat.send(ROOT, "main", "hello", "token-01")
        assert (again.message_id, again.state) == (sent.message_id, TurnState.COMPLETED)
    with pytest.raises(NotFound):
        await terminal.chat.send(ROOT, "none", "hello", "token-02")


async def test_files_go_with_a_message_to_the_agent_and_only_their_sender_has_them(terminal: Terminal):
    """Bytes that came by the socket lie below the session's own directory; a token told again fetches nothing new."""
    assert (await terminal.chat.upload(JOE, "upload-1", 0, b"some ")).size == 5
    assert (await terminal.chat.upload(JOE, "upload-1", 5, b"notes")).size == 10
    file = UploadedFile("upload-1", "../notes.txt")
    with pytest.raises(NotFound, match="upload it again"):
        await terminal.chat.send(ROOT, "main", "", "token-00", [file])
    for _ in range(2):
        await terminal.chat.send(JOE, "main", "", "token-01", [file])
    (session,) = await terminal.database.run(session_rows.every)
    ((content,),) = terminal.house.query(session, "SELECT content FROM messages_in")
    (found,) = json.loads(content)["attachments"]
    assert (found["name"], found["size"]) == ("attachment-1.txt", 10)
    (kept,) = terminal.house.paths.root.glob("sessions/main/*/in/files/*/*")
    assert (kept.name, kept.read_bytes()) == ("attachment-1.txt", b"some notes")


async def test_who_writes_is_who_the_kernel_says(terminal: Terminal):
    """W-75: the reference's socket takes any name that a client claims; here a text can claim nothing."""
    await terminal.chat.send(JOE, "main", json.dumps({"sender": "root", "senderId": "terminal:root"}), "token-01")
    (session,) = await terminal.database.run(session_rows.every)
    (content,) = terminal.house.query(session, "SELECT content FROM messages_in")[0]
    found = json.loads(content)
    assert (found["sender"], found["senderId"]) == ("joe", "terminal:joe")
    assert await terminal.database.run(chats.by_address, "terminal", "joe/main")


async def test_what_the_appliance_answers_is_a_notice_and_ends_the_turn(terminal: Terminal):
    """A command of the gate never reaches the agent, and nobody waits for a turn that has ended."""
    screen = Screen()
    async with terminal.chat.attach(ROOT, "main", screen):
        sent = await terminal.chat.send(ROOT, "main", "/whoami", "token-01")
        turn = await screen.until(EventType.TURN, sent.message_id)
        notice = await screen.until(EventType.NOTICE, sent.message_id)
        assert (turn.state, "root" in notice.text) == (TurnState.COMPLETED, True)
        assert screen.events.index(notice) < screen.events.index(turn)
        again = await terminal.chat.send(ROOT, "main", "/whoami", "token-01")
        assert (again.message_id, again.state) == (sent.message_id, TurnState.COMPLETED)
        assert len(screen.texts(EventType.NOTICE)) == 1
    assert await terminal.database.run(session_rows.every) == []


async def test_a_card_is_shown_on_every_screen_of_its_approver_and_answered_in_any_chat(terminal: Terminal):
    """A terminal has no buttons: the number is the answer, and it is no message to the agent."""
    decided: asyncio.Queue[str] = asyncio.Queue()

    class Handler(ActionHandler):
        async def finish(self, approval: object, *, resumed: bool) -> None:
            decided.put_nowait(approval.status)  # type: ignore[attr-defined]

    terminal.permissions.approvals.register("test", Handler())
    await terminal.database.run(roles.grant, "terminal:root", "owner")
    screen = Screen()
    async with terminal.chat.attach(ROOT, "main", screen):
        await terminal.permissions.approvals.request(
            NewRequest("test", "it", "May it?", "It would.", (APPROVE, REJECT), {"keep": True})
        )
        card = await screen.until(EventType.NOTICE)
        assert "1. Allow" in card.text
        # An answer counts from when the appliance knows that its card was seen, a commit later.
        await terminal.outbox.rest()
        sent = await terminal.chat.send(ROOT, "main", "1", "token-01")
        turn = await screen.until(EventType.TURN, sent.message_id)
        assert turn.state is TurnState.COMPLETED
        assert await asyncio.wait_for(decided.get(), 20) == "approved"
        assert any("Allowed" in text for text in screen.texts(EventType.NOTICE))
        again = await terminal.chat.send(ROOT, "main", "1", "token-01")
        assert (again.message_id, again.state) == (sent.message_id, TurnState.COMPLETED)
    assert await terminal.database.run(session_rows.every) == []


async def test_a_message_that_nobody_answers_is_refused_with_the_reason(terminal: Terminal):
    """Never silence: an operator may have changed the terminal's wiring or policy."""
    await terminal.chat.send(ROOT, "main", "hello", "token-01")
    chat = await terminal.database.run(chats.by_address, "terminal", "root/main")
    assert chat is not None
    (wiring,) = await terminal.database.run(chats.wirings_of_chat, chat.id)
    await terminal.database.run(
        lambda c: (
            c.execute("UPDATE messaging_group_agents SET engage_pattern = '^agent' WHERE id = ?", (wiring.id,)).get
        )
    )
    with pytest.raises(Refused, match="nobody answers this: main: ") as refused:
        await terminal.chat.send(ROOT, "main", "hello", "token-02")
    assert refused.value.hint == "ncl wirings list"
    assert (await terminal.chat.send(ROOT, "main", "agent, hello", "token-03")).state is TurnState.ACCEPTED
    await terminal.database.run(chats.update, chat.id, None, None, "strict")
    with pytest.raises(Refused):
        await terminal.chat.send(ROOT, "main", "agent, hello", "token-04")


async def test_answers_of_an_absence_are_shown_on_return(terminal: Terminal):
    screen = Screen()
    await terminal.chat.send(ROOT, "main", "hello", "token-01")
    await terminal.chat.send(ROOT, "main", "/whoami", "token-02")
    async with terminal.chat.attach(ROOT, "main", screen):
        await screen.until(EventType.MESSAGE)
        await screen.until(EventType.NOTICE)
    with pytest.raises(NotFound):
        async with terminal.chat.attach(ROOT, "none", screen):
            pass


async def test_sessions_are_listed_by_state_stopped_and_closed(terminal: Terminal):
    """W-68: closing is a command; a closed session is shown where its state is asked for, and is stopped no more."""
    terminal.house.machine.program = busy
    sent = []
    for name in ("ada", "bob"):
        await terminal.chat.send(Peer(1, 1, 1, name), "main", "hello", "token-01")
        sent.append(name)
    await eventually(lambda: len(terminal.house.machine.running) == 2)
    await eventually(lambda: all(actor.snapshot.phase.value == "awake" for actor in terminal.sessions.actors))
    found = await terminal.backend.list(None, None, 10)
    assert [(one.channel, one.state, one.mode) for one in found] == [("terminal", SessionState.AWAKE, "shared")] * 2
    assert {one.chat for one in found} == {"ada/main", "bob/main"}
    assert len(await terminal.backend.list(None, None, 1)) == 1
    assert await terminal.backend.list("main", SessionState.ASLEEP, 10) == []
    with pytest.raises(NotFound):
        await terminal.backend.list("none", None, 10)
    first = found[0]
    closed = await terminal.backend.close(ROOT, first.id[:9])
    assert (closed.id, closed.state, closed.pending) == (first.id, SessionState.CLOSED, 0)
    assert [one.id for one in await terminal.backend.list(None, SessionState.CLOSED, 10)] == [first.id]
    assert [one.id for one in await terminal.backend.list(None, None, 10)] == [found[1].id]
    for refused in (terminal.backend.close, terminal.backend.stop, terminal.backend.reset):
        with pytest.raises(Refused, match="is closed"):
            await refused(ROOT, first.id)
    await eventually(lambda: len(terminal.house.machine.running) == 1)
    with pytest.raises(Refused, match="not in quarantine"):
        await terminal.backend.reset(ROOT, found[1].id)
    stopped = await terminal.backend.stop(ROOT, found[1].id)
    assert stopped.id == found[1].id
    await terminal.database.run(_same_beginning)
    with pytest.raises(InvalidName):
        await terminal.backend.get("zz")


def _same_beginning(connection: object) -> None:
    group = agent_groups.by_folder(connection, "main")  # type: ignore[arg-type]
    for number in range(2):
        session_rows.create(connection, group.id, None, None, f"zzzzzzzzzzz{number}")  # type: ignore[arg-type]


async def test_a_session_of_all_chats_has_no_chat(terminal: Terminal):
    group = await terminal.database.run(agent_groups.by_folder, "main")
    made = await terminal.sessions.create(group.id, "main", None, None, "agent-shared")
    found = await terminal.backend.get(made.id)
    assert (found.channel, found.chat, found.thread, found.mode) == ("", "", None, "agent-shared")
    assert (found.state, found.unit) == (SessionState.ASLEEP, f"nanoclaw-main@{made.id}.service")


async def test_a_decision_is_explained_before_and_after(terminal: Terminal):
    """The answer to "why did my agent not reply?": what would become of a message, and what became of one."""
    sent = await terminal.chat.send(ROOT, "main", "hello", "token-01")
    for known in ("token-01", sent.message_id):
        (decision,) = await terminal.routing.explain_message(known)
        assert (decision.action, decision.known, decision.message) == ("route", True, "token-01")
        (wiring,) = decision.wirings
        assert (wiring.group, wiring.action, wiring.deciding.name) == ("main", "engage", "engage")
        assert wiring.deciding in wiring.steps
        assert wiring.wiring in wiring.deciding.rule
    with pytest.raises(NotFound, match="nothing is remembered"):
        await terminal.routing.explain_message("token-02")
    asked = Hypothesis("terminal", "root's terminal", None, "terminal:eve", "/clear", is_mention=False, is_group=None)
    decision = await terminal.routing.explain(asked)
    assert (decision.chat, decision.sender, decision.message) == ("root/main", "terminal:eve", "")
    assert (decision.wirings[0].action, bool(decision.wirings[0].reply)) == ("reply", True)
    nowhere = Hypothesis("terminal", "nobody/none", None, "", "hello", is_mention=False, is_group=True)
    decision = await terminal.routing.explain(nowhere)
    assert (decision.known, decision.sender, decision.wirings) == (False, None, [])
    assert decision.deciding.reason
    assert await terminal.database.run(chats.by_address, "terminal", "nobody/none") is None


async def test_a_busy_session_answers_the_operator_after_its_rows(terminal: Terminal):
    """A row that was stored and not answered yet is accepted, not lost."""
    terminal.house.machine.program = busy
    sent = await terminal.chat.send(ROOT, "main", "hello", "token-01")
    again = await terminal.chat.send(ROOT, "main", "hello", "token-01")
    assert (sent, again.state) == (again, TurnState.ACCEPTED)
    (session,) = await terminal.database.run(session_rows.every)
    row = message("other", address=Address("terminal", "root/main"))
    assert await terminal.sessions.accept_all([(session, row)]) == [True]
    assert (await terminal.backend.get(session.id)).pending == 2


async def test_an_operator_decides_what_nobody_else_has(terminal: Terminal):
    """A card that reached nobody shows why; whoever reaches the socket may decide it, once."""
    terminal.permissions.approvals.register("test", ActionHandler())
    new = NewRequest("test", "it", "May it?", "It would.", (APPROVE, REJECT), {})
    approval, _ = await terminal.permissions.approvals.request(new)
    await terminal.permissions.rest()
    (found,) = await terminal.approvals.list(10, decided=False)
    assert (found.card, found.asked, found.body) == (CardState.NONE, None, "It would.")
    await terminal.database.run(roles.grant, "terminal:joe", "owner")
    terminal.permissions.repost()
    await terminal.permissions.rest()
    waiting = await terminal.approvals.get(approval.id[:4])
    assert (waiting.card, waiting.asked, bool(waiting.problem)) == (CardState.WAITING, "terminal:joe", True)
    screen = Screen()
    async with terminal.chat.attach(JOE, "main", screen):
        await screen.until(EventType.NOTICE)
        await terminal.permissions.rest()
        assert (await terminal.approvals.get(approval.id)).card is CardState.DELIVERED
    with pytest.raises(Refused):
        await terminal.approvals.decide(ROOT, approval.id, "perhaps")
    decided, words = await terminal.approvals.decide(ROOT, approval.id, "2")
    assert (decided.status, decided.decision, decided.decided_by) == (ApprovalState.REJECTED, "deny", "terminal:root")
    assert words == "Denied by root."
    with pytest.raises(Refused):
        await terminal.approvals.decide(ROOT, approval.id, "allow")
    assert await terminal.approvals.list(10, decided=False) == []
    assert [one.id for one in await terminal.approvals.list(10, decided=True)] == [approval.id]


async def test_an_operator_answers_a_question_of_an_agent(terminal: Terminal):
    """W-68: the answer comes to the session as if the people asked had given it, once."""
    await terminal.chat.send(ROOT, "main", "hello", "token-01")
    (session,) = await terminal.database.run(session_rows.every)
    card = Card("Deploy?", "It is Friday.", (Option("Yes", "yes", "Yes"), Option("No", "no", "No")), "deploy-7")
    question_id = await terminal.permissions.questions.asked(
        session.id, "out-1", card, Address("terminal", "root/main")
    )
    (found,) = await terminal.questions.list("main", 10)
    assert (found.id, found.session, found.reference, found.chat) == (
        question_id, session.id, "deploy-7", "root/main",
    )  # fmt: skip
    with pytest.raises(NotFound):
        await terminal.questions.list("none", 10)
    with pytest.raises(Refused):
        await terminal.questions.answer(JOE, question_id[:5], "maybe")
    assert await terminal.questions.answer(JOE, question_id[:5], "no") == "No."
    rows = terminal.house.query(session, "SELECT content FROM messages_in WHERE kind = 'system'")
    answer = json.loads(rows[0][0])
    assert (answer["value"], answer["reference"], answer["userId"]) == ("no", "deploy-7", "terminal:joe")
    with pytest.raises(NotFound):
        await terminal.questions.answer(JOE, question_id, "yes")
