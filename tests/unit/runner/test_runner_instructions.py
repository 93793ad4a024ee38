"""The system prompt: name, instructions, memories within bounds, and destinations as they are now."""

import os

import pytest
from place_stage import ADA, HELPER, destinations, own_chat
from runner_stage import Host

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.destinations import Book
from nanoclaw_runner.instructions import MAX_MEMORY_BYTES, Instructions
from nanoclaw_runner.store.inbox import Inbox


def instructions(host: Host, **changes: object) -> Instructions:
    config = AgentConfig(instructions="Be brief.", **changes)  # type: ignore[arg-type]
    return Instructions(config, host.places, Book(Inbox(host.places.inbound_db)))


def write(path: os.PathLike[str], text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120  # any path
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)


def test_it_follows_the_destinations(host: Host):
    """W-65"""
    compose = instructions(host)
    assert "sent to where you were asked" in compose()
    own_chat(host, "1")
    assert "What you answer is sent to chat (the chat of this conversation)." in compose()
    destinations(host, HELPER)
    text = compose()
    assert "What is to be sent has to be in a block that names its destination" in text
    assert "- chat (the chat of this conversation)\n- helper, an agent" in text
    destinations(host, ADA)
    assert "- ada (Ada Lovelace)\n- helper, an agent" in compose()


def test_name_and_memories_are_in_it(host: Host):
    write(host.places.agent_memory, "We are a family of four.")
    write(host.places.group_notes, "Ada likes tea.")
    text = instructions(host, assistant_name="Robin")()
    assert text.startswith("Your name is Robin.\n\nBe brief.\n\nWe are a family of four.\n\n## Your notes (")
    assert "Ada likes tea." in text
    assert "send_message" in text
    assert "send_message" not in instructions(host, tools=False)()
    assert "Ada likes tea." not in instructions(host, provider="claude")()
    assert not instructions(host, assistant_name="brief")().startswith("Your name")


def test_a_small_model_gets_no_rules_of_addressing(host: Host):
    assert instructions(host, prompt="plain")() == "Be brief."


def test_a_vast_memory_is_cut_with_a_word(host: Host):
    write(host.places.group_notes, "é" * MAX_MEMORY_BYTES)
    text = instructions(host, prompt="plain")()
    assert len(text.encode()) < MAX_MEMORY_BYTES + 500
    assert f"only the first {MAX_MEMORY_BYTES} bytes" in text


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_memory_that_is_no_file_is_passed_over(host: Host, kind: str):
    """What the agent makes of its notes can neither show another file nor hold the runner up."""
    write(host.root / "secret", "the secret")
    match kind:
        case "link":
            host.places.group_notes.symlink_to(host.root / "secret")
        case "pipe":
            os.mkfifo(host.places.group_notes)
        case _:
            host.places.group_notes.mkdir()
    assert instructions(host, prompt="plain")() == "Be brief."
