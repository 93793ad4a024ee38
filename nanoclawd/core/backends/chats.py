"""Behind io.nanoclaw.Chats."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import apsw

from nanoclawd.control.values import Caller, Chat, ChatSettings
from nanoclawd.core.backends.words import POLICIES, Project, check_word
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.journal import about
from nanoclawd.permissions.withdrawing import withdraw_for_chat
from nanoclawd.store import chats, destinations, resolve
from nanoclawd.store.database import Database
from nanoclawd.store.transaction import together

log = logging.getLogger(__name__)


class ChatsBackend:
    """Chats as operators handle them."""

    def __init__(
        self,
        database: Database,
        project: Project,
        is_channel: Callable[[str], bool],
        withdrawn: Callable[[], object],
    ) -> None:
        """Begin.

        Args:
            database: the central database.
            project: has the sessions of an agent group (by id) get its destinations.
            is_channel: whether there is a channel of a name.
            withdrawn: has what was written to the people told now: approvals about a chat have gone with it.
        """
        self._database = database
        self._project = project
        self._is_channel = is_channel
        self._withdrawn = withdrawn

    async def list(self, channel: str | None, group: str | None, limit: int) -> Sequence[Chat]:
        """Return the chats by channel and platform id."""
        return await self._database.run(_list, channel, group, limit)

    async def get(self, chat: str) -> Chat:
        """Return one chat."""
        return await self._database.run(_get, chat)

    async def create(self, caller: Caller, channel: str, platform_id: str, settings: ChatSettings) -> Chat:
        """Make a chat known."""
        if not self._is_channel(channel):
            raise NotFound(f"there is no channel {channel[:40]!r}", hint="ncl channels list")
        if not platform_id.isprintable():
            raise InvalidName(f"{platform_id[:40]!r} can't be a chat's id: it has invisible characters")
        check_word("unknown_sender_policy", settings.unknown_sender_policy, POLICIES)
        made = await self._database.run(_create, channel, platform_id, settings)
        log.info("%s made chat %s", caller.user_id, _spoken(made), extra=about(channel=channel))
        return made

    async def update(self, caller: Caller, chat: str, settings: ChatSettings) -> Chat:
        """Change a chat; its new name shows in the address books that have it."""
        check_word("unknown_sender_policy", settings.unknown_sender_policy, POLICIES)
        changed, books = await self._database.run(_update, chat, settings)
        log.info(
            "%s changed chat %s: %s", caller.user_id, _spoken(changed), settings, extra=about(channel=changed.channel)
        )
        await self._bring(books if settings.name is not None else ())
        return changed

    async def delete(self, caller: Caller, chat: str) -> None:
        """Delete a chat with its wirings and what waits for a decision about it, and take it out of address books."""
        deleted, books = await self._database.run(_delete, chat)
        self._withdrawn()
        log.info("%s deleted chat %s", caller.user_id, _spoken(deleted), extra=about(channel=deleted.channel))
        await self._bring(books)

    async def undeny(self, caller: Caller, chat: str) -> Chat:
        """Forget that somebody refused to connect a chat."""
        found = await self._database.run(_undeny, chat)
        log.info(
            "%s forgot that chat %s was refused", caller.user_id, _spoken(found), extra=about(channel=found.channel)
        )
        return found

    async def _bring(self, group_ids: Collection[str]) -> None:
        for group_id in group_ids:
            await self._project(group_id)


def _spoken(chat: Chat) -> str:
    return f"{chat.channel}:{chat.chat}"


def _list(connection: apsw.Connection, channel: str | None, group: str | None, limit: int) -> list[Chat]:
    hearing = _hearing(connection)
    found = [_view(row, hearing[row.id]) for row in chats.every(connection, channel)]
    if group is not None:
        folder = resolve.group(connection, group).folder
        found = [chat for chat in found if folder in chat.groups]
    return sorted(found, key=lambda chat: (chat.channel, chat.chat))[:limit]


def _hearing(connection: apsw.Connection) -> defaultdict[str, list[str]]:
    """Return the folders of the groups that hear each chat."""
    hearing: defaultdict[str, list[str]] = defaultdict(list)
    for wiring in chats.every_wiring(connection):
        hearing[wiring.messaging_group_id].append(wiring.group)
    return hearing


def _get(connection: apsw.Connection, text: str) -> Chat:
    return _of(connection, resolve.chat(connection, text))


def _create(connection: apsw.Connection, channel: str, platform_id: str, settings: ChatSettings) -> Chat:
    policy = settings.unknown_sender_policy or "strict"
    made = chats.create(connection, channel, platform_id, settings.name, bool(settings.is_group), policy)
    return _of(connection, made)


def _update(connection: apsw.Connection, text: str, settings: ChatSettings) -> tuple[Chat, set[str]]:
    with together(connection):
        row = resolve.chat(connection, text)
        row = chats.update(connection, row.id, settings.name, settings.is_group, settings.unknown_sender_policy)
        if settings.name == "":
            row = chats.rename(connection, row.id, None)
        return _of(connection, row), _books(connection, row.id)


def _delete(connection: apsw.Connection, text: str) -> tuple[Chat, set[str]]:
    with together(connection):
        row = resolve.chat(connection, text)
        view, books = _of(connection, row), _books(connection, row.id)
        withdraw_for_chat(connection, row.id)
        chats.delete(connection, row.id)
        return view, books


def _undeny(connection: apsw.Connection, text: str) -> Chat:
    row = resolve.chat(connection, text)
    if row.denied_at is None:
        raise Refused(f"nobody refused the chat {row.channel_type}:{row.platform_id}")
    return _of(connection, chats.undeny(connection, row.id))


def _books(connection: apsw.Connection, chat_id: str) -> set[str]:
    """Return the ids of the groups whose agents may write to a chat."""
    return {one.agent_group_id for one in destinations.every(connection) if one.messaging_group_id == chat_id}


def _of(connection: apsw.Connection, row: chats.Chat) -> Chat:
    return _view(row, [wiring.group for wiring in chats.wirings_of_chat(connection, row.id)])


def _view(row: chats.Chat, groups: Sequence[str]) -> Chat:
    return Chat(
        id=row.id,
        channel=row.channel_type,
        chat=row.platform_id,
        name=row.name,
        is_group=row.is_group,
        unknown_sender_policy=row.unknown_sender_policy,
        denied_at=row.denied_at,
        denied_by=row.denied_by,
        groups=groups,
        created_at=row.created_at,
    )
