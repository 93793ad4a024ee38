"""Agents that talk to each other in real containers: answers, files, bounds, and agents that agents have asked for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import STATE, call
from system.loopback import Delivery
from system.town import Town


@pytest.fixture
def other(town: Town) -> Iterator[str]:
    """A second agent; the two know each other."""
    with appliance.group(f"other-{town.tag}") as name:
        call("Destinations.Add", group=town.group, agent=name, name="other")
        call("Destinations.Add", group=name, agent=town.group, name="asker")
        yield name


def tell(tool: str, **arguments: object) -> str:
    return f"!call {tool} {json.dumps(arguments)}"


def named(town: Town, chat: str) -> str:
    """Return the name under which the town's agent knows a chat."""
    found = call("Destinations.List", group=town.group)["destinations"]
    return next(str(one["name"]) for one in found if one.get("chat") == chat)


def test_a_question_goes_to_another_agent_and_its_answer_to_the_person(town: Town, other: str) -> None:
    """F-76: the person hears what their own agent says, and nothing else."""
    chat = town.chat(town.loop, policy="public")
    back = named(town, chat)
    # The other one is told to have the asker tell the person, which is how scripts talk about answers.
    relay = tell("send_message", to=back, text="it is forty-two")
    town.say(town.loop, chat, tell("send_message", to="other", text=f"!raw {relay}"), by="ann")
    heard = town.loop.hears(chat, "it is forty-two")
    assert heard.chat == chat
    links = {(one["group"], one["peer"]): one for one in call("Peers.List")["peers"]}
    assert links[town.group, other]["messages"] >= 1
    assert links[other, town.group]["messages"] >= 1


def test_ping_pong_ends_and_the_person_is_told(town: Town, other: str) -> None:
    """W-23: two agents that echo each other are stopped by the host, and the chat where it began says so."""
    chat = town.chat(town.loop, policy="public")
    town.say(town.loop, chat, tell("send_message", to="other", text="ping"), by="ann")
    told = town.loop.wait(
        lambda one: one.chat == chat and "were stopped: 12 messages went between agents" in one.text,
        "that they were stopped",
        seconds=120,
    )
    assert town.group in told.text
    count = sum(one["messages"] for one in call("Peers.List")["peers"] if one["group"] in (town.group, other))
    assert count == 12


def test_a_file_goes_from_agent_to_agent(town: Town, other: str) -> None:
    """F-76: what one agent has written lies with the other one, below its own in/files."""
    chat = town.chat(town.loop, policy="public")
    send = tell("send_file", path="note.txt", to="other", text="!raw thank you")
    town.say(town.loop, chat, f"!write /workspace/note.txt forty-two\n{send}", by="ann")
    wait_until(lambda: files_of(other), "the file is there")
    (found,) = files_of(other)
    assert found.read_text() == "forty-two"


def files_of(group: str) -> list[Path]:
    return sorted((STATE / "sessions" / group).glob("*/in/files/*/note.txt"))


def test_an_agent_asks_for_an_agent_and_talks_with_it(town: Town) -> None:
    """W-26: the card shows everything, only who decides about all agents may allow it, and then they talk."""
    town.grant("boss")
    town.grant("admin", "admin", town.group)
    chat = town.chat(town.loop, policy="public")
    name = f"Helper {town.tag}"
    folder = f"helper-{town.tag}"
    town.say(town.loop, chat, tell("create_agent", name=name, instructions="Say what is so."), by="ann")
    town.loop.hears(chat, "somebody has to allow this first")
    card: Delivery = town.loop.wait(lambda one: one.kind == "card" and "Peers.Create" in one.text, "the card")
    assert name in card.text
    assert "instructions: Say what is so." in card.text
    assert "only an owner or an administrator of everything may allow it" in card.text
    assert "may not decide" in town.click(card, "Allow", by="admin")
    town.click(card, "Allow", by="boss")
    told = town.loop.hears(chat, "can write to it as")
    assert folder in told.text
    back = named(town, chat)
    relay = tell("send_message", to=back, text="hello from the new one")
    town.say(town.loop, chat, tell("send_message", to=folder, text=f"!raw {relay}"), by="ann")
    town.loop.hears(chat, "hello from the new one")
