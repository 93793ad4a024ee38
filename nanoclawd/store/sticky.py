"""Threads in which an agent was mentioned: a state of its own, never inferred from a session (W-3)."""

import apsw

from nanoclaw_runner.contract.clock import now_text


def make_sticky(connection: apsw.Connection, wiring_id: str, thread_id: str) -> bool:
    """Note that a wiring's agent was mentioned in a thread; True when that is new (and the channel is to subscribe)."""
    connection.execute(
        "INSERT INTO sticky_threads (wiring_id, thread_id, since)"
        " SELECT id, ?, ? FROM messaging_group_agents WHERE id = ? ON CONFLICT DO NOTHING",
        (thread_id, now_text(), wiring_id),
    )
    return bool(connection.changes())
