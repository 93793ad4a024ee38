"""A routing decision with the reads under it, beside the same reads alone; in this process, on its own database."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import apsw

from benchlib.progress import step
from benchlib.results import Of, Result, Target
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.config import Access
from nanoclawd.routing.engage import Patterns
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.facts import load
from nanoclawd.routing.pipeline import decide
from nanoclawd.store import agent_groups, chats, database, members, roles, users
from nanoclawd.store import sessions as session_rows

CHATS: Final = 200
AGENTS: Final = 50
PEOPLE: Final = 2000
SESSIONS: Final = 10_000
DECISIONS: Final = 10_000
MOST_RATIO: Final = 4.0
CHANNEL: Final = "bench"


def decisions() -> Result:
    """Decide about messages of random people in random threads, and do the reads that it takes alone, in turns."""
    step(f"{DECISIONS} routing decisions")
    with tempfile.TemporaryDirectory() as directory:
        connection = database.connect(Path(directory) / "central.db")
        events = _population(connection)
        patterns, access = Patterns(), Access()

        def decision(event: InboundEvent) -> None:
            decide(event, load(connection, event, True, True, access), patterns)

        def reads(event: InboundEvent) -> None:
            _reads(connection, event)

        ours, bare = [], []
        for first in range(0, DECISIONS, 500):
            some = events[first : first + 500]
            ours += _timed(decision, some)
            bare += _timed(reads, some)
        connection.close()
    note = (
        f"{1e6 / median(ours):.0f} decisions a second, in µs; {CHATS} chats, {AGENTS} agents, {PEOPLE} people,"
        f" {SESSIONS} sessions; the baseline is the median of the same rows read by bare statements"
    )
    return Result("routing decision", "µs", tuple(ours), median(bare), Target(Of.RATIO, MOST_RATIO), note)


def _timed(work: Callable[[InboundEvent], None], events: Sequence[InboundEvent]) -> list[float]:
    """Return the microseconds for each event."""
    found = []
    for event in events:
        begun = time.perf_counter()
        work(event)
        found.append((time.perf_counter() - begun) * 1e6)
    return found


def _population(connection: apsw.Connection) -> list[InboundEvent]:
    """Fill the database, and return messages of its people in its threads."""
    chance = random.Random(1)
    connection.execute("PRAGMA synchronous = OFF").fetchall()
    with writing(connection):
        groups = [agent_groups.create(connection, f"agent-{number}") for number in range(AGENTS)]
        people = [f"{CHANNEL}:{number}" for number in range(PEOPLE)]
        for number, person in enumerate(people):
            users.ensure(connection, person, f"Person {number}")
            for group in chance.sample(groups, 3):
                members.add(connection, person, group.id)
        for person in people[:20]:
            roles.grant(connection, person, "admin", chance.choice(groups).id)
        rooms = [chats.create(connection, CHANNEL, f"room-{number}", None, True) for number in range(CHATS)]
        wirings = [
            chats.wire(connection, room.id, group.id, engage_mode="mention-sticky", sender_scope="known")
            for room in rooms
            for group in chance.sample(groups, chance.choice((1, 1, 2)))
        ]
        places = []
        for number in range(SESSIONS):
            wiring = chance.choice(wirings)
            thread = f"thread-{number}"
            session_rows.create(connection, wiring.agent_group_id, wiring.messaging_group_id, thread, mode="per-thread")
            places.append(Address(CHANNEL, wiring.platform_id, thread))
    return [
        InboundEvent(
            chance.choice(places), str(number), "hello there", Sender(chance.choice(people)), True, is_group=True
        )
        for number in range(DECISIONS)
    ]


def _reads(connection: apsw.Connection, event: InboundEvent) -> None:
    """Read the rows that a decision needs, into tuples, and do nothing with them."""
    address, user = event.address, event.sender.user_id
    run = connection.execute
    run("SELECT role, agent_group_id FROM user_roles WHERE user_id = ?", (user,)).fetchall()
    run("SELECT agent_group_id FROM agent_group_members WHERE user_id = ?", (user,)).fetchall()
    run("SELECT agent_group_id FROM denied_senders WHERE user_id = ?", (user,)).fetchall()
    run("SELECT display_name FROM users WHERE id = ?", (user,)).fetchall()
    (chat,) = run(
        "SELECT * FROM messaging_groups WHERE channel_type = ? AND platform_id = ?",
        (address.channel_type, address.platform_id),
    ).fetchall()
    wirings = run(
        "SELECT w.*, g.folder, g.name, t.since FROM messaging_group_agents w"
        " JOIN agent_groups g ON g.id = w.agent_group_id"
        " LEFT JOIN sticky_threads t ON t.wiring_id = w.id AND t.thread_id = ?"
        " WHERE w.messaging_group_id = ? ORDER BY w.priority DESC, w.rowid",
        (address.thread_id, chat[0]),
    ).fetchall()
    for wiring in wirings:
        run(
            "SELECT s.*, g.folder FROM sessions s JOIN agent_groups g ON g.id = s.agent_group_id"
            " WHERE s.agent_group_id = ? AND s.messaging_group_id = ? AND ifnull(s.thread_id, '') = ?"
            " AND s.status = 'active'",
            (wiring[2], chat[0], address.thread_id),
        ).fetchall()
