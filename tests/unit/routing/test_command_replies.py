"""What the appliance says about an agent: from facts, for everybody to read."""

from collections.abc import Sequence

import pytest

from nanoclawd.routing.command_replies import State, reply
from nanoclawd.routing.commands import parse
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.sessions.state import Phase, Snapshot
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.chats import Chat
from unit.routing.world import World, event


def answer(
    world: World, said: InboundEvent, states: dict[str, State] | None = None, stopped: Sequence[str] = ()
) -> str:
    facts = world.facts(said)
    command = parse(said.text)
    assert command is not None
    return reply(command, said, facts, facts.agents, states or {}, stopped=stopped)


@pytest.fixture
def room(world: World) -> Chat:
    chat = world.chat()
    world.wired(chat, world.group("main"), engage_mode="mention-sticky")
    return chat


@pytest.mark.parametrize(
    ("columns", "is_group", "thread", "words"),
    [
        ({"engage_mode": "pattern", "engage_pattern": "."}, True, None, "hears everything that is written here"),
        ({"engage_mode": "pattern", "engage_pattern": "^!bot"}, True, None, "hears what matches `^!bot`"),
        ({"engage_mode": "mention"}, True, None, "hears what mentions it."),
        ({"engage_mode": "mention"}, False, None, "hears everything that you write here"),
        ({"engage_mode": "mention-sticky"}, True, None, "hears what mentions it."),
        ({"engage_mode": "mention-sticky"}, True, "t", "from then on the whole thread"),
    ],
)
def test_help_says_what_is_heard(world: World, columns: dict[str, str], is_group: bool, thread: str | None, words: str):
    chat = world.chat(is_group=is_group)
    world.wired(chat, world.group("main"), **columns)
    assert words in answer(world, event(chat, "/help", thread=thread))


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        ("owner", "owner"),
        ("global-admin", "global admin"),
        ("group-admin", "admin"),
        ("member", "member"),
        ("stranger", "stranger"),
    ],
)
def test_whoami_says_what_one_is(world: World, room: Chat, sender: str, words: str):
    said = answer(world, event(room, "/whoami", sender))
    assert f"`loopback:{sender}`" in said
    assert f"To main you are: {words}." in said


def test_whoami_of_nobody(world: World, room: Chat):
    assert "can't tell who you are" in answer(world, event(room, "/whoami", None))


def test_a_name_turns_nothing_around(world: World, room: Chat):
    said = event(room, "/whoami")
    hostile = InboundEvent(said.address, "1", said.text, Sender("loopback:x", "a\u202eb\x1b[2J"), is_group=True)
    assert answer(world, hostile).startswith("You are ab[2J (`loopback:x`).")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "main: asleep, and woken by the next message."),
        (State(Snapshot(Phase.AWAKE), 0), "main: awake, with nothing to do."),
        (State(Snapshot(Phase.AWAKE), 1), "main: at work; 1 message waits for an answer."),
        (
            State(Snapshot(Phase.WAITING, place=2, reason="8 are awake"), 3),
            "main: waiting for a place, number 2 in the queue (8 are awake); 3 messages wait for an answer.",
        ),
        (State(Snapshot(Phase.WAKING), 1), "main: starting; 1 message waits for an answer."),
        (
            State(Snapshot(Phase.QUARANTINED, reason="a view"), 0),
            "main: out of order, until an administrator resets it (a view).",
        ),
    ],
)
def test_status(world: World, room: Chat, state: State | None, words: str):
    said = event(room, "/status")
    assert answer(world, said) == "main: no conversation here yet."
    facts = world.facts(said)
    session = session_rows.create(world.connection, facts.agents[0].wiring.agent_group_id, room.id)
    assert answer(world, said, {} if state is None else {session.id: state}) == words


def test_stop(world: World, room: Chat):
    assert answer(world, event(room, "/stop"), stopped=["main"]) == "Stopped: main."
    assert answer(world, event(room, "/stop")) == "Nothing is running that could be stopped."
