"""Unknown people: may they talk to an agent? Who may is asked; what they wrote waits, and is answered afterwards."""

import logging
from typing import Final

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import NanoclawError
from nanoclawd.journal import about
from nanoclawd.permissions import wording
from nanoclawd.permissions.actions import ActionHandler, Applied, Decider
from nanoclawd.permissions.approvals import ApprovalService, NewRequest
from nanoclawd.permissions.crowd import is_crowded, tell_crowded
from nanoclawd.permissions.kept import Replay, begun, keep, replay_all, tell_waiting
from nanoclawd.routing.event import InboundEvent
from nanoclawd.store import approvals, members, roles, users
from nanoclawd.store.approvals import Approval
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

ACTION: Final = "sender"
ALLOW: Final = Option("Allow", "allow", "Allowed")
DENY: Final = Option("Deny", "deny", "Denied")
DENY_ALWAYS: Final = Option("Deny and don't ask again", "deny-always", "Denied for good")

_MAX_TITLE_NAME: Final = 60


class SenderApprovals(ActionHandler):
    """Asks about people, and makes members of them."""

    def __init__(self, database: Database, service: ApprovalService, replay: Replay) -> None:
        self._database = database
        self._service = service
        self._replay = replay
        service.register(ACTION, self)

    async def ask(self, event: InboundEvent, chat: Chat, agent_group_id: str, group: str) -> None:
        """Ask whether a person may talk to an agent, once; keep the message. Nobody unidentified is asked about."""
        if event.sender.user_id is None:
            return
        try:
            await self._database.run(self._ask, event, chat, agent_group_id, group)
        except NanoclawError as error:
            log.info("nobody is asked about a sender: %s", error, extra=about(channel=event.address.channel_type))
            return
        self._service.repost()

    def apply(self, connection: apsw.Connection, approval: Approval, option: Option, by: Decider) -> Applied:
        """Make the person a member, or tell them that they are not let in."""
        user_id, group_id = str(approval.user_id), str(approval.agent_group_id)
        name = wording.who(user_id, str(approval.payload.get("name", "")))
        if option.value == ALLOW.value:
            users.ensure(connection, user_id, approval.payload.get("name"))
            if not roles.standing(connection, user_id).may_access(group_id):
                members.add(connection, user_id, group_id, by.id)
            members.undeny(connection, user_id, group_id)
            return Applied("approved", f"Allowed by {by.name}: {name} may talk to {approval.group} from now on.")
        if option.value == DENY_ALWAYS.value:
            members.deny(connection, user_id, group_id, by.id)
        tell_waiting(connection, approval, "denied", "You were not let in, so your message was not passed on.")
        return Applied("rejected", f"{option.done} by {by.name}.")

    def expire(self, connection: apsw.Connection, approval: Approval) -> None:
        """Tell the person that nobody has decided."""
        tell_waiting(
            connection, approval, "expired", "Nobody decided in time whether you may write here. Write again to ask."
        )

    async def finish(self, approval: Approval, *, resumed: bool) -> None:
        """Route what was kept. What was routed before is known by its ids."""
        del resumed
        if approval.status != "approved":
            return
        if not await replay_all(approval.payload, self._replay):
            await self._database.run(tell_waiting, approval, "unheard", wording.LET_IN)
            self._service.repost()

    def _ask(self, connection: apsw.Connection, event: InboundEvent, chat: Chat, group_id: str, group: str) -> None:
        user_id = users.check_id(str(event.sender.user_id))
        with writing(connection):
            if group_id in roles.standing(connection, user_id).denied_in:
                return
            subject = f"{group_id} {user_id}"
            if is_crowded(connection, ACTION, subject, chat.id):
                tell_crowded(connection, event)
                return
            request = _request(event, chat, group_id, group, subject)
            approval, is_new = self._service.begin(connection, request)
            payload = keep(approval.payload, event)
            if payload is not None and not is_new:
                approvals.set_payload(connection, approval.id, payload)


def _request(event: InboundEvent, chat: Chat, group_id: str, group: str, subject: str) -> NewRequest:
    user_id, name = str(event.sender.user_id), event.sender.name
    payload, notice = begun(event)
    short = wording.visible(name or user_id, _MAX_TITLE_NAME)
    allowing = (
        f"Allow: they become a member of the agent group {group}, which then hears them in every chat where it is; this"
        " message is passed on now."
    )
    body = "\n".join(
        (
            f"{wording.person(user_id, name)} wrote in {wording.place(event, chat)}, and {group} doesn't know them:",
            wording.quoted(event.text),
            "",
            allowing,
            "Deny: nothing happens; they are told, and may ask again.",
            "Deny and don't ask again: they are told, and from then on not heard by it.",
        )
    )
    return NewRequest(
        action=ACTION,
        subject=subject,
        title=f"May {short} talk to {group}?",
        body=body,
        options=(ALLOW, DENY, DENY_ALWAYS),
        payload={**payload, "name": name},
        agent_group_id=group_id,
        messaging_group_id=chat.id,
        user_id=user_id,
        origin_channel=event.address.channel_type,
        notice=notice,
    )
