"""Destinations and wirings: what an agent may write to, and what makes and ends it."""

import re
from dataclasses import replace

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store import agent_groups, chats, destinations, names, sessions, sticky
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.transaction import together

PLAIN = "abcdefghijklmnopqrstuvwxyz0123456789"


def names_of(connection: apsw.Connection, group: AgentGroup) -> list[str]:
    return [one.local_name for one in destinations.of_group(connection, group.id)]


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(PLAIN + "AZ-_ ")), max_size=150))
@example("")
@example("---")
@example("Father's  Office!")
@example("a" * 63 + "--b")
@example("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}")
@example("\ud800")
@example("../../etc/passwd")
def test_the_name_normaliser(name: str):
    """Runs of what is not a-z or 0-9 become one dash, none at the ends; nothing left is ``unnamed``."""
    made = destinations.normalised(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert len(made) <= 64
    assert destinations.normalised(made) == made
    expected = "".join(char if char in PLAIN else " " for char in name.lower()).split()
    if not expected:
        assert made == "unnamed"
    elif len("-".join(expected)) <= 64:
        assert made == "-".join(expected)
    else:
        assert "-".join(expected).startswith(made)


def test_a_wiring_makes_its_destination(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """W-31: in the same transaction, by whatever path the wiring is made."""
    assert not destinations.may_write_to(connection, group.id, chat.channel_type, chat.platform_id)
    wiring = chats.wire(connection, chat.id, group.id)
    made = destinations.of_group(connection, group.id)
    assert [(one.local_name, one.target_type, one.messaging_group_id) for one in made] == [("room", "channel", chat.id)]
    assert (made[0].channel_type, made[0].platform_id, made[0].display_name) == ("matrix", chat.platform_id, "Room")
    assert destinations.may_write_to(connection, group.id, chat.channel_type, chat.platform_id)
    assert not destinations.may_write_to(connection, group.id, "irc", chat.platform_id)
    chats.unwire(connection, wiring.id)
    assert destinations.of_group(connection, group.id) == []
    terminal = chats.ensure_terminal(connection, "ada/main", "ada", group.id)
    assert destinations.may_write_to(connection, group.id, "terminal", terminal.platform_id)


def test_a_refused_wiring_makes_none(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """W-31: neither one without the other."""
    with pytest.raises(apsw.ConstraintError):
        chats.wire(connection, chat.id, group.id, engage_mode="pattern")
    assert destinations.of_group(connection, group.id) == []
    assert chats.every_wiring(connection) == []


def test_a_destination_that_more_needs_stays(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """It goes with its wiring only if the wiring made it and nobody has asked for it since."""
    by_hand = destinations.add_channel(connection, group.id, chat.id, "My Room")
    chats.unwire(connection, chats.wire(connection, chat.id, group.id).id)
    assert destinations.of_group(connection, group.id) == [by_hand]
    assert by_hand.local_name == "my-room"
    other = chats.create(connection, "irc", "#den")
    wiring = chats.wire(connection, other.id, group.id)
    destinations.ensure_channel(connection, group.id, other.id)
    chats.unwire(connection, wiring.id)
    assert len(destinations.of_group(connection, group.id)) == 2
    chats.delete(connection, other.id)
    chats.delete(connection, chat.id)
    assert destinations.of_group(connection, group.id) == []


def test_names_in_an_agents_book(connection: apsw.Connection, group: AgentGroup):
    """Taken names get a number if nobody chose them; each agent's book has names of its own."""
    for number in range(3):
        chats.wire(connection, chats.create(connection, "irc", f"#{number}", "The Den").id, group.id)
    assert names_of(connection, group) == ["the-den", "the-den-2", "the-den-3"]
    unnamed = chats.create(connection, "irc", "#unnamed")
    assert destinations.add_channel(connection, group.id, unnamed.id).local_name == f"irc-{unnamed.id[:8]}"
    other = agent_groups.create(connection, "other")
    chats.wire(connection, unnamed.id, other.id)
    with pytest.raises(AlreadyExists, match="the-den already"):
        destinations.add_agent(connection, group.id, other.id, "The Den")
    with pytest.raises(AlreadyExists, match="knows it already"):
        destinations.add_channel(connection, group.id, unnamed.id, "another-name")
    long = [chats.create(connection, "irc", f"#long{number}", "x" * 80) for number in range(2)]
    assert [len(destinations.add_channel(connection, other.id, one.id).local_name) for one in long] == [64, 64]


def test_agents_as_destinations(connection: apsw.Connection, group: AgentGroup):
    other = agent_groups.create(connection, "other", "The Other")
    made = destinations.add_agent(connection, group.id, other.id)
    assert (made.local_name, made.target_type, made.target_group) == ("other", "agent", "other")
    assert (made.target_group_id, made.channel_type, made.display_name) == (other.id, None, "The Other")
    assert destinations.every(connection) == [made]
    for own, target in ((group.id, "ag-nobody"), ("ag-nobody", group.id)):
        with pytest.raises(NotFound):
            destinations.add_agent(connection, own, target)
    with pytest.raises(NotFound):
        destinations.add_channel(connection, group.id, "mg-nowhere")
    destinations.remove(connection, group.id, "other")
    with pytest.raises(NotFound):
        destinations.remove(connection, group.id, "other")
    destinations.add_agent(connection, group.id, other.id)
    agent_groups.delete(connection, other.id)
    assert destinations.every(connection) == []


def test_a_wirings_life(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    made = chats.wire(
        connection, chat.id, group.id, "per-thread", 5, "pattern", "^!bot", sender_scope="known",
        ignored_message_policy="accumulate",
    )  # fmt: skip
    assert chats.wiring_by_id(connection, made.id) == made
    assert (made.group, made.channel_type, made.platform_id) == ("main", "matrix", chat.platform_id)
    changed = replace(
        made,
        session_mode="agent-shared",
        priority=7,
        engage_mode="mention-sticky",
        engage_pattern=None,
        sender_scope="all",
        ignored_message_policy="drop",
    )
    assert chats.update_wiring(connection, changed) == changed
    assert chats.every_wiring(connection) == [changed]
    chats.unwire(connection, made.id)
    for call, argument in ((chats.unwire, made.id), (chats.wiring_by_id, made.id), (chats.update_wiring, made)):
        with pytest.raises(NotFound):
            call(connection, argument)


def test_a_chats_changes(connection: apsw.Connection, chat: Chat):
    """Only what is given changes; a refusal is remembered until it is taken back."""
    assert chats.update(connection, chat.id) == chat
    changed = chats.update(connection, chat.id, is_group=True, unknown_sender_policy="public")
    assert changed == replace(chat, is_group=True, unknown_sender_policy="public")
    assert chats.update(connection, chat.id, name="Den", is_group=False).name == "Den"
    denied = chats.deny(connection, chat.id, "telegram:1")
    assert denied.denied_at
    assert denied.denied_by == "telegram:1"
    assert chats.by_address(connection, chat.channel_type, chat.platform_id) == denied
    assert chats.undeny(connection, chat.id).denied_at is None
    other = chats.create(connection, "irc", "#den")
    assert chats.every(connection, "irc") == [other]
    assert [one.id for one in chats.every(connection)] == [chat.id, other.id]
    for call in (chats.deny, chats.undeny):
        with pytest.raises(NotFound):
            call(connection, "mg-nowhere", *(["x"] if call is chats.deny else []))


def test_hostile_chat_names_are_stored_as_one_line(connection: apsw.Connection, chat: Chat):
    """W-55: a channel's name of a chat is kept, and may be anything."""
    hostile = "Team\x1b[2J\nfake line\x00\ud800" + "x" * 1000
    named = chats.rename(connection, chat.id, hostile)
    assert named.name is not None
    assert named.name.startswith("Team [2J fake line x")
    assert len(named.name) == names.MAX_SHOWN_CHARACTERS
    assert chats.update(connection, chat.id, name="\n").name == named.name


def test_sticky_threads(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """W-3, F-152: a state of its own in the database, of one wiring and one thread; no thread is never sticky."""
    wiring = chats.wire(connection, chat.id, group.id, engage_mode="mention-sticky")
    sessions.create(connection, group.id, chat.id, "with a session")
    assert sticky.make_sticky(connection, wiring.id, "t1")
    assert not sticky.make_sticky(connection, wiring.id, "t1")
    assert sticky.make_sticky(connection, wiring.id, "t2")
    assert not sticky.make_sticky(connection, "mga-gone", "t1")
    stuck = connection.execute("SELECT wiring_id, thread_id FROM sticky_threads ORDER BY thread_id").fetchall()
    assert stuck == [(wiring.id, "t1"), (wiring.id, "t2")]
    with pytest.raises(apsw.ConstraintError):
        sticky.make_sticky(connection, wiring.id, None)
    chats.unwire(connection, wiring.id)
    assert connection.execute("SELECT count(*) FROM sticky_threads").get == 0


def test_what_belongs_together(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """Store functions compose: all of a transaction or nothing, and an inner failure that is caught harms no other."""

    other = chats.create(connection, "irc", "#den")

    def half() -> None:
        with together(connection):
            chats.wire(connection, other.id, group.id)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        half()
    assert chats.every_wiring(connection) == destinations.every(connection) == []
    with together(connection):
        chats.wire(connection, chat.id, group.id)
        with pytest.raises(RuntimeError):
            half()
        with pytest.raises(AlreadyExists):
            chats.wire(connection, chat.id, group.id)
        destinations.add_agent(connection, group.id, group.id, "self")
    assert not connection.in_transaction
    assert names_of(connection, group) == ["room", "self"]
    assert len(chats.every_wiring(connection)) == 1
