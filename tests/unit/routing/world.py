"""A central database with the people and agents of the tables, and decisions about events in it. No sessions run."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.config import Access
from nanoclawd.routing.cleaning import cleaned
from nanoclawd.routing.decision import EventDecision
from nanoclawd.routing.engage import Patterns
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.facts import Facts, load
from nanoclawd.routing.pipeline import decide
from nanoclawd.store import agent_groups, chats, members, roles, users
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.database import connect

CHANNEL = "forum"
_numbers = itertools.count(1)


def person(name: str) -> str:
    return f"loopback:{name}"


@dataclass
class World:
    """The central database, used as the daemon's thread uses it."""

    connection: apsw.Connection
    access: Access = field(default_factory=Access)
    patterns: Patterns = field(default_factory=Patterns)
    elsewhere: AgentGroup | None = None

    def group(self, folder: str) -> AgentGroup:
        """Make an agent with an admin and a member of its own."""
        group = agent_groups.create(self.connection, folder)
        roles.grant(self.connection, person("group-admin"), "admin", group.id)
        members.add(self.connection, person("member"), group.id)
        return group

    def chat(self, *, is_group: bool = True, policy: str = "public") -> Chat:
        number = next(_numbers)
        return chats.create(self.connection, CHANNEL, f"room-{number}", f"Room {number}", is_group, policy)

    def wired(self, chat: Chat, group: AgentGroup, **columns: str | int | None) -> Wiring:
        return chats.wire(self.connection, chat.id, group.id, **columns)  # type: ignore[arg-type]

    def facts(
        self, event: InboundEvent, *, threads: bool = True, buttons: bool = True, intercept: bool = True
    ) -> Facts:
        return load(self.connection, event, threads, buttons, self.access, intercept)

    def decide(self, event: InboundEvent, *, threads: bool = True, buttons: bool = True) -> EventDecision:
        event, _ = cleaned(event)
        return decide(event, self.facts(event, threads=threads, buttons=buttons), self.patterns)


def open_world(path: Path) -> World:
    connection = connect(path / "central.db")
    connection.execute("PRAGMA synchronous = OFF")
    roles.grant(connection, person("owner"), "owner")
    roles.grant(connection, person("global-admin"), "admin")
    users.ensure(connection, person("stranger"), "Strange R")
    return World(connection)


def event(
    chat: Chat | Address,
    text: str = "hello",
    sender: str | None = "owner",
    *,
    mention: bool = False,
    is_group: bool | None = None,
    thread: str | None = None,
    message_id: str = "1",
) -> InboundEvent:
    """A message of somebody in a chat; the chat says whether it is a group."""
    group = isinstance(chat, Chat) and chat.is_group if is_group is None else is_group
    return InboundEvent(
        address=Address(chat.channel_type, chat.platform_id, thread),
        message_id=message_id,
        text=text,
        sender=Sender(None if sender is None else person(sender), sender or ""),
        is_mention=mention,
        is_group=group,
    )
