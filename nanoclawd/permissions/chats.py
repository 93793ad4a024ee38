"""Unknown chats: which agent is one to have? A new agent needs a name: :mod:`nanoclawd.permissions.naming`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import AlreadyExists, NanoclawError, NotFound, Refused
from nanoclawd.journal import about
from nanoclawd.permissions import cards, wording
from nanoclawd.permissions.actions import ActionHandler, Applied, Decider
from nanoclawd.permissions.approvals import ApprovalService, NewRequest
from nanoclawd.permissions.chat_card import CHOOSE, CONNECT, DENY_ALWAYS, NEW_AGENT, card_page, first_card
from nanoclawd.permissions.crowd import is_crowded, tell_crowded
from nanoclawd.permissions.kept import Replay, begun, keep, replay_all, tell_waiting
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.wirings import default_wiring, wire
from nanoclawd.store import agent_groups, approvals, chats, members, roles, users
from nanoclawd.store.approvals import Approval
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import Database
from nanoclawd.store.roles import Standing

log = logging.getLogger(__name__)

ACTION: Final = "chat"
WIRED: Final = "wired"
"""In a payload: the group that the chat got."""

NAMING: Final = "naming"
"""In a payload: the agent that is being made, so that a restart in between goes on with it and makes no second one."""

_NAME_TIMEOUT_SECONDS: Final = 5.0


class ChatFacts(Protocol):
    """What is needed to know of channels; see :class:`~nanoclawd.channels.manager.ChannelManager`."""

    async def chat_name(self, name: str, platform_id: str) -> str | None:
        """Return a chat's shown name, if the platform tells it."""


type HasThreads = Callable[[str], bool]
"""Whether a channel has threads."""

type Project = Callable[[str], Awaitable[object]]
"""Has an agent group's living sessions see its present destinations."""


class ChatApprovals(ActionHandler):
    """Asks about chats, and wires them."""

    def __init__(
        self,
        database: Database,
        service: ApprovalService,
        replay: Replay,
        project: Project,
        facts: ChatFacts,
        has_threads: HasThreads,
    ) -> None:
        self._database = database
        self._service = service
        self._replay = replay
        self._project = project
        self._facts = facts
        self._has_threads = has_threads
        service.register(ACTION, self)

    async def ask(self, event: InboundEvent, chat: Chat) -> None:
        """Ask which agent a chat is to have, once; keep what its first writer says."""
        if chat.name is None and event.chat_name is None:
            await self._look_up_name(chat)
        try:
            await self._database.run(self._ask, event, chat.id)
        except NanoclawError as error:
            log.info("nobody is asked about a chat: %s", error, extra=about(channel=event.address.channel_type))
            return
        self._service.repost()

    def may_decide(self, connection: apsw.Connection, approval: Approval, standing: Standing, option: Option) -> bool:
        """An agent's admin may connect a chat to that agent; everything else concerns all."""
        del approval
        group_id = None
        if option.value.startswith(CONNECT):
            group_id = _group_id(connection, option.value.removeprefix(CONNECT))
        return standing.may_administer(group_id)

    def apply(self, connection: apsw.Connection, approval: Approval, option: Option, by: Decider) -> Applied:
        """Wire the chat, ask on, or refuse it."""
        if option.value.startswith(CONNECT):
            group = agent_groups.by_folder(connection, option.value.removeprefix(CONNECT))
            return self.connect(connection, approval, group.id, by)
        if option.value.startswith(CHOOSE):
            page = int(option.value.removeprefix(CHOOSE))
            title, body, options = card_page(approval, [one.folder for one in agent_groups.every(connection)], page)
            approvals.ask_again(connection, approval.id)
            approvals.set_card(connection, approval.id, title, body, options)
            return Applied("pending", "The other agents are on the next card.", new_card=True)
        if option.value == NEW_AGENT.value:
            if by.is_operator:
                raise Refused("make the agent first (ncl groups create NAME), then decide for connect:NAME")
            approvals.ask_for_name(connection, approval.id, by.id)
            return Applied("pending", "Write the new agent's name as your next message here, or `cancel`.")
        if option.value == DENY_ALWAYS.value:
            chats.deny(connection, str(approval.messaging_group_id), by.id)
        tell_waiting(connection, approval, "denied", "This chat was not connected to an agent.")
        return Applied("rejected", f"{option.done} by {by.name}.")

    def connect(self, connection: apsw.Connection, approval: Approval, group_id: str, by: Decider) -> Applied:
        """Wire the chat as every chat is wired by default, and make its first writer a member.

        Raises:
            NotFound: the chat or the group has gone.
        """
        group = agent_groups.by_id(connection, group_id)
        chat = chats.by_id(connection, str(approval.messaging_group_id))
        threads = self._has_threads(chat.channel_type)
        try:
            wire(
                connection,
                chat.id,
                group.id,
                default_wiring(is_group=chat.is_group, threads=threads, registration=True),
            )
        except AlreadyExists:
            log.info("the chat was wired meanwhile", extra=about(group=group.folder, channel=chat.channel_type))
        if chat.denied_at is not None:
            chats.undeny(connection, chat.id)
        said = f"Connected to {group.folder} by {by.name}."
        if approval.user_id is not None:
            name = approval.payload.get("name")
            users.ensure(connection, approval.user_id, name)
            if not roles.standing(connection, approval.user_id).may_access(group.id):
                members.add(connection, approval.user_id, group.id, by.id)
                said += f" {wording.who(approval.user_id, name)} may talk to it."
        approvals.set_payload(connection, approval.id, {**approval.payload, WIRED: group.id})
        return Applied("approved", said)

    def review(self, connection: apsw.Connection) -> None:
        """Ask others where a name is awaited from somebody who may not make an agent any more: it would never count."""
        for approval in approvals.waiting_in_vain(connection):
            if NAMING not in approval.payload:
                with writing(connection):
                    give_back(connection, approval)

    def expire(self, connection: apsw.Connection, approval: Approval) -> None:
        """Tell the first writer that nobody has decided."""
        tell_waiting(connection, approval, "expired", "Nobody decided in time about this chat. Write again to ask.")

    async def finish(self, approval: Approval, *, resumed: bool) -> None:
        """Have the agent know its new chat, and route what was kept. What was routed before is known by its ids."""
        del resumed
        if approval.status != "approved":
            return
        await self._project(str(approval.payload[WIRED]))
        if not await replay_all(approval.payload, self._replay):
            await self._database.run(tell_waiting, approval, "unheard", wording.CONNECTED)
            self._service.repost()

    async def _look_up_name(self, chat: Chat) -> None:
        try:
            async with asyncio.timeout(_NAME_TIMEOUT_SECONDS):
                name = await self._facts.chat_name(chat.channel_type, chat.platform_id)
            if name:
                await self._database.run(chats.rename, chat.id, name)
        except (NanoclawError, TimeoutError):
            log.debug("the chat's name is not known", extra=about(channel=chat.channel_type))

    def _ask(self, connection: apsw.Connection, event: InboundEvent, chat_id: str) -> None:
        with writing(connection):
            chat = chats.by_id(connection, chat_id)
            if chat.denied_at is not None:
                return
            if is_crowded(connection, ACTION, chat.id, chat.id):
                tell_crowded(connection, event)
                return
            groups = [one.folder for one in agent_groups.every(connection)]
            approval, is_new = self._service.begin(connection, _request(event, chat, groups))
            payload = None
            if approval.user_id == event.sender.user_id and not is_new:
                payload = keep(approval.payload, event)
            if payload is not None:
                approvals.set_payload(connection, approval.id, payload)


def give_back(connection: apsw.Connection, approval: Approval) -> None:
    """Have a chat that waits for a name wait for a decision again, of others than who was to give the name."""
    approvals.ask_again(connection, approval.id)
    cards.renew(connection, approval.id, without=approval.name_from)


def _request(event: InboundEvent, chat: Chat, folders: list[str]) -> NewRequest:
    title, body, options = first_card(event, chat, folders)
    payload, notice = begun(event)
    user_id = event.sender.user_id
    return NewRequest(
        action=ACTION,
        subject=chat.id,
        title=title,
        body=body,
        options=options,
        payload={**payload, "name": event.sender.name},
        messaging_group_id=chat.id,
        user_id=None if user_id is None else users.check_id(user_id),
        origin_channel=event.address.channel_type,
        notice=notice,
    )


def _group_id(connection: apsw.Connection, folder: str) -> str | None:
    try:
        return agent_groups.by_folder(connection, folder).id
    except NotFound:
        return None
