"""Agents that talk to each other: the daemon's own parts over real databases, without containers."""

import io
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nanoclaw_runner.contract.rows import Address
from nanoclawd.peers.planning import Bounds
from nanoclawd.peers.service import PeerService
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.ports import Attachment, Delivered, Outgoing, SessionRef, Text, Undelivered
from nanoclawd.store import destinations
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.sessions import Session
from unit.routing.house import CHANNEL, House, Row, open_house

BOUNDS = Bounds(hops=12, rate=30)


@dataclass
class Talk:
    """A house in which agents know each other, and what carries their words."""

    house: House
    peers: PeerService
    full: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def agent(self, folder: str, *knows: AgentGroup) -> AgentGroup:
        group = await self.house.group(folder)
        for other in knows:
            await self.house.database.run(destinations.add_agent, group.id, other.id)
            await self.house.database.run(destinations.add_agent, other.id, group.id)
        return group

    async def session(self, group: AgentGroup, chat: str) -> SessionRef:
        """Return a session of an agent in a chat of its own."""
        room = await self.house.chat(chat)
        made = await self.house.sessions.create(group.id, group.folder, room.id)
        return SessionRef(made.id, group.folder, Address(CHANNEL, chat), group.id)

    async def person_says(self, session: SessionRef, text: str, kind: str = "chat") -> str:
        assert session.address is not None
        message = NewMessage(f"in-{next(self.numbers)}", f'{{"text": "{text}"}}', session.address, kind=kind)
        (stored,) = await self.house.sessions.accept_all([(await self.of(session.id), message)])
        assert stored is True
        return message.id

    async def of(self, session_id: str) -> Session:
        return await self.house.database.run(session_rows.by_id, session_id)

    async def says(
        self,
        sender: SessionRef,
        to: str,
        text: str,
        *,
        answers: str | None = None,
        files: tuple[Attachment, ...] = (),
        row_id: str | None = None,
        is_notice: bool = False,
    ) -> Delivered | Undelivered:
        row_id = row_id or f"out-{secrets.token_hex(4)}"
        outgoing = Outgoing(row_id, Text(text, files), Address("agent", to), "", answers, is_notice=is_notice)
        return await self.peers.deliver(sender, outgoing)

    def heard(self, session: SessionRef) -> list[Row]:
        """Return what other agents have said in a session."""
        return [row for row in self.house.rows_of(session.group, session.id) if row.address.channel_type == "agent"]

    async def sessions_of(self, group: AgentGroup) -> list[SessionRef]:
        found = await self.house.database.run(session_rows.of_group, group.id)
        return [SessionRef(one.id, group.folder, None, group.id) for one in found]


def file(name: str, content: bytes) -> Attachment:
    return Attachment(name, len(content), io.BytesIO(content))


@asynccontextmanager
async def talking(root: Path, bounds: Bounds = BOUNDS) -> AsyncIterator[Talk]:
    """Open a house for agents, also one that was there before."""
    async with open_house(root) as house:
        full: dict[str, str] = {}
        peers = PeerService(
            house.database,
            house.sessions,
            house.outbox,
            root / "staging",
            bounds,
            lambda _group_id, group: full.get(group),
        )
        yield Talk(house, peers, full)
