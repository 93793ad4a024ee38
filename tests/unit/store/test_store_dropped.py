"""Dropped messages: one line per chat and sender, with the reason that says most."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_memory import fresh

from nanoclawd.store import agent_groups, dropped
from nanoclawd.store.agent_groups import AgentGroup

REASONS = sorted(dropped.SPECIFICITY)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["#a", "#b"]), st.sampled_from(["irc:x", "irc:y", None]), st.sampled_from(REASONS)),
    max_size=30,
)


@given(EVENTS)
def test_counts_and_reasons(events: list[tuple[str, str | None, str]]):
    """W-19: senders of one chat have lines of their own, an event counts once, and a lesser reason hides none."""
    connection = fresh()
    for chat, sender, reason in events:
        dropped.record(connection, "irc", chat, sender, None, reason)
    expected: dict[tuple[str, str], tuple[int, str]] = {}
    for chat, sender, reason in events:
        count, known = expected.get((chat, sender or ""), (0, reason))
        better = dropped.SPECIFICITY[reason] >= dropped.SPECIFICITY[known]
        expected[chat, sender or ""] = (count + 1, reason if better else known)
    found = dropped.every(connection)
    assert {(one.platform_id, one.user_id): (one.message_count, one.reason) for one in found} == expected
    connection.close()


def test_every_reason_has_its_rank(connection: apsw.Connection):
    """W-19: the schema's reasons and the ranks are the same, so that no drop can fail for its reason."""
    for number, reason in enumerate(REASONS):
        dropped.record(connection, "irc", f"#{number}", None, None, reason)
    assert sorted(one.reason for one in dropped.every(connection)) == REASONS
    with pytest.raises(apsw.ConstraintError):
        dropped.record(connection, "irc", "#new", None, None, "whatever")
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'dropped_messages'").fetchone()
    listed = sql.partition("reason IN (")[2].partition(")")[0]
    assert sorted(word.strip(" '\n") for word in listed.split(",")) == REASONS


@pytest.mark.parametrize(
    ("reasons", "most"),
    [
        (["no_agent_engaged"], "no_agent_engaged"),
        (["no_agent_engaged", "unknown_sender_strict"], "unknown_sender_strict"),
        (["unknown_sender_strict", "no_agent_engaged"], "unknown_sender_strict"),
        (["sender_scope", "unknown_sender_pending", "pattern_timeout"], "unknown_sender_pending"),
        (["unknown_sender_pending", "sender_denied"], "sender_denied"),
        (["no_identity", "no_agent_wired"], "no_identity"),
    ],
)
def test_the_reason_of_an_event(reasons: list[str], most: str):
    """W-19: of the reasons of several wirings the most specific one is the event's."""
    assert dropped.most_specific(reasons) == most


def test_a_line_in_full(connection: apsw.Connection, group: AgentGroup):
    dropped.record(connection, "irc", "#den", "irc:eve", "Eve\n\x1b[2J", "unknown_sender_strict", group.id)
    dropped.record(connection, "irc", "#den", "irc:eve", None, "no_agent_engaged")
    (line,) = dropped.every(connection)
    assert (line.sender_name, line.reason, line.agent_group_id, line.group) == (
        "Eve [2J",
        "unknown_sender_strict",
        group.id,
        "main",
    )
    assert line.message_count == 2
    assert line.first_seen <= line.last_seen
    dropped.record(connection, "irc", "#den", "irc:eve", "Evelyn", "sender_denied", "ag-gone")
    (line,) = dropped.every(connection)
    assert (line.sender_name, line.reason, line.group, line.message_count) == ("Evelyn", "sender_denied", None, 3)


def test_filters(connection: apsw.Connection, group: AgentGroup):
    for channel, chat, sender, reason in (
        ("irc", "#a", "irc:x", "sender_scope"),
        ("irc", "#b", "irc:x", "no_agent_engaged"),
        ("matrix", "#a", "matrix:y", "sender_scope"),
    ):
        dropped.record(connection, channel, chat, sender, None, reason, group.id)
    assert len(dropped.every(connection)) == 3
    assert len(dropped.every(connection, limit=1)) == 1
    assert [one.platform_id for one in dropped.every(connection, "irc", "#b")] == ["#b"]
    assert {one.channel_type for one in dropped.every(connection, reason="sender_scope")} == {"irc", "matrix"}
    assert [one.platform_id for one in dropped.every(connection, user_id="irc:x", reason="sender_scope")] == ["#a"]
    agent_groups.delete(connection, group.id)
    assert {one.group for one in dropped.every(connection)} == {None}


def test_strangers_cannot_fill_the_disk(connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch):
    """The longest unseen go first."""
    monkeypatch.setattr(dropped, "KEPT", 20)
    for number in range(50):
        dropped.record(connection, "irc", "#den", f"irc:{number}", None, "no_agent_wired")
        connection.execute("UPDATE dropped_messages SET last_seen = printf('2026-%06d', ?) WHERE user_id = ?",
            (number, f"irc:{number}"))  # fmt: skip
        if number == 10:
            dropped.record(connection, "irc", "#den", "irc:0", None, "no_agent_wired")
    kept = {one.user_id for one in dropped.every(connection)}
    assert len(kept) == 20
    assert kept == {"irc:0"} | {f"irc:{number}" for number in range(31, 50)}
