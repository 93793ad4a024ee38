"""Messages, files, edits and reactions by tools, through a real runner; the test is the host."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_stage import Host
from tool_stage import Stage


@pytest.fixture
def stage(host: Host) -> Stage:
    return Stage(host)


def test_a_message_goes_where_the_turn_was_asked_and_is_said_to_be_there_when_it_is(host: Host):
    """F-50, F-52, F-125, F-126, F-127: the chat and its thread, the number; W-17: it answers the message."""
    stage = Stage(host)
    asked = stage.calls(("send_message", {"text": "on it"}), thread="t1")
    (row,) = stage.await_rows(1)
    assert (row["kind"], row["content"]) == ("chat", {"text": "on it"})
    assert (row["channel_type"], row["platform_id"], row["thread_id"]) == ("cli", "terminal", "t1")
    assert row["in_reply_to"] == asked
    assert row["seq"] == 3
    stage.becomes(row, "sending")
    stage.becomes(row, "delivered")
    assert "delivered as #3" in stage.answered()


def test_a_session_without_routing_has_the_chat_of_the_message(host: Host):
    """F-126: no row of session_routing, no error; F-125: with one it is the place of what has none of its own."""
    stage = Stage(host)
    stage.calls(("send_message", {"text": "nowhere"}), platform=None)
    assert "asked nowhere" in stage.answered()
    host.inbound.execute(
        "INSERT INTO session_routing (id, channel_type, platform_id, thread_id) VALUES (1, 'chat', 'own', 't9')"
    )
    stage.calls(("send_message", {"text": "home"}), platform=None)
    row = next(row for row in stage.await_rows(2) if row["id"].startswith("k-"))
    assert (row["channel_type"], row["platform_id"], row["thread_id"]) == ("chat", "own", "t9")
    stage.becomes(row, "delivered")
    stage.answered(2)


def test_a_destination_is_reached_by_its_name_as_a_new_conversation(host: Host):
    """F-53, F-128: in another chat there is no thread, and nothing that it would answer."""
    stage = Stage(host)
    stage.place("team", "chat-9")
    stage.calls(("send_message", {"text": "hello team", "to": "team"}), thread="t1")
    (row,) = stage.await_rows(1)
    assert (row["channel_type"], row["platform_id"], row["thread_id"]) == ("chat", "chat-9", None)
    assert row["in_reply_to"] is None
    stage.becomes(row, "delivered")
    assert "delivered as" in stage.answered()


def test_an_unknown_destination_names_those_that_there_are(host: Host):
    stage = Stage(host)
    stage.place("team", "chat-9")
    stage.calls(("send_message", {"text": "x", "to": "staff"}))
    answer = stage.answered()
    assert "there is no destination 'staff'" in answer
    assert "team" in answer
    assert len(stage.rows()) == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("send_message", {"text": "  \n"}, "the text is empty"),
        ("send_message", {}, "text"),
        ("edit_message", {"messageId": 99, "text": "x"}, "#99 not found"),
        ("edit_message", {"messageId": 2, "text": "x"}, "#2 is not yours"),
        ("edit_message", {"messageId": 0, "text": "x"}, "messageId"),
        ("add_reaction", {"messageId": 99, "emoji": "thumbs_up"}, "#99 not found"),
        ("add_reaction", {"messageId": 2, "emoji": "no such thing"}, "is no emoji"),
        ("add_reaction", {"messageId": 2, "emoji": "ok then"}, "is no emoji"),
        ("send_message", {"text": "x", "to": "\ud800"}, "there is no destination"),
        ("add_reaction", {"messageId": 2, "emoji": "\ud83d"}, "is no emoji"),
        ("send_file", {"path": "\ud800"}, "not found"),
        ("no_such_tool", {}, "unknown tool: no_such_tool"),
        *(
            (name, {"name": "x", "hostPattern": "a.example"}, f"unknown tool: {name}")
            for name in ("trigger_credential_collection", "request_credential")
        ),
    ],
)
def test_what_cannot_be_done_is_an_error_and_no_row(stage: Stage, tool: str, arguments: dict[str, object], words: str):
    """F-51, F-54, F-59: the error says what is wrong; only the turn's own answer is written.

    F-139: no tool asks a person for a credential; F-120: so none can fail at it.
    """
    stage.calls((tool, arguments))
    assert words in stage.answered()
    assert len(stage.rows()) == 1


def test_a_refused_message_is_an_error_with_the_hosts_reason(stage: Stage):
    stage.calls(("send_message", {"text": "x"}))
    stage.becomes(stage.await_rows(1)[0], "failed", reason="this agent may not write to that chat")
    assert "could not be delivered: this agent may not write to that chat" in stage.answered()


@pytest.mark.parametrize(
    ("attempts", "reason", "words"),
    [
        (0, None, "accepted as #3; not delivered yet (the chat is not reachable now"),
        (2, "slow down", "accepted as #3; not delivered yet: slow down"),
    ],
)
def test_a_message_that_waits_is_said_to_wait(stage: Stage, attempts: int, reason: str | None, words: str):
    stage.calls(("send_message", {"text": "x"}))
    stage.becomes(stage.await_rows(1)[0], "pending", attempts=attempts, reason=reason)
    assert words in stage.answered()


def test_an_own_message_is_edited_by_its_number(stage: Stage):
    """F-58, F-77: the number that the agent got is the one that it gives; the row names it and its chat."""
    stage.calls(("send_message", {"text": "frist"}), ("edit_message", {"messageId": 3, "text": "first"}), thread="t1")
    stage.becomes(stage.await_rows(1)[0], "delivered")
    edit = stage.await_rows(2)[1]
    assert edit["content"] == {"operation": "edit", "messageId": 3, "text": "first"}
    assert (edit["platform_id"], edit["thread_id"]) == ("terminal", "t1")
    stage.becomes(edit, "delivered")
    assert "edited #3" in stage.answered()


@pytest.mark.parametrize(
    ("given", "emoji"),
    [("thumbs_up", "👍"), (":fire:", "🔥"), ("white-check-mark", "✅"), ("🇩🇪", "🇩🇪"), ("pushpin", "📌")],
)
def test_a_users_message_is_reacted_to_by_its_number(stage: Stage, given: str, emoji: str):
    """F-60, W-2: the host's own books have the platform's id; the row has the number, and the emoji itself."""
    stage.calls(("add_reaction", {"messageId": 2, "emoji": given}))
    (row,) = stage.await_rows(1)
    assert row["content"] == {"operation": "reaction", "emoji": emoji, "messageId": 2}
    stage.becomes(row, "delivered")
    assert f"reacted with {emoji} to #2" in stage.answered()


def test_numbers_come_from_one_sequence_and_rows_in_the_order_of_the_calls(stage: Stage):
    """F-77, W-12, W-13, W-17: tools, answers and messages; nothing twice, in order, each answering its message."""
    asked = []
    for turn in range(3):
        texts = [f"{turn}-{number}" for number in range(4)]
        asked.append(stage.calls(*(("send_message", {"text": text}) for text in texts)))
        for number in range(4):
            stage.becomes(stage.await_rows(turn * 5 + number + 1)[-1], "delivered")
        stage.answered(turn + 1)
    rows = stage.rows()
    heard = [int(str(row[0])) for row in stage.host.inbound.execute("SELECT seq FROM messages_in")]
    numbers = [row["seq"] for row in rows]
    assert len({*numbers, *heard}) == len(numbers) + len(heard)
    assert numbers == sorted(numbers)
    said = [row["content"]["text"] for row in rows if row["id"].startswith("k-")]
    assert said == [f"{turn}-{number}" for turn in range(3) for number in range(4)]
    assert [row["in_reply_to"] for row in rows] == [one for one in asked for _ in range(5)]


def test_half_a_character_is_said_as_a_sign_for_it(stage: Stage):
    """A model's JSON can spell what UTF-8 cannot hold."""
    stage.calls(("send_message", {"text": "so \ud83d"}))
    (row,) = stage.await_rows(1)
    assert row["content"] == {"text": "so ?"}
    stage.becomes(row, "delivered")
    assert "delivered as #3" in stage.answered()


# Files.


@pytest.mark.parametrize("relative", [True, False])
def test_a_file_is_copied_and_goes_along(stage: Stage, relative: bool):
    """F-55: from the workspace; the bytes are the same, and readable for the host's group."""
    data = os.urandom(100_000)
    path = stage.host.places.workspace / "out" / "report.pdf"
    path.parent.mkdir()
    path.write_bytes(data)
    stage.calls(("send_file", {"path": "out/report.pdf" if relative else str(path), "text": "here"}))
    (row,) = stage.await_rows(1)
    assert row["content"] == {"text": "here", "files": ["report.pdf"]}
    copy = stage.host.places.outbound_files / "report.pdf"
    assert copy.read_bytes() == data
    assert copy.stat().st_mode & 0o777 == 0o660
    stage.becomes(row, "delivered")
    assert "report.pdf: delivered as #3" in stage.answered()


def test_a_file_has_the_name_that_is_wanted_and_none_takes_anothers_place(stage: Stage):
    """F-57: the name is shown; a second file of the same name does not replace the first, which may still wait."""
    for number in range(2):
        (stage.host.places.temporary / f"{number}.bin").write_text(str(number))
    paths = [str(stage.host.places.temporary / f"{number}.bin") for number in range(2)]
    stage.calls(*(("send_file", {"path": path, "filename": "data.tar.gz"}) for path in paths))
    stage.becomes(stage.await_rows(1)[0], "delivered")
    first, second = stage.await_rows(2)
    assert (first["content"]["files"], second["content"]["files"]) == (["data.tar.gz"], ["data-2.tar.gz"])
    files = stage.host.places.outbound_files
    assert [(files / name).read_text() for name in ("data.tar.gz", "data-2.tar.gz")] == ["0", "1"]
    stage.becomes(second, "delivered")
    stage.answered()


def _fifo(root: Path) -> None:
    os.mkfifo(root / "thing")


def _link(root: Path) -> None:
    (root / "thing").symlink_to("/etc/passwd")


def _link_to_own_file(root: Path) -> None:
    (root / "real").write_text("x")
    (root / "thing").symlink_to(root / "real")


def _socket(root: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(root / "thing"))


def _big(root: Path) -> None:
    with (root / "thing").open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)


@pytest.mark.parametrize(
    ("prepare", "arguments", "words"),
    [
        (None, {"path": "thing"}, "file not found"),
        (None, {"path": ""}, "plain name"),
        (None, {"path": "a\0b"}, "can't be shown"),
        (None, {"path": "."}, "plain name"),
        (None, {"path": ".", "filename": "x"}, "no regular file"),
        (_fifo, {"path": "thing"}, "no regular file"),
        (_socket, {"path": "thing"}, "no regular file"),
        (_link, {"path": "thing"}, "is a link"),
        (_link_to_own_file, {"path": "thing"}, "is a link"),
        (_big, {"path": "thing"}, "50.0 MiB; 50 MiB can be sent"),
        (None, {"path": "../../etc/passwd"}, "leads out"),
        (None, {"path": "/etc/passwd"}, "files can be sent from"),
        (None, {"path": "/proc/self/environ"}, "files can be sent from"),
        (None, {"path": "real", "filename": "../../evil"}, "plain name"),
        (None, {"path": "real", "filename": "..", "text": "x"}, "plain name"),
        (None, {"path": "real", "filename": "a\nb"}, "can't be shown"),
        (None, {"path": "real", "filename": "n" * 300}, "plain name"),
    ],
)
def test_a_file_that_may_not_go_leaves_nothing_behind(
    stage: Stage, prepare: Callable[[Path], None] | None, arguments: dict[str, object], words: str
):
    """F-56, W-78: missing, links, devices, pipes, too large, outside, with a name that is none: an error, no row, no
    file; the text does not go alone."""
    workspace = stage.host.places.workspace
    if prepare is not None:
        prepare(workspace)
    stage.calls(("send_file", arguments))
    assert words in stage.answered()
    assert len(stage.rows()) == 1
    assert list(stage.host.places.outbound_files.iterdir()) == []


def test_a_file_swapped_for_a_link_meanwhile_is_never_followed(stage: Stage):
    """W-78: a directory on the way that becomes a link leads nowhere either."""
    workspace = stage.host.places.workspace
    outside = workspace.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    (workspace / "dir").symlink_to(outside)
    stage.calls(("send_file", {"path": "dir/secret"}), ("send_file", {"path": "dir/../../outside/secret"}))
    answer = stage.answered()
    assert answer.count("is a link") == 2
    assert "s3cret" not in str(stage.rows())


# A turn that is repeated.


def test_a_turn_that_is_repeated_after_a_kill_says_nothing_twice(host: Host):
    """The same call of the same turn is the same row; the second of two equal calls is another."""
    stage = Stage(host)
    path = host.places.workspace / "a.txt"
    path.write_text("a")
    calls = [("send_message", {"text": "hi"}), ("send_message", {"text": "hi"}), ("send_file", {"path": "a.txt"})]
    stage.calls(*calls)  # type: ignore[arg-type]
    for number in range(2):
        stage.becomes(stage.await_rows(number + 1)[-1], "delivered")
    before = stage.await_rows(3)
    host.processes[-1].kill()
    host.processes[-1].wait()
    host.notifications.clear()
    again = Stage(host)
    again.becomes(before[2], "delivered")
    answer = again.answered()
    assert [f"delivered as #{row['seq']}" in answer for row in before] == [True] * 3
    assert again.rows()[:3] == before
    assert len(again.rows()) == 4
    assert [one.name for one in host.places.outbound_files.iterdir()] == ["a.txt"]
