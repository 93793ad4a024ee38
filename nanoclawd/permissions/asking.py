"""Whom a card goes to: the first approver who can be reached; while it has arrived nowhere, the next one."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.permissions import cards
from nanoclawd.permissions.actions import ORIGIN, ActionHandler
from nanoclawd.permissions.direct_messages import DirectMessages
from nanoclawd.store import approvals, roles
from nanoclawd.store.approvals import Approval
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage

log = logging.getLogger(__name__)

_MOST_ASKED: Final = 10
"""Approvers that are looked at for one card."""

_TRIES: Final = 3
"""Failed deliveries after which the next approver is asked too."""


@dataclass(frozen=True, slots=True)
class _Unasked:
    """An approval whose card has reached nobody who may decide, its cards to those, and who else could be asked."""

    approval: Approval
    shown: tuple[HostMessage, ...]
    candidates: tuple[str, ...]


class Asking:
    """Posts cards."""

    def __init__(self, database: Database, messages: DirectMessages, handlers: dict[str, ActionHandler]) -> None:
        self._database = database
        self._messages = messages
        self._handlers = handlers

    async def ask(self) -> tuple[bool, bool]:
        """Post the card of every approval that has reached nobody.

        Returns:
            Whether a card was posted, and whether somebody has to look again later: a card has arrived nowhere yet.
        """
        unasked = await self._database.run(self._unasked)
        posted = await asyncio.gather(*(self._ask(one) for one in unasked))
        return any(posted), bool(unasked)

    def _unasked(self, connection: apsw.Connection) -> list[_Unasked]:
        found = []
        for action in self._handlers.values():
            action.review(connection)
        for approval_id in approvals.unreached(connection):
            approval = approvals.by_id(connection, approval_id)
            if (handler := self._handlers.get(approval.action)) is None:
                continue
            candidates = roles.approvers(connection, handler.group_to_ask(approval))
            # Whoever was asked and lost the right since then will not decide.
            shown = tuple(one for one in cards.present(connection, approval) if one.person in candidates)
            if any(one.status == "delivered" for one in shown):
                continue
            asked = {one.person for one in shown}
            left = tuple(user for user in candidates[:_MOST_ASKED] if user not in asked)
            found.append(_Unasked(approval, shown, left))
        return found

    def _is_under_way(self, card: HostMessage) -> bool:
        """Tell whether a card may well arrive without anybody else being asked."""
        address = Address(card.channel_type, card.platform_id, card.thread_id)
        trying = card.attempts < _TRIES and self._messages.reachable(address)
        return card.status == "sending" or (card.status == "pending" and trying)

    async def _ask(self, unasked: _Unasked) -> bool:
        """Post a card to the first who can be reached now; to one who can't be only if nobody else was asked."""
        approval = unasked.approval
        if any(self._is_under_way(one) for one in unasked.shown):
            return False
        origin = str(approval.payload.get(ORIGIN, ""))
        places = await asyncio.gather(*(self._messages.of(user, origin) for user in unasked.candidates))
        found = [(user, place) for user, place in zip(unasked.candidates, places, strict=True) if place is not None]
        found.sort(key=lambda one: (not self._messages.reachable(one[1]), one[1].channel_type != origin))
        if not found:
            return False
        user, place = found[0]
        if unasked.shown and not self._messages.reachable(place):
            return False
        posted = await self._database.run(_post, approval.id, user, place)
        if posted:
            log.info("approval %s (%s) is asked of %s", approval.id, approval.action, user)
        return posted


def _post(connection: apsw.Connection, approval_id: str, user_id: str, place: Address) -> bool:
    """Post unless the approval has ended, or turned to something else, while the platforms were asked."""
    with writing(connection):
        if approval_id not in approvals.unreached(connection):
            return False
        return cards.post(connection, approvals.by_id(connection, approval_id), user_id, place)
