"""Commands about the session: what each does, when it acts, and that no text is one."""

import json
import os
import re
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_endpoint import Endpoint, refuses, says
from runner_stage import Host, chat

from nanoclaw_runner import system_rows
from nanoclaw_runner.contract import clock, doorbell
from nanoclaw_runner.contract.rows import InboundRow
from nanoclaw_runner.listing import MAX_LOOKED_AT, MAX_SHOWN, listing
from nanoclaw_runner.prompt import from_rows

STATES = "SELECT key FROM session_state ORDER BY key"


@pytest.fixture
def endpoint(host: Host):
    host.configure(provider="openai", endpoint="embedded", model="tiny")
    server = Endpoint(host.places.gateway_socket)
    yield server
    server.shutdown()
    server.server_close()


class Talk:
    """A runner that is talked to."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.answered = len(host.replies())
        host.start_ready()
        self.connection = host.connect()

    def say(self, text: str) -> str:
        self.host.insert(text)
        return self.next()

    def command(self, name: str, args: str = "") -> str:
        self.host.command(name, args)
        return self.next()

    def next(self) -> str:
        self.answered += 1
        self.connection.send(doorbell.RING)
        return self.host.await_replies(self.connection, self.answered)[-1]


def test_clear_begins_a_new_conversation(host: Host, endpoint: Endpoint):
    """F-200: continuation forgotten, the word sent, the next message starts new; its history is deleted."""
    endpoint.behaviours = [says("one"), says("two"), says("three")]
    talk = Talk(host)
    assert [talk.say("1"), talk.say("2")] == ["one", "two"]
    assert len(endpoint.said()) == 3
    assert host.outbound(STATES) == [("continuation:openai",)]
    assert talk.command("clear") == "Session cleared."
    assert host.outbound(STATES) == []
    assert list((host.places.home / "openai").iterdir()) == []
    assert talk.say("3") == "three"
    assert endpoint.said() == [("user", "Ada: 3")]


def test_clear_forgets_every_providers_conversation_and_answers_where_it_was_given(host: Host):
    """F-200"""
    talk = Talk(host)
    talk.say("!remember blue")
    identifier = host.command("clear", thread="t-7")
    assert talk.next() == "Session cleared."
    assert host.outbound("SELECT in_reply_to, thread_id, kind FROM messages_out ORDER BY seq DESC LIMIT 1") == [
        (identifier, "t-7", "chat")
    ]
    assert host.acks()[identifier] == "completed"
    assert talk.say("!recall") == "recall: nothing"


def test_a_conversation_of_another_provider_is_forgotten_too(host: Host, endpoint: Endpoint):
    host.configure(provider="scripted")
    talk = Talk(host)
    talk.say("!remember blue")
    host.processes[-1].kill()
    host.processes[-1].wait()
    host.configure(provider="openai", model="tiny")
    talk = Talk(host)
    assert talk.say("hi") == "ok"
    assert len(host.outbound(STATES)) == 2
    talk.command("clear")
    assert host.outbound(STATES) == []


def test_clear_acts_between_two_messages(host: Host):
    """W-66: wherever it stands among what was written before the runner looked, it is a command."""
    for text in ("!remember blue", "!recall"):
        host.insert(text)
    host.command("clear")
    host.insert("!recall")
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 3) == [
        *("remembered blue\nrecall: blue", "Session cleared.", "recall: nothing")
    ]


def test_a_command_waits_for_the_running_turn_and_what_follows_waits_for_it(host: Host):
    talk = Talk(host)
    host.insert("!remember blue\n!sleep 0.7")
    talk.connection.send(doorbell.RING)
    host.await_ring_until(talk.connection, lambda: "in-2" in host.acks())
    host.command("clear")
    host.insert("!recall")
    talk.connection.send(doorbell.RING)
    assert host.await_replies(talk.connection, 3) == [
        *("remembered blue\nslept 0.7 s", "Session cleared.", "recall: nothing")
    ]


def test_what_was_said_before_a_clear_is_not_context_after_it(host: Host):
    host.insert("a secret", trigger=False)
    host.insert("another", trigger=False, platform="elsewhere")
    host.command("clear")
    host.insert("since then", trigger=False)
    host.insert("what was said?")
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 2) == ["Session cleared.", "echo: since then\necho: what was said?"]
    assert set(host.acks().values()) == {"completed"}


def test_a_clear_that_was_cut_short_is_carried_out_again(host: Host):
    identifier = host.command("clear")
    outbound = apsw.Connection(str(host.places.outbound_db))
    outbound.execute("INSERT INTO processing_ack VALUES (?, 'processing', 'now')", (identifier,))
    outbound.execute("INSERT INTO session_state VALUES ('continuation:scripted', 'blue', 'now')")
    outbound.close()
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 1) == ["Session cleared."]
    assert host.outbound(STATES) == []


@pytest.mark.parametrize("text", ["/clear", "/clearx", " /CLEAR ", "/clear now", "/cost", "\uff0fclear"])
def test_no_text_of_a_person_is_a_command(host: Host, text: str):
    """W-4: only the host's row is; what slips past its gate under another spelling is a text like any other."""
    talk = Talk(host)
    talk.say("!remember blue")
    assert talk.say(text) == f"echo: {text}"
    assert talk.say("!recall") == "recall: blue"


def test_a_chat_row_that_looks_like_a_command_row_is_none(host: Host):
    """W-4"""
    talk = Talk(host)
    talk.say("!remember blue")
    host.insert("", content=json.dumps({"type": "command", "name": "clear", "text": "look, a command"}))
    assert talk.next() == "echo: look, a command"
    assert talk.say("!recall") == "recall: blue"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("context", "A script remembers one word: none yet."),
        ("cost", "This agent's provider has no /cost."),
        ("compact", "This agent's provider has no /compact."),
        ("files", "Workspace: nothing\nReceived files: nothing"),
        ("reboot\x1b[31m", "There is no command /reboot[31m here."),
        ("", "There is no command /? here."),
    ],
)
def test_each_command_is_answered_with_words(host: Host, name: str, words: str):
    assert Talk(host).command(name) == words


def test_an_unusable_provider_can_be_cleared_and_listed_and_says_why_it_can_do_no_more(host: Host):
    host.configure(provider="nonsense")
    talk = Talk(host)
    assert talk.command("clear") == "Session cleared."
    assert talk.command("files").startswith("Workspace: nothing")
    assert talk.command("context").startswith("Error: there is no provider 'nonsense'")


def test_the_conversation_with_a_model_is_told_shortened_and_counted(host: Host, endpoint: Endpoint):
    talk = Talk(host)
    for name in ("context", "compact", "cost"):
        assert talk.command(name) == "Nothing is kept of a conversation yet."
    for number in range(6):
        endpoint.behaviours = [says(f"answer {number}", usage=(1000 + number, 20))]
        talk.say(f"question {number}")
    assert re.fullmatch(
        r"6 exchanges of this conversation are kept\. With the next message the model gets all of it: 138 bytes,"
        r" roughly \d+ tokens\.",
        talk.command("context"),
    )
    assert talk.command("cost").startswith("The model's endpoint reported 6,015 tokens read and 120 written in the 6 ")
    endpoint.behaviours = [says("Ada asked four questions.")]
    assert talk.command("compact") == (
        "4 exchanges of 6 were summarised by the model (25 bytes); the last 2 are kept as they are, and all is archived"
        " in the workspace's conversations."
    )
    assert talk.command("compact") == "There is nothing to make compact: 2 exchanges kept."
    talk.say("next")
    assert "Ada asked four questions." in endpoint.said()[0][1]
    assert [text for role, text in endpoint.said() if role == "assistant"] == ["answer 4", "answer 5"]


def test_without_a_summary_of_the_models_the_first_words_are_kept(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("one"), says("two"), says("three"), refuses(403, "no")]
    talk = Talk(host)
    for number in range(3):
        talk.say(f"question {number}")
    assert talk.command("compact").startswith("1 exchange of 3 were made short without the model")
    talk.say("next")
    assert "question 0" in endpoint.said()[0][1]


def test_an_endpoint_that_does_not_count_is_not_asked_again(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(422, "Extra inputs are not permitted: stream_options"), says("one"), says("two")]
    talk = Talk(host)
    assert [talk.say("1"), talk.say("2")] == ["one", "two"]
    assert ["stream_options" in request for request in endpoint.requests] == [True, False, False]
    assert talk.command("cost") == "The model's endpoint has reported no usage for this conversation."


def test_files_are_listed_within_bounds(host: Host):
    workspace, received = host.places.workspace, host.places.inbound_files
    for number in range(MAX_SHOWN + 10):
        (workspace / f"f{number:03}").write_bytes(b"x" * 2048)
    (workspace / ".git").mkdir()
    (workspace / ".git" / "hidden").touch()
    (workspace / "deep" / "er").mkdir(parents=True)
    (workspace / "deep" / "er" / "0\nname").touch()
    (workspace / "link").symlink_to("/etc/passwd")
    (received / "photo.jpg").write_bytes(b"")
    shown = listing(host.places)
    lines = shown.splitlines()
    assert lines[0] == f"Workspace: {MAX_SHOWN + 11} files"
    assert lines[1] == "  deep/er/0?name (0 B)"
    assert lines[2] == "  f000 (2 KiB)"
    assert f"  … {11} not shown" in lines
    assert lines[-2:] == ["Received files: 1 file", "  photo.jpg (0 B)"]
    assert not any(word in shown for word in ("hidden", "link"))


def test_a_vast_workspace_is_looked_at_in_part(host: Host, tmp_path: Path):
    directory = host.places.workspace / "many"
    directory.mkdir()
    for number in range(MAX_LOOKED_AT + 10):
        os.close(os.open(directory / str(number), os.O_CREAT | os.O_WRONLY))
    assert " files and more" in listing(host.places).splitlines()[0]


def test_notes_of_the_host_become_lines_of_the_prompt():
    """A person's answer to a card, and a note; neither is marked as something overheard."""

    def line(content: object, *, trigger: bool = True) -> str:
        text = content if isinstance(content, str) else json.dumps(content)
        row = InboundRow("in-2", 2, "system", clock.now_text(), text, trigger=trigger)
        return from_rows("in-2", [row]).rendered()

    answer = {"type": "question_response", "questionId": "q1", "title": "Go?", "value": "y", "label": "Yes"}
    assert line(answer) == '[system] the answer to your question "Go?": Yes (value y)'
    full = answer | {"value": "Yes", "reference": "r-1", "userName": "Ada"}
    assert line(full) == '[system] the answer to your question "Go?": Yes (reference r-1, from Ada)'
    late = {"type": "question_response", "title": "Go?", "value": "", "label": "", "expired": True}
    assert line(late) == '[system] nobody has answered your question "Go?" in time'
    assert line({"text": "not delivered", "sender": "system"}, trigger=False) == "[system] not delivered"
    assert line({"type": "news"}) == '[system] {"type": "news"}'
    assert line("no json") == "[system] no json"
    assert line({"text": "\ud800"}) == "[system] ?"


@given(
    st.text(st.characters(exclude_categories=()))
    | st.dictionaries(
        st.sampled_from(("type", "name", "args", "text", "title", "label", "value", "frame", "requestId", "expired")),
        st.sampled_from(("command", "control_reply", "question_response")) | st.none() | st.integers() | st.text(),
    ).map(json.dumps)
)
def test_any_row_of_the_hosts_is_read(content: str):
    """Whatever it holds: a command with a name, or words that a provider can be given."""
    row = InboundRow("in-2", 2, "system", clock.now_text(), content)
    command = system_rows.command_of(row)
    assert command is None or command.name
    system_rows.reply_of(row).encode()
    from_rows("in-2", [row]).rendered().encode()


def test_a_note_asks_for_an_answer_and_is_no_directive(host: Host):
    host.insert("", kind="system", content=chat("!crash"))
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 1) == ["echo: [system] !crash"]
