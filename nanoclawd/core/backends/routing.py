"""Behind io.nanoclaw.Routing: why an agent answered, or did not."""

from collections.abc import Callable, Iterable, Sequence

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.control import values
from nanoclawd.core.backends.words import user_id_of
from nanoclawd.errors import NotFound
from nanoclawd.routing.decision import EventDecision, Step, WiringDecision
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.router import Router
from nanoclawd.store import chats, dropped, resolve
from nanoclawd.store.database import Database

_MESSAGE_ID = "explained"


class RoutingBackend:
    """The router's decisions as operators ask about them."""

    def __init__(self, database: Database, router: Router, is_channel: Callable[[str], bool]) -> None:
        self._database = database
        self._router = router
        self._is_channel = is_channel

    async def explain(self, message: values.Hypothesis) -> values.Decision:
        """Say what would become of a message, without effect."""
        if not self._is_channel(message.channel):
            raise NotFound(f"there is no channel {message.channel[:40]!r}", hint="ncl channels list")
        event = await self._database.run(_event, message)
        return _decision(await self._router.explain(event))

    async def explain_message(self, message_id: str) -> Sequence[values.Decision]:
        """Return what became of a message, the newest first."""
        found = self._router.recent(message_id)
        if not found:
            raise NotFound(
                f"nothing is remembered of a message {message_id[:60]!r}: only the last 2000 are, since the start",
                hint="ncl explain --channel CHANNEL --chat CHAT --sender USER --text TEXT",
            )
        return [_decision(one) for one in found]

    async def dropped(
        self, channel: str | None, chat: str | None, user: str | None, limit: int
    ) -> Sequence[values.DroppedSender]:
        """Return whose messages were dropped, the latest first."""
        await self._router.flush_drops()
        return await self._database.run(_dropped, channel, chat, user, limit)


def _event(connection: apsw.Connection, message: values.Hypothesis) -> InboundEvent:
    """Return the message as a channel would hand it in; the chat may be meant by its name."""
    chat = chats.by_address(connection, message.channel, message.chat)
    if chat is None:
        try:
            found = resolve.chat(connection, message.chat)
        except NotFound:
            found = None
        chat = found if found is not None and found.channel_type == message.channel else None
    sender = user_id_of(connection, message.sender) if message.sender else None
    is_group = message.is_group if message.is_group is not None else chat is not None and chat.is_group
    return InboundEvent(
        address=Address(message.channel, chat.platform_id if chat else message.chat, message.thread),
        message_id=_MESSAGE_ID,
        text=message.text,
        sender=Sender(sender),
        is_mention=message.is_mention,
        is_group=is_group,
    )


def _decision(found: EventDecision) -> values.Decision:
    event = found.event
    return values.Decision(
        message="" if event.message_id == _MESSAGE_ID else event.message_id,
        channel=event.address.channel_type,
        chat=event.address.platform_id,
        thread=event.address.thread_id,
        sender=event.sender.user_id,
        known=found.chat is not None,
        action=str(found.action),
        reason=found.reason,
        answer=f"{found.answer.card_id} {found.answer.value}" if found.answer else None,
        reply=found.reply or None,
        deciding=_step(found.deciding),
        steps=_steps(found.steps),
        wirings=[_wiring(one) for one in found.wirings],
    )


def _wiring(found: WiringDecision) -> values.WiringDecision:
    return values.WiringDecision(
        wiring=found.wiring.id,
        group=found.group,
        action=str(found.action),
        reason=found.reason,
        session_mode=found.session_mode,
        thread=found.thread_id,
        session=found.session.id if found.session else None,
        reply=found.reply or None,
        deciding=_step(found.deciding),
        steps=_steps(found.steps),
    )


def _steps(found: Iterable[Step]) -> list[values.Step]:
    return [_step(one) for one in found]


def _step(step: Step) -> values.Step:
    return values.Step(step.name, str(step.outcome), step.reason, step.rule)


def _dropped(
    connection: apsw.Connection, channel: str | None, chat: str | None, user: str | None, limit: int
) -> list[values.DroppedSender]:
    where = _chat_of(connection, channel, chat) if chat is not None else None
    user_id = None if user is None else user_id_of(connection, user)
    rows = dropped.every(connection, where[0] if where else channel, where[1] if where else None, user_id, limit=limit)
    return [
        values.DroppedSender(
            channel=row.channel_type,
            chat=row.platform_id,
            user=row.user_id or None,
            sender_name=row.sender_name,
            reason=row.reason,
            group=row.group,
            message_count=row.message_count,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
        )
        for row in rows
    ]


def _chat_of(connection: apsw.Connection, channel: str | None, text: str) -> tuple[str, str]:
    """Return where a chat is. Messages are dropped in chats without a row, too: those are named by their own ids."""
    try:
        found = resolve.chat(connection, text)
    except NotFound:
        if channel is None:
            raise
        return channel, text
    return found.channel_type, found.platform_id
