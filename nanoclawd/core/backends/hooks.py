"""Behind io.nanoclaw.Hooks. What is logged of a hook never has its secret in it."""

import logging
from collections.abc import Sequence

import apsw

from nanoclawd.control.values import Caller, Hook, HookSettings, HookWithSecret
from nanoclawd.hooks.listening import ENABLE, Listening
from nanoclawd.hooks.service import HookService, Wish
from nanoclawd.journal import about
from nanoclawd.store import hooks as rows
from nanoclawd.store import resolve
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)


class HooksBackend:
    """Hooks as operators handle them."""

    def __init__(self, database: Database, service: HookService) -> None:
        self._database = database
        self._service = service

    async def list(self, group: str | None, limit: int) -> Sequence[Hook]:
        """Return the hooks by name."""
        found = await self._database.run(_list, group, limit)
        if not found:
            return []
        where = await self._service.listening()
        return [_view(hook, where) for hook in found]

    async def get(self, hook: str) -> Hook:
        """Return one hook."""
        return await self._shown(await self._database.run(rows.by_name, hook))

    async def create(self, caller: Caller, name: str, group: str, settings: HookSettings) -> HookWithSecret:
        """Make a hook."""
        wish = Wish(name, group, settings.to, settings.auth, settings.header, settings.rate)
        made = await self._service.create(wish, caller.user_id)
        self._told(caller, "created", made.hook)
        return await self._with(made.hook, made.secret)

    async def rotate(self, caller: Caller, hook: str) -> HookWithSecret:
        """Give a hook another secret."""
        made = await self._service.rotate(hook)
        self._told(caller, "gave another secret to", made.hook)
        return await self._with(made.hook, made.secret)

    async def enable(self, caller: Caller, hook: str) -> Hook:
        """Have a hook take messages."""
        found = await self._service.enable(hook, enabled=True)
        self._told(caller, "enabled", found)
        return await self._shown(found)

    async def disable(self, caller: Caller, hook: str) -> Hook:
        """Have a hook take no messages."""
        found = await self._service.enable(hook, enabled=False)
        self._told(caller, "disabled", found)
        return await self._shown(found)

    async def delete(self, caller: Caller, hook: str) -> None:
        """Delete a hook with its secret."""
        self._told(caller, "deleted", await self._service.delete(hook))

    async def test(self, caller: Caller, hook: str) -> HookWithSecret:
        """Return a token that lets one request in within a minute."""
        found, ticket = await self._service.ticket(hook)
        self._told(caller, "tests", found)
        return await self._with(found, ticket)

    async def _shown(self, hook: rows.Hook) -> Hook:
        return _view(hook, await self._service.listening())

    async def _with(self, hook: rows.Hook, secret: str) -> HookWithSecret:
        where = await self._service.listening()
        return HookWithSecret(_view(hook, where), secret, None if where.active else ENABLE)

    @staticmethod
    def _told(caller: Caller, did: str, hook: rows.Hook) -> None:
        log.info("%s %s hook %s of %s", caller.user_id, did, hook.name, hook.group, extra=about(group=hook.group))


def _list(connection: apsw.Connection, group: str | None, limit: int) -> list[rows.Hook]:
    group_id = None if group is None else resolve.group(connection, group).id
    return rows.listed(connection, group_id, limit)


def _view(hook: rows.Hook, where: Listening) -> Hook:
    return Hook(
        name=hook.name,
        group=hook.group,
        channel=hook.channel_type,
        chat=hook.platform_id,
        auth=hook.auth,
        header=hook.header,
        rate=hook.per_minute,
        enabled=hook.enabled,
        url=where.url_of(hook.name),
        listening=where.active,
        accepted=hook.accepted,
        last_at=hook.last_at,
        created_by=hook.created_by,
        created_at=hook.created_at,
    )
