"""A conversation that outgrows the model: summarised by it, archived, never dropped in silence."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from model_endpoint import Endpoint, refuses, says, wants
from runner_stage import Host
from tool_stage import Stage

SMALL = {"provider": "openai", "model": "tiny", "context_tokens": 4000, "tools": False}
SEEING = {**SMALL, "prompt": "addressed"}
PICTURE = b"\x89PNG\r\n\x1a\n" + b"pixels"


@pytest.fixture
def endpoint(host: Host) -> Iterator[Endpoint]:
    server = Endpoint(host.places.gateway_socket)
    yield server
    server.shutdown()
    server.server_close()


def ask(stage: Stage, text: str, count: int) -> str:
    stage.host.insert(text)
    stage.ring()
    return stage.answered(count)


def archived(host: Host) -> str:
    directory = host.places.workspace / "conversations"
    return "\n".join(path.read_text() for path in sorted(directory.glob("*.md"))) if directory.is_dir() else ""


def system(request: dict[str, Any]) -> str:
    return str(request["messages"][0]["content"])


def test_older_exchanges_become_a_summary_before_the_window_is_full(host: Host, endpoint: Endpoint):
    long = "word " * 600
    endpoint.behaviours = [says("one"), says("two"), says("Ada likes tea."), says("three"), says("four")]
    stage = Stage(host, **SMALL)
    ask(stage, f"first {long}", 1)
    ask(stage, f"second {long}", 2)
    assert ask(stage, f"third {long}", 3) == "three"
    summary = endpoint.requests[2]["messages"]
    assert "memory of an assistant" in summary[0]["content"]
    assert "first word" in summary[1]["content"]
    assert "Ada likes tea." in system(endpoint.requests[3])
    assert "first word" not in json.dumps(endpoint.requests[3]["messages"][1:])
    assert "first word" in archived(host)
    ask(stage, "fourth", 4)
    assert "Ada likes tea." in system(endpoint.requests[4])


def test_without_a_summary_the_first_words_are_kept(host: Host, endpoint: Endpoint):
    long = "word " * 600
    endpoint.behaviours = [says("one"), says("two"), refuses(403, "no"), says("three")]
    stage = Stage(host, **SMALL)
    ask(stage, f"my number is 7 {long}", 1)
    ask(stage, f"second {long}", 2)
    assert ask(stage, f"third {long}", 3) == "three"
    assert "my number is 7" in system(endpoint.requests[3])


def test_an_endpoint_that_finds_it_too_long_gets_a_summary(host: Host, endpoint: Endpoint):
    too_long = refuses(400, "This model's maximum context length is 900 tokens")
    endpoint.behaviours = [says("one"), says("two"), too_long, says("In brief."), says("In short."), says("three")]
    stage = Stage(host, **{**SMALL, "context_tokens": 100_000})
    ask(stage, "first " + "word " * 1000, 1)
    ask(stage, "second " + "word " * 1000, 2)
    assert ask(stage, "third", 3) == "three"
    assert "In brief." in json.dumps(endpoint.requests[4])
    assert "In short." in system(endpoint.requests[5])
    assert "first word" in archived(host)


def test_an_endless_result_of_tools_is_shortened_within_the_turn(host: Host, endpoint: Endpoint):
    printing = json.dumps({"command": "yes 0123456789 | head -c 30000"})
    endpoint.behaviours = [wants(("run_command", printing)), wants(("run_command", printing)), says("Done.")]
    stage = Stage(host, **{**SMALL, "tools": True, "context_tokens": 8000})
    assert ask(stage, "go", 1) == "Done."
    assert len(json.dumps(endpoint.requests[2]["messages"])) < 24_000
    assert "left out here" in json.dumps(endpoint.requests[2]["messages"], ensure_ascii=False)


def test_what_is_asked_may_be_longer_than_the_model_holds(host: Host, endpoint: Endpoint):
    stage = Stage(host, **SMALL)
    assert ask(stage, "begin " + "word " * 5000 + " end", 1) == "ok"
    sent = str(endpoint.requests[0]["messages"][-1]["content"])
    assert len(sent) < 12_000
    assert "left out here" in sent


def test_compact_makes_a_summary_now(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("one"), says("two"), says("three"), says("They counted."), says("five")]
    stage = Stage(host, **{**SMALL, "context_tokens": 100_000})
    for number in (1, 2, 3):
        ask(stage, f"say {number}", number)
    host.command("compact")
    stage.ring()
    assert "1 exchange of 3 were summarised by the model" in stage.answered(4)
    assert "say 1" in archived(host)
    ask(stage, "go on", 5)
    assert "They counted." in system(endpoint.requests[-1])
    said = json.dumps(endpoint.requests[-1]["messages"])
    assert "say 1" not in said
    assert "say 3" in said
    host.command("context")
    stage.ring()
    assert "a summary of what was before" in stage.answered(6)


def picture(host: Host, name: str = "cat.png", data: bytes = PICTURE) -> str:
    directory = host.places.inbound_files / "m1"
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(data)
    return json.dumps(
        {
            "text": "what is it?",
            "sender": "Ada",
            "senderId": "cli:ada",
            "attachments": [{"name": name, "type": "image/png", "size": len(data), "path": f"files/m1/{name}"}],
        }
    )


def test_a_picture_is_shown_to_the_model(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [says("A cat."), says("Yes.")]
    stage = Stage(host, **SEEING)
    host.insert("", content=picture(host))
    stage.ring()
    assert stage.answered() == "A cat."
    text, image = endpoint.requests[0]["messages"][-1]["content"]
    assert "cat.png" in text["text"]
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    ask(stage, "sure?", 2)
    assert "base64" not in json.dumps(endpoint.requests[1])


def test_a_model_that_sees_nothing_gets_the_mention(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(400, "this model does not support image input"), says("I cannot see it.")]
    stage = Stage(host, **SEEING)
    host.insert("", content=picture(host))
    stage.ring()
    assert stage.answered() == "I cannot see it."
    assert "cat.png" in endpoint.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(("begin", "size"), [(b"no picture at all", 0), (b"", 0), (PICTURE, 6_000_000)])
def test_what_is_no_picture_or_too_large_is_only_named(host: Host, endpoint: Endpoint, begin: bytes, size: int):
    stage = Stage(host, **SEEING)
    host.insert("", content=picture(host, data=begin + b"x" * size))
    stage.ring()
    assert stage.answered() == "ok"
    assert isinstance(endpoint.requests[0]["messages"][-1]["content"], str)


def test_a_link_in_the_received_files_is_not_followed(host: Host, endpoint: Endpoint):
    content = picture(host)
    (host.places.inbound_files / "m1" / "cat.png").unlink()
    secret = host.root / "secret.png"
    secret.write_bytes(PICTURE)
    (host.places.inbound_files / "m1" / "cat.png").symlink_to(secret)
    stage = Stage(host, **SEEING)
    host.insert("", content=content)
    stage.ring()
    assert stage.answered() == "ok"
    assert "base64" not in json.dumps(endpoint.requests[0])
