"""Behind io.nanoclaw.Wirings."""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import apsw

from nanoclawd.control.values import Caller, Wiring, WiringSettings
from nanoclawd.journal import about
from nanoclawd.routing.wirings import WiringRules, WiringService
from nanoclawd.store import chats, resolve
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)


class WiringsBackend:
    """Wirings as operators handle them."""

    def __init__(self, database: Database, service: WiringService) -> None:
        self._database = database
        self._service = service

    async def list(self, chat: str | None, group: str | None, limit: int) -> Sequence[Wiring]:
        """Return the wirings by chat and priority."""
        return await self._database.run(_list, chat, group, limit)

    async def get(self, wiring: str) -> Wiring:
        """Return one wiring."""
        return await self._database.run(_get, wiring)

    async def create(self, caller: Caller, chat: str, group: str, settings: WiringSettings) -> Wiring:
        """Have a group's agent hear a chat."""
        chat_id, group_id = await self._database.run(_ends, chat, group)
        made = await self._service.create(chat_id, group_id, WiringRules(**asdict(settings)))
        return await self._told(caller, "wired", made.id)

    async def update(self, caller: Caller, wiring: str, settings: WiringSettings) -> Wiring:
        """Change a wiring."""
        found = await self.get(wiring)
        await self._service.update(found.id, WiringRules(**asdict(settings)))
        return await self._told(caller, "changed the wiring of", found.id)

    async def delete(self, caller: Caller, wiring: str) -> None:
        """Take a wiring away."""
        found = await self.get(wiring)
        await self._service.delete(found.id)
        _tell(caller, "unwired", found)

    async def _told(self, caller: Caller, what: str, wiring_id: str) -> Wiring:
        found = await self.get(wiring_id)
        _tell(caller, what, found)
        return found


def _tell(caller: Caller, what: str, wiring: Wiring) -> None:
    log.info(
        "%s %s %s:%s and %s",
        caller.user_id,
        what,
        wiring.channel,
        wiring.chat,
        wiring.group,
        extra=about(group=wiring.group, channel=wiring.channel),
    )


def _ends(connection: apsw.Connection, chat: str, group: str) -> tuple[str, str]:
    return resolve.chat(connection, chat).id, resolve.group(connection, group).id


def _list(connection: apsw.Connection, chat: str | None, group: str | None, limit: int) -> list[Wiring]:
    found = chats.every_wiring(connection)
    if chat is not None:
        chat_id = resolve.chat(connection, chat).id
        found = [wiring for wiring in found if wiring.messaging_group_id == chat_id]
    if group is not None:
        group_id = resolve.group(connection, group).id
        found = [wiring for wiring in found if wiring.agent_group_id == group_id]
    found.sort(key=lambda wiring: (wiring.channel_type, wiring.platform_id, -wiring.priority, wiring.created_at))
    names = {one.id: one.name for one in chats.every(connection)}
    return [_view(wiring, names[wiring.messaging_group_id]) for wiring in found[:limit]]


def _get(connection: apsw.Connection, text: str) -> Wiring:
    wiring = resolve.wiring(connection, text)
    return _view(wiring, chats.by_id(connection, wiring.messaging_group_id).name)


def _view(row: chats.Wiring, chat_name: str | None) -> Wiring:
    return Wiring(
        id=row.id,
        channel=row.channel_type,
        chat=row.platform_id,
        chat_name=chat_name,
        group=row.group,
        session_mode=row.session_mode,
        priority=row.priority,
        engage_mode=row.engage_mode,
        engage_pattern=row.engage_pattern,
        sender_scope=row.sender_scope,
        ignored_message_policy=row.ignored_message_policy,
        created_at=row.created_at,
    )
