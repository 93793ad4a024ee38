"""What was said, kept as Markdown (§7.4)."""

import json
from datetime import UTC, datetime
from pathlib import Path

from nanoclaw_runner.providers import claude_archive
from nanoclaw_runner.transcripts import MAX_ENTRY_CHARACTERS, Entry, archive

NOW = datetime(2026, 5, 4, 13, 37, tzinfo=UTC)
TALK = [Entry("User", "hello"), Entry("Otto", "good day")]


def test_a_conversation_is_readable(tmp_path: Path):
    path = archive(tmp_path, TALK, NOW, "Plans for the Garden: Spring!")
    assert path == tmp_path / "conversations" / "2026-05-04-plans-for-the-garden-spring.md"
    assert path.read_text() == (
        "# Plans for the Garden: Spring!\n\nArchived: 2026-05-04T13:37+00:00\n\n---\n\n"
        "**User**: hello\n\n**Otto**: good day\n"
    )


def test_without_a_title_it_is_named_by_the_time(tmp_path: Path):
    path = archive(tmp_path, TALK, NOW)
    assert path is not None
    assert path.name == "2026-05-04-conversation-1337.md"
    assert path.read_text().startswith("# Conversation\n")


def test_nothing_is_ever_overwritten(tmp_path: Path):
    names = [found.name for _ in range(3) if (found := archive(tmp_path, TALK, NOW, "Talk"))]
    assert names == ["2026-05-04-talk.md", "2026-05-04-talk-2.md", "2026-05-04-talk-3.md"]


def test_long_words_are_cut(tmp_path: Path):
    path = archive(tmp_path, [Entry("User", "x" * 5000)], NOW, "y" * 500)
    assert path is not None
    assert path.read_text().endswith("x" * (MAX_ENTRY_CHARACTERS - 1) + "…\n")
    assert len(path.name) < 70


def test_nothing_said_is_nothing_kept(tmp_path: Path):
    assert archive(tmp_path, [Entry("User", "  ")], NOW) is None
    assert not (tmp_path / "conversations").exists()


def test_a_link_of_the_agents_is_not_followed(tmp_path: Path):
    (tmp_path / "conversations").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "conversations" / "2026-05-04-talk.md").symlink_to(tmp_path / "precious")
    path = archive(tmp_path, TALK, NOW, "Talk")
    assert path is not None
    assert path.name == "2026-05-04-talk-2.md"
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_workspace_that_takes_nothing_is_only_logged(tmp_path: Path):
    (tmp_path / "conversations").write_text("a file")
    assert archive(tmp_path, TALK, NOW) is None


def line(kind: str, content: object, **more: object) -> str:
    return json.dumps({"type": kind, "message": {"role": kind, "content": content}, **more})


def test_of_the_clients_file_only_words_since_the_last_time_are_kept(tmp_path: Path):
    transcript = tmp_path / "one.jsonl"
    text = {"type": "text", "text": "the answer"}
    transcript.write_text(
        "\n".join(
            [
                line("user", "long ago"),
                json.dumps({"type": "system", "subtype": "compact_boundary"}),
                line("user", "a summary of it", isCompactSummary=True),
                "{torn",
                "[]",
                line("user", "<system-reminder>be good</system-reminder>\nwhat is it?"),
                line("assistant", [{"type": "tool_use", "id": "1", "name": "Bash", "input": {}}]),
                line("user", [{"type": "tool_result", "tool_use_id": "1", "content": "secret"}]),
                line("assistant", [{"type": "thinking", "thinking": "hm"}, text]),
                line("assistant", [text], isSidechain=True),
                line("user", "<command-name>/cost</command-name>"),
                json.dumps({"type": "summary", "summary": "A question"}),
            ]
        )
    )
    path = claude_archive.keep(transcript, tmp_path, "Otto", "UTC")
    assert path is not None
    assert path.name.endswith("-a-question.md")
    body = path.read_text().partition("---\n\n")[2]
    assert body == "**User**: what is it?\n\n**Otto**: the answer\n"


def test_a_file_that_is_not_there_is_only_logged(tmp_path: Path):
    assert claude_archive.keep(tmp_path / "none.jsonl", tmp_path, "Otto", "UTC") is None
