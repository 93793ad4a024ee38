"""The appliance's own messages outside a session: cards, answers to commands, denials, notices.

A row of ``host_messages`` goes the way of a reply: what is intended is committed before the I/O, the outcome after it.
A crash in between leaves ``sending``: that row is delivered once more, so a crash costs one duplicate at most. A chat
that nobody can reach now costs no attempt: its rows wait until :meth:`HostOutbox.reachable` is told.
"""

import hashlib
import json
import logging
import math
import time
from dataclasses import dataclass
from typing import Final, Protocol

import apsw

from nanoclaw_runner.contract.cards import Card, from_content
from nanoclaw_runner.contract.clock import now_text, parse
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import NotFound
from nanoclawd.journal import Event, about
from nanoclawd.scheduling.background import Background
from nanoclawd.scheduling.timer import WallTimer
from nanoclawd.sessions.ports import Body, Delivered, Edit, Outgoing, ShownCard, Text, Undelivered
from nanoclawd.store import approvals, host_messages
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 8
"""Of a message in words. A card is tried until its approval ends: somebody waits for it."""

FIRST_RETRY_SECONDS: Final = 5
LONGEST_RETRY_SECONDS: Final = 3600
CLOSING_SECONDS: Final = 3.0
KEPT_SECONDS: Final = 7 * 86400
"""So long words wait for a chat that nobody can reach, and finished rows can be looked at."""

_BATCH: Final = 1000
_AFTER_FAULT_SECONDS: Final = 60
"""The database could not be written (a full disk): so long until the next look."""

_DAY_SECONDS: Final = 86400


class HostDelivery(Protocol):
    """What the outbox needs of :class:`~nanoclawd.delivery.service.DeliveryService`."""

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now."""

    async def deliver(self, session: None, outgoing: Outgoing, /) -> Delivered | Undelivered:
        """Deliver the host's own message once; bounded in time; never raises."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message is done with. Never raises."""


@dataclass(frozen=True, slots=True)
class _Intent:
    """A row that is ``sending`` now, and what to send."""

    message: HostMessage
    body: Body


class HostOutbox:
    """Delivers the rows of ``host_messages``: chats side by side, the rows of a chat in their order."""

    def __init__(self, database: Database, delivery: HostDelivery) -> None:
        self._database = database
        self._delivery = delivery
        self._timer: WallTimer | None = None
        self._busy: set[tuple[str, str]] = set()
        self._background = Background(log, "delivering the appliance's own messages", self.nudge, _AFTER_FAULT_SECONDS)
        self._looking = False
        self._look_again = False
        self._closed = False
        self._next_prune = 0.0

    async def start(self) -> None:
        """Carry on where the last daemon stopped."""
        self._timer = WallTimer(self.nudge, lambda: self._background.spawn(self._after_jump()))
        await self._database.run(host_messages.make_channel_due)
        self.nudge()

    async def close(self, patience: float = CLOSING_SECONDS) -> None:
        """Stop: what is being sent has a moment to end; what is cut off is one duplicate, as after a crash."""
        self._closed = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        await self._background.close(patience)

    async def post(self, message_id: str, address: Address, text: str, in_reply_to: str | None = None) -> bool:
        """Store words to deliver; False when the id is there already. Returns after the commit."""
        new = await self._database.run(host_messages.post, words(message_id, address, text, in_reply_to))
        self.nudge()
        return new

    async def edit(self, host_message_id: str, text: str) -> bool:
        """Change a message of the host that was delivered; one that was not is withdrawn instead.

        Returns:
            Whether there is something to change: False also when this text was asked for already.
        """
        posted = await self._database.run(post_edit, host_message_id, text)
        self.nudge()
        return posted

    def nudge(self) -> None:
        """Look at what is due: somebody has posted, also in a transaction of their own."""
        if self._timer is None or self._closed:
            return
        self._look_again = True
        if not self._looking:
            self._looking = True
            self._background.spawn(self._look())

    def reachable(self, address: Address) -> None:
        """Something of a channel can be reached again: everything that waits for this channel is looked at."""
        self._background.spawn(self._wake(address.channel_type))

    async def rest(self) -> None:
        """Return when nothing is left to do now."""
        await self._background.rest()

    async def _look(self) -> None:
        try:
            while self._look_again and not self._closed:
                self._look_again = False
                await self._deliver_due()
        finally:
            self._looking = False

    async def _deliver_due(self) -> None:
        if time.monotonic() > self._next_prune:
            self._next_prune = time.monotonic() + _DAY_SECONDS
            await self._database.run(host_messages.prune, now_text(plus_seconds=-KEPT_SECONDS))
        moment = now_text()
        rows = await self._database.run(host_messages.due, moment, _BATCH, tuple(self._busy))
        chats: dict[tuple[str, str], list[HostMessage]] = {}
        for row in rows:
            chat = (row.channel_type, row.platform_id)
            if chat not in self._busy:
                chats.setdefault(chat, []).append(row)
        for chat, messages in chats.items():
            self._busy.add(chat)
            self._background.spawn(self._deliver_to(chat, messages))
        if len(rows) == _BATCH:
            # Of other chats more may be due: those that are busy now are left out.
            self._look_again = True
        earliest = await self._database.run(host_messages.earliest, moment)
        if self._timer is not None:
            self._timer.arm(None if earliest is None else parse(earliest).timestamp())

    async def _deliver_to(self, chat: tuple[str, str], messages: list[HostMessage]) -> None:
        try:
            for message in messages:
                if not self._closed:
                    await self._deliver_one(message)
        finally:
            self._busy.discard(chat)
        # What was posted for this chat in the meantime was passed over.
        self.nudge()

    async def _deliver_one(self, message: HostMessage) -> None:
        address = Address(message.channel_type, message.platform_id, message.thread_id)
        if not self._delivery.reachable(address):
            await self._database.run(_park, message.id)
            # It may have become reachable meanwhile, before there was anything to wake.
            if self._delivery.reachable(address):
                self.reachable(address)
            return
        intent = await self._database.run(_intend, message.id)
        if intent is None:
            return
        outgoing = Outgoing(message.id, intent.body, address, message.created_at, message.in_reply_to, is_notice=True)
        result = await self._delivery.deliver(None, outgoing)
        status = await self._database.run(_conclude, intent, result)
        if status == "failed" and isinstance(result, Undelivered):
            log.error(
                "a message of the appliance could not be delivered: %s",
                result.reason,
                extra=about(channel=message.channel_type, message=message.id, event=Event.DELIVERY_FAILED),
            )
        if status != "pending" and message.in_reply_to is not None:
            await self._delivery.end_turn(address, message.in_reply_to, completed=status == "delivered")

    async def _wake(self, channel: str) -> None:
        if await self._database.run(host_messages.make_channel_due, channel):
            self.nudge()

    async def _after_jump(self) -> None:
        await self._database.run(host_messages.bring_forward, now_text(plus_seconds=LONGEST_RETRY_SECONDS))
        self.nudge()


def words(message_id: str, address: Address, text: str, in_reply_to: str | None = None) -> HostMessage:
    """Return a row that says something, for :func:`~nanoclawd.store.host_messages.post`."""
    return _row(message_id, address, json.dumps({"text": text}), in_reply_to=in_reply_to)


def shown_card(
    message_id: str, address: Address, card: Card, card_id: str, approval_id: str, person: str
) -> HostMessage:
    """Return a row that shows an approval's card to a person."""
    options = [{"label": one.label, "value": one.value, "done": one.done} for one in card.options]
    content = {"card": {"title": card.title, "text": card.text, "options": options}, "card_id": card_id}
    return _row(message_id, address, json.dumps(content), approval_id=approval_id, person=person)


def platform_edit(message_id: str, address: Address, platform_message_id: str | None, text: str) -> HostMessage:
    """Return a row that changes a message which the host has not posted itself (a session's card)."""
    return _row(message_id, address, json.dumps({"platform_message_id": platform_message_id, "text": text}))


def post_edit(connection: apsw.Connection, host_message_id: str, text: str) -> bool:
    """Post the change of a delivered message; withdraw it where it was not delivered. In one transaction.

    A row that is ``sending``, or that was tried in vain, may have arrived: its change is posted, and waits behind one
    more attempt of it, which tells. The same text is posted once.
    """
    with writing(connection):
        target = host_messages.by_id(connection, host_message_id)
        if target.status == "failed":
            return False
        if target.status == "pending" and not target.attempts:
            host_messages.record(connection, target.id, "failed", reason="it was withdrawn")
            return False
        if target.status == "pending":
            host_messages.record(connection, target.id, "sending", next_attempt_at=now_text(), reason=target.reason)
        address = Address(target.channel_type, target.platform_id, target.thread_id)
        mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
        content = json.dumps({"edit": target.id, "text": text})
        row = _row(f"edit-{target.id}-{mark}", address, content, approval_id=target.approval_id)
        return host_messages.post(connection, row)


def _row(
    message_id: str,
    address: Address,
    content: str,
    *,
    in_reply_to: str | None = None,
    approval_id: str | None = None,
    person: str | None = None,
) -> HostMessage:
    return HostMessage(
        message_id,
        address.channel_type,
        address.platform_id,
        address.thread_id,
        content,
        in_reply_to=in_reply_to,
        approval_id=approval_id,
        person=person,
    )


def _intend(connection: apsw.Connection, message_id: str) -> _Intent | None:
    """Record that a row is being sent now, or that there is no sense in it any more (then None)."""
    with writing(connection):
        message = _open(connection, message_id)
        if message is None:
            return None
        try:
            body = _body(connection, message)
        except (ValueError, LookupError, TypeError, NotFound) as error:
            body = f"there is nothing to deliver: {error}"
        if isinstance(body, str):
            host_messages.record(connection, message.id, "failed", reason=body)
            return None
        host_messages.record(connection, message.id, "sending", message.attempts + 1, reason=message.reason)
    return _Intent(message, body)


def _open(connection: apsw.Connection, message_id: str) -> HostMessage | None:
    """Return a row that is still to be delivered: it may have been withdrawn or deleted since it was looked up."""
    try:
        message = host_messages.by_id(connection, message_id)
    except NotFound:
        return None
    return message if message.status in ("pending", "sending") else None


def _body(connection: apsw.Connection, message: HostMessage) -> Body | str:
    """Return what to deliver, or in words why there is nothing to deliver any more."""
    content = json.loads(message.content)
    if "card" in content:
        approval = None if message.approval_id is None else approvals.by_id(connection, message.approval_id)
        if (approval is None or approval.status != "pending") and message.status != "sending":
            return "its approval has ended"
        return ShownCard(from_content(json.dumps(content["card"])), content["card_id"])
    if "edit" in content:
        target = host_messages.by_id(connection, content["edit"])
        if target.status != "delivered":
            return "the message that it changes was not delivered"
        if _is_outdated(connection, message, target.id):
            return "a later change has taken its place"
        return _change(target.platform_message_id, content["text"])
    if "platform_message_id" in content:
        return _change(content["platform_message_id"], content["text"])
    return Text(content["text"])


def _is_outdated(connection: apsw.Connection, change: HostMessage, target_id: str) -> bool:
    """Tell whether a card was changed anew while this change of it could not be delivered."""
    if change.approval_id is None:
        return False
    rows = host_messages.of_approval(connection, change.approval_id)
    changes = [one.id for one in rows if json.loads(one.content).get("edit") == target_id]
    return changes[-1] != change.id


def _change(platform_message_id: str | None, text: str) -> Body:
    """A channel that gave no id for its message can only be told more."""
    return Text(text) if platform_message_id is None else Edit(platform_message_id, text)


def _conclude(connection: apsw.Connection, intent: _Intent, result: Delivered | Undelivered) -> str:
    """Record a delivery's outcome and return the row's new status."""
    message, attempts = intent.message, intent.message.attempts + 1
    if isinstance(result, Undelivered) and result.retry_after is not None and not result.permanent:
        attempts -= 1  # a platform that asks for time is no fault
    if isinstance(result, Delivered):
        platform_message_id = result.platform_message_id
        host_messages.record(connection, message.id, "delivered", platform_message_id=platform_message_id)
        return "delivered"
    given_up = result.permanent or attempts >= MAX_ATTEMPTS
    if given_up and not isinstance(intent.body, ShownCard):
        host_messages.record(connection, message.id, "failed", reason=result.reason)
        return "failed"
    wait = min(FIRST_RETRY_SECONDS * 2.0 ** min(max(attempts - 1, 0), 20), LONGEST_RETRY_SECONDS)
    if result.retry_after is not None and math.isfinite(result.retry_after):
        wait = min(max(result.retry_after, 1.0), _DAY_SECONDS)
    later = now_text(plus_seconds=wait)
    host_messages.record(connection, message.id, "pending", attempts, next_attempt_at=later, reason=result.reason)
    return "pending"


def _park(connection: apsw.Connection, message_id: str) -> None:
    """Have a row wait without a timer, but words not for ever."""
    with writing(connection):
        message = _open(connection, message_id)
        if message is None:
            return
        if message.person is None and message.created_at < now_text(plus_seconds=-KEPT_SECONDS):
            host_messages.record(connection, message_id, "failed", reason="the chat could not be reached for days")
            return
        host_messages.record(connection, message_id, "pending", reason="waits until the chat can be reached")
