"""A new agent's name: a chat's approval waits for it, over restarts; then the agent is made and the chat connected."""

import asyncio
import logging
import unicodedata
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.delivery.outbox import HostOutbox, words
from nanoclawd.errors import AlreadyExists, NanoclawError, NotFound
from nanoclawd.permissions import cards, wording
from nanoclawd.permissions.actions import Applied, Decider
from nanoclawd.permissions.approvals import ApprovalService, Told
from nanoclawd.permissions.chat_card import NEW_AGENT
from nanoclawd.permissions.chats import NAMING, ChatApprovals, give_back
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.ids import words_id
from nanoclawd.store import agent_groups, approvals, roles
from nanoclawd.store.approvals import Approval
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage
from nanoclawd.store.names import GROUP_NAME_LENGTH, RESERVED, normalised

log = logging.getLogger(__name__)

MAX_NAME_CHARACTERS: Final = 60
CANCEL: Final = "cancel"

_AGAIN: Final = "Write another name, or `cancel`."
_FALLBACK: Final = "agent"

type CreateGroup = Callable[[str], Awaitable[object]]
"""Makes an agent group of this folder that can start; raises AlreadyExists where there is one."""

type Made = Callable[[str], Awaitable[None]]
"""Returns once it is known what a channel can."""


class Naming:
    """Goes on where somebody has chosen to make a new agent."""

    def __init__(
        self,
        database: Database,
        outbox: HostOutbox,
        service: ApprovalService,
        registrations: ChatApprovals,
        create: CreateGroup,
        made: Made,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._service = service
        self._registrations = registrations
        self._create = create
        self._made = made
        self._one_at_a_time = asyncio.Lock()

    async def resume(self) -> None:
        """After a start: finish what was being made, each as soon as it is known what its chat's channel can."""
        waiting = await self._database.run(approvals.pending)
        await asyncio.gather(*(self._resume(approval) for approval in waiting if NAMING in approval.payload))

    async def given(self, event: InboundEvent, approval_id: str) -> None:
        """Take a text as the name, and tell where it was written what came of it."""
        async with self._one_at_a_time:
            said = await self._given(event, approval_id)
        message_id = words_id("named", event.address, event.message_id)
        await self._outbox.post(message_id, event.address, said, event.message_id)

    async def _resume(self, approval: Approval) -> None:
        try:
            await self._made(str(approval.channel_type))
            async with self._one_at_a_time:
                approval = await self._database.run(approvals.by_id, approval.id)
                naming = approval.payload.get(NAMING)
                if approval.status != "pending" or naming is None:
                    return
                said = await self._make(approval.id, naming, resumed=True)
        except NotFound:
            log.info("the chat of an agent that was being made has gone")
            return
        except Exception:
            log.exception("an agent that was being made is not ready")
            return
        row = _reply(naming, said)
        await self._outbox.post(row.id, Address(**naming["address"]), said, row.in_reply_to)

    async def _given(self, event: InboundEvent, approval_id: str) -> str:
        name = " ".join(event.text.split())
        if unicodedata.normalize("NFKC", name).casefold().strip("`/. ") == CANCEL:
            cancelled = await self._database.run(_cancel, approval_id, str(event.sender.user_id))
            self._service.repost()
            return (
                "All right: no new agent. The question is open again." if cancelled else "There is nothing to cancel."
            )
        if not name or unicodedata.normalize("NFKC", name).startswith("/"):
            return f"I am waiting for a new agent's name, and that is none. {_AGAIN}"
        if len(name) > MAX_NAME_CHARACTERS:
            return f"I am waiting for a new agent's name, of at most {MAX_NAME_CHARACTERS} characters. {_AGAIN}"
        try:
            chosen = await self._database.run(_choose, approval_id, name, event)
        except NotFound:
            return "This has been withdrawn."
        if isinstance(chosen, str):
            self._service.repost()
            return chosen
        naming, resumed = chosen
        return await self._make(approval_id, naming, resumed=resumed)

    async def _make(self, approval_id: str, naming: dict[str, Any], *, resumed: bool) -> str:
        """Make the agent and connect the chat; return words for who gave the name."""
        folder = naming["folder"]
        try:
            await self._create(folder)
        except NanoclawError as error:
            # Resumed, it was made by the daemon before, that died before it could go on: the folder was free then.
            if isinstance(error, AlreadyExists) and resumed:
                return await self._conclude(approval_id, naming)
            await self._database.run(_forget, approval_id)
            return f"The agent could not be made: {error.message}. {_AGAIN}"
        return await self._conclude(approval_id, naming)

    async def _conclude(self, approval_id: str, naming: dict[str, Any]) -> str:
        told = Told(naming["address"]["channel_type"], partial(_reply, naming))
        try:
            outcome = await self._service.conclude(
                approval_id, partial(self._connect, naming), (naming["by"], naming["name"]), NEW_AGENT.value, told
            )
        except NanoclawError as error:
            return f"The agent {naming['folder']} was made, but not connected: {error.message}"
        return outcome.words

    def _connect(self, naming: dict[str, Any], connection: apsw.Connection, approval: Approval) -> Applied:
        group = agent_groups.by_folder(connection, naming["folder"])
        name = cards.display_name(connection, naming["by"]) or naming["name"]
        by = Decider(naming["by"], wording.who(naming["by"], name))
        return self._registrations.connect(connection, approval, group.id, by)


def _reply(naming: dict[str, Any], said: str) -> HostMessage:
    address, message_id = Address(**naming["address"]), naming["message_id"]
    return words(words_id("named", address, message_id), address, said, message_id)


def _choose(
    connection: apsw.Connection, approval_id: str, name: str, event: InboundEvent
) -> tuple[dict[str, Any], bool] | str:
    """Note which agent is to be made, and tell whether that was noted before; or return in words why none is."""
    user_id = str(event.sender.user_id)
    with writing(connection):
        approval = approvals.by_id(connection, approval_id)
        if approval.status != "pending":
            by = Decider(user_id, event.sender.name)
            return wording.already(approval, cards.who_decided(connection, approval, by))
        if approval.stage != "name" or approval.name_from != user_id:
            return "Nobody waits for a name from you."
        if not roles.standing(connection, user_id).may_administer(None):
            give_back(connection, approval)
            return "You may not decide this any more: it takes an owner or a global admin."
        naming = approval.payload.get(NAMING)
        resumed = naming is not None
        if naming is None:
            naming = {
                "folder": _free(connection, name),
                "by": user_id,
                "name": event.sender.name,
                "address": {
                    "channel_type": event.address.channel_type,
                    "platform_id": event.address.platform_id,
                    "thread_id": event.address.thread_id,
                },
                "message_id": event.message_id,
            }
            approvals.set_payload(connection, approval_id, {**approval.payload, NAMING: naming})
    return dict(naming), resumed


def _free(connection: apsw.Connection, name: str) -> str:
    """Return a folder for a name: in its alphabet, not reserved, not taken."""
    taken = {group.folder for group in agent_groups.every(connection)} | RESERVED
    wanted = normalised(name, GROUP_NAME_LENGTH)
    if wanted == "unnamed":
        wanted = _FALLBACK
    number, folder = 1, wanted
    while folder in taken:
        number += 1
        ending = f"-{number}"
        folder = wanted[: GROUP_NAME_LENGTH - len(ending)].rstrip("-") + ending
    return folder


def _cancel(connection: apsw.Connection, approval_id: str, user_id: str) -> bool:
    with writing(connection):
        waiting = approvals.waiting_for_name(connection, user_id)
        if waiting is None or waiting.id != approval_id:
            return False
        approvals.ask_again(connection, approval_id)
        cards.renew(connection, approval_id)
    return True


def _forget(connection: apsw.Connection, approval_id: str) -> None:
    with writing(connection):
        payload = dict(approvals.by_id(connection, approval_id).payload)
        payload.pop(NAMING, None)
        approvals.set_payload(connection, approval_id, payload)
