"""Decides whether a message from agent to agent may go, and to which session; in one visit of the central database.

Hops are counted here, from what the host itself has stored: nothing that a container says makes them fewer (W-23).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound
from nanoclawd.sessions.inbound import Ancestry
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store import agent_groups, peers
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.peers import PeerMessage
from nanoclawd.store.transaction import together

RATE_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much agents may say to each other.

    Attributes:
        hops: messages that may follow one of a person or task.
        rate: messages between two sessions within ten minutes.
    """

    hops: int
    rate: int


@dataclass(frozen=True, slots=True)
class Going:
    """It may go: from whom (as people call that agent), and to which session."""

    message: PeerMessage
    sender: str
    target: session_rows.Session


@dataclass(frozen=True, slots=True)
class NoSession:
    """It may go as soon as there is a session for it."""

    agent_group_id: str
    group: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """It may not go.

    Attributes:
        reason: for the agent that wrote it.
        told: what people and the other agent are told, where a bound is reached; empty otherwise.
        mark: the same for the same bound reached once: they are told once.
        origin: where the people are with whom it began.
        target: id of the session to which it would have gone.
    """

    reason: str
    told: str = ""
    mark: str = ""
    origin: Address | None = None
    target: str | None = None


type Refusal = Callable[[str, str], str | None]
"""Why a group (by id and folder) takes nothing now, for whoever asks; None: it does."""


def row_id(session_id: str, outbound_id: str) -> str:
    """Return the id of the row that a message becomes: the same each time that it is told."""
    return f"peer-{_mark(session_id, outbound_id)}"


def plan(
    connection: apsw.Connection,
    sender: SessionRef,
    outbound_id: str,
    other: str,
    ancestry: Ancestry,
    bounds: Bounds,
    refusal: Refusal,
) -> Going | NoSession | Stopped:
    """Decide about a message, and count it if it goes: once, however often it is told.

    Args:
        connection: the central database.
        sender: who says it.
        outbound_id: of its row.
        other: folder of the group that it is for.
        ancestry: what it follows from.
        bounds: what is too much.
        refusal: why a group takes nothing now.
    """
    with together(connection):
        try:
            own = agent_groups.by_id(connection, sender.agent_group_id)
            group = agent_groups.by_folder(connection, other)
        except NotFound:
            return Stopped(f"there is no agent {other[:40]!r} any more")
        message_id = row_id(sender.id, outbound_id)
        known = peers.by_id(connection, message_id)
        before = peers.farthest(connection, ancestry.earlier)
        hops = before.hops + 1 if before is not None else 1
        chain = before.chain if before is not None else message_id
        origin = before.origin if before is not None else ancestry.origin or sender.address
        target = _target(connection, sender.id, group.id, ancestry, known)
        if known is None:
            if refusal(group.id, group.folder) is not None:
                # How much an agent uses is its own people's to know, and no other agent's.
                return Stopped(f"{group.name} has used up what it may use in a day; it answers again tomorrow")
            there = None if target is None else target.id
            if hops > bounds.hops:
                told = (
                    f"The agents {own.name} and {group.name} were stopped: {bounds.hops} messages went between agents"
                    " since a person or a task last spoke."
                )
                reason = (
                    f"{bounds.hops} messages went between agents since a person or a task last spoke; no more until"
                    " one does"
                )
                return Stopped(reason, told, f"hops-{_mark(chain)}", origin, there)
            since = now_text(plus_seconds=-RATE_SECONDS)
            if there is not None and peers.count_between(connection, sender.id, there, since) >= bounds.rate:
                told = (
                    f"The agents {own.name} and {group.name} were stopped: they said more than {bounds.rate} messages"
                    " to each other in ten minutes."
                )
                pair = _mark(*sorted((sender.id, there)), now_text()[: len("2026-01-01T00:0")])
                reason = f"more than {bounds.rate} messages in ten minutes went between the two of you; wait a while"
                return Stopped(reason, told, f"rate-{pair}", origin, there)
        if target is None:
            return NoSession(group.id, group.folder)
        message = PeerMessage(message_id, sender.id, target.id, group.id, chain, hops, origin)
        if known is None or known.target_session_id != target.id:
            peers.keep(connection, message)
        return Going(message, own.name, target)


def _target(
    connection: apsw.Connection, sender_id: str, group_id: str, ancestry: Ancestry, known: PeerMessage | None
) -> session_rows.Session | None:
    """Find the session: where it went already, from where the question came, where the two talked last, the shared."""
    for session_id in (
        known.target_session_id if known is not None else None,
        ancestry.answered,
        ancestry.newest,
        peers.newest_target(connection, sender_id, group_id),
    ):
        if session_id is None:
            continue
        try:
            found = session_rows.by_id(connection, session_id)
        except NotFound:
            continue
        if found.status == "active" and found.agent_group_id == group_id:
            return found
    return session_rows.find_agent_shared(connection, group_id)


def _mark(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:32]
