"""Behind io.nanoclaw.Usage and io.nanoclaw.Peers."""

import logging
from collections.abc import Sequence

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.control.values import Caller, PeerLink, UsageBy, UsageSum
from nanoclawd.errors import NotFound
from nanoclawd.journal import about
from nanoclawd.peers.making import AgentMaking
from nanoclawd.store import destinations, peers, resolve
from nanoclawd.store.agent_groups import by_id
from nanoclawd.store.database import Database
from nanoclawd.usage.service import UsageService

log = logging.getLogger(__name__)

_MICROS = 1_000_000
_DAY_SECONDS = 86_400


class UsageBackend:
    """What agents have taken."""

    def __init__(self, database: Database, usage: UsageService) -> None:
        self._database = database
        self._usage = usage

    async def list(
        self, by: UsageBy, group: str | None, session: str | None, days: int, limit: int
    ) -> Sequence[UsageSum]:
        """Return what was used in the last days."""
        folder, session_id = await self._database.run(_named, group, session)
        return [
            UsageSum(
                key=one.key,
                turns=one.turns,
                input_tokens=one.input_tokens,
                output_tokens=one.output_tokens,
                cache_read_tokens=one.cache_read_tokens,
                cache_write_tokens=one.cache_write_tokens,
                cost=None if one.cost_micros is None else one.cost_micros / _MICROS,
                tool_calls=one.tool_calls,
                seconds=round(one.seconds, 1),
            )
            for one in await self._usage.sums(by.value, days, folder, session_id, limit)
        ]


class PeersBackend:
    """Who of the agents may write to whom."""

    def __init__(self, database: Database, making: AgentMaking) -> None:
        self._database = database
        self._making = making

    async def list(self, group: str | None, limit: int) -> Sequence[PeerLink]:
        """Return who may write to whom."""
        return (await self._database.run(_links, group))[:limit]

    async def create(
        self, caller: Caller, group: str, name: str, instructions: str, key: str | None
    ) -> tuple[PeerLink, str]:
        """Make an agent that another one can write to."""
        creator = await self._database.run(resolve.group, group)
        made = await self._making.make(creator, name, instructions, key)
        log.info("%s made agent %s for %s", caller.user_id, made.group.folder, creator.folder, extra=about(group=group))
        links = await self._database.run(_links, creator.id)
        link = next(one for one in links if one.peer == made.group.folder)
        note = f"The agent {made.group.name} is there. {creator.name} can write to it as {link.name} from now on."
        return link, note


def _named(connection: apsw.Connection, group: str | None, session: str | None) -> tuple[str | None, str | None]:
    """Return the folder and the session id that are meant; of what was deleted the name itself says what it was."""
    return (
        None if group is None else _or_deleted(connection, group),
        None if session is None else resolve.session(connection, session).id,
    )


def _or_deleted(connection: apsw.Connection, group: str) -> str:
    try:
        return resolve.group(connection, group).folder
    except NotFound:
        known = connection.execute("SELECT 1 FROM usage_turns WHERE group_name = ? LIMIT 1", (group,)).fetchone()
        if known is None:
            raise
        return group


def _links(connection: apsw.Connection, group: str | None) -> list[PeerLink]:
    book = (
        destinations.every(connection)
        if group is None
        else destinations.of_group(connection, resolve.group(connection, group).id)
    )
    since = now_text(plus_seconds=-_DAY_SECONDS)
    found = []
    for one in book:
        if one.target_group_id is None or one.target_group is None:
            continue
        back = destinations.of_group(connection, one.target_group_id)
        messages, last_at = peers.traffic(connection, one.agent_group_id, one.target_group_id, since)
        found.append(
            PeerLink(
                group=by_id(connection, one.agent_group_id).folder,
                peer=one.target_group,
                name=one.local_name,
                back=next((other.local_name for other in back if other.target_group_id == one.agent_group_id), ""),
                messages=messages,
                last_at=last_at,
            )
        )
    return sorted(found, key=lambda link: (link.group, link.name))
