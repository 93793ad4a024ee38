"""Makes an agent that another one has asked for, and lets the two write to each other."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Final

import apsw

from nanoclawd.agents.service import AgentService
from nanoclawd.errors import AlreadyExists, InvalidName, NanoclawError, Refused, TooLarge
from nanoclawd.journal import about
from nanoclawd.store import agent_groups, destinations, names, peers
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.transaction import together

log = logging.getLogger(__name__)

MAX_INSTRUCTIONS_BYTES: Final = 16 * 1024
MAX_KEY_CHARACTERS: Final = 128
PARENT: Final = "parent"


@dataclass(frozen=True, slots=True)
class Made:
    """A new agent, the name by which its creator can write to it, and the one by which it can write back."""

    group: AgentGroup
    name: str
    parent: str


class AgentMaking:
    """Makes agents for agents. Who may is judged before: see the rules of agents' calls (W-26)."""

    def __init__(self, database: Database, agents: AgentService, project: Callable[[str], Awaitable[None]]) -> None:
        """Prepare.

        Args:
            database: the central one.
            agents: makes groups.
            project: has a group's (by id) sessions see its present destinations.
        """
        self._database = database
        self._agents = agents
        self._project = project

    async def make(self, creator: AgentGroup, name: str, instructions: str, key: str | None = None) -> Made:
        """Make an agent like its creator, with its own instructions; with a key that was used before, return that one.

        Raises:
            InvalidName: the name or the key is none.
            TooLarge: the instructions are over their bound.
            AlreadyExists: the creator knows somebody by this name.
            Refused: what was made under the key may not be written to any more.
            Unavailable: its files could not be written; nothing of it has remained.
        """
        shown = check_wish(name, instructions, key)
        known = None if key is None else await self._database.run(_made, creator.id, key)
        if known is not None and not known.name:
            raise Refused(
                f"{known.group.folder} was made under this key, and {creator.folder} may not write to it any more",
                hint=f"ncl destinations add {creator.folder} --agent {known.group.folder}",
            )
        if known is not None:
            return known
        local = destinations.normalised(shown)
        if await self._database.run(_knows, creator.id, local):
            raise AlreadyExists(
                f"{creator.folder} has a destination {local} already: write to that, or choose another name",
                hint="ncl destinations list",
            )
        group = await self._make(creator, shown, instructions)
        try:
            made = await self._database.run(_acquaint, creator.id, group, local, key)
        except NanoclawError:
            await self._agents.delete(group.folder, force=True)
            raise
        await self._project(creator.id)
        log.info("%s has a new agent %s", creator.folder, group.folder, extra=about(group=creator.folder))
        return made

    async def _make(self, creator: AgentGroup, shown: str, instructions: str) -> AgentGroup:
        for folder in _folders(shown):
            try:
                return await self._agents.create(
                    folder,
                    name=shown,
                    provider=creator.provider,
                    model=creator.model,
                    instructions=instructions,
                )
            except AlreadyExists:
                continue
        raise AssertionError("there is always another number")


def check_wish(name: str, instructions: str, key: str | None) -> str:
    """Check what can be told of a new agent by itself; return its name as it is shown.

    Raises:
        InvalidName: the name or the key is none.
        TooLarge: the instructions are over their bound.
    """
    shown = names.shown_name(name)
    if shown is None:
        raise InvalidName("an agent needs a name")
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise InvalidName(f"a key has 1 to {MAX_KEY_CHARACTERS} characters")
    if len(instructions.encode(errors="replace")) > MAX_INSTRUCTIONS_BYTES:
        raise TooLarge(f"instructions have {MAX_INSTRUCTIONS_BYTES // 1024} KiB at most")
    return shown


def _folders(name: str) -> Iterator[str]:
    """Yield folders that a name may have: its own, then numbered ones."""
    base = names.normalised(name, names.GROUP_NAME_LENGTH)
    numbered = (f"{base[: names.GROUP_NAME_LENGTH - len(f'-{n}')].rstrip('-')}-{n}" for n in count(2))
    return chain(() if base in names.RESERVED else (base,), numbered)


def _knows(connection: apsw.Connection, agent_group_id: str, local: str) -> bool:
    return any(one.local_name == local for one in destinations.of_group(connection, agent_group_id))


def _made(connection: apsw.Connection, creator_id: str, key: str) -> Made | None:
    group = peers.made_under(connection, creator_id, key)
    return None if group is None else _view(connection, creator_id, group)


def _acquaint(connection: apsw.Connection, creator_id: str, group: AgentGroup, local: str, key: str | None) -> Made:
    with together(connection):
        destinations.add_agent(connection, creator_id, group.id, local)
        destinations.add_agent(connection, group.id, creator_id, PARENT)
        if key is not None:
            peers.note_made(connection, creator_id, key, group.id)
        return _view(connection, creator_id, agent_groups.by_id(connection, group.id))


def _view(connection: apsw.Connection, creator_id: str, group: AgentGroup) -> Made:
    return Made(group, _name_of(connection, creator_id, group.id), _name_of(connection, group.id, creator_id))


def _name_of(connection: apsw.Connection, agent_group_id: str, other_id: str) -> str:
    book = destinations.of_group(connection, agent_group_id)
    return next((one.local_name for one in book if one.target_group_id == other_id), "")
