"""Carries one row of an agent's to where it belongs: a chat, the people who are asked, or the appliance itself."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.rows import Address, OutboundRow
from nanoclawd.errors import NanoclawError, NotFound, Refused, Unavailable
from nanoclawd.journal import about
from nanoclawd.sessions import bodies
from nanoclawd.sessions.attachments import Opened
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.inbound import Delivery, Heard, Inbound
from nanoclawd.sessions.ports import (
    Body,
    Delivered,
    DeliveryPort,
    Edit,
    HostRules,
    Outgoing,
    Reaction,
    SessionRef,
    ShownCard,
    Text,
    Undelivered,
)

log = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 60.0
"""A request that takes longer would hold up everything else that the agent says."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A row that may be carried out. ``address`` is None where it goes to no chat."""

    row: OutboundRow
    meaning: bodies.Meaning
    address: Address | None


@dataclass(frozen=True, slots=True)
class Target:
    """An earlier message that a row points at, and the chat that it is in, as the host remembers both."""

    platform_message_id: str
    chat: tuple[str, str]
    own: bool


class Courier:
    """Carries the rows of one session. What went wrong comes back as an outcome, never as an exception."""

    def __init__(self, session: SessionRef, files: SessionFiles, port: DeliveryPort, rules: HostRules) -> None:
        self._session = session
        self._files = files
        self._port = port
        self._rules = rules

    async def may_write_to(self, address: Address) -> bool:
        """Tell whether the agent may write to a place: its own chat, any thread of it, or what the rules allow."""
        return self._session.owns(address) or await self._rules.may_write_to(self._session, address)

    async def carry(self, parcel: Parcel, names: Mapping[int, str]) -> tuple[Delivered | Undelivered, Opened | None]:
        """Carry a row once; returns what became of it, and the files that went with it.

        Args:
            parcel: the row.
            names: ids of the outbound rows that it may point at by number.
        """
        opened: Opened | None = None
        try:
            match parcel.meaning:
                case bodies.Request() | bodies.Report():
                    return await self._request(parcel.row), None
                case bodies.Question(card):
                    address = _required(parcel.address)
                    card_id = await self._rules.question_asked(self._session, parcel.row.id, card, address)
                    return await self._deliver(parcel, ShownCard(card, card_id)), None
                case bodies.Display(card):
                    return await self._deliver(parcel, ShownCard(card, "")), None
                case bodies.Words(text, files):
                    if files:
                        opened = await self._files.open_files(files)
                    return await self._deliver(parcel, Text(text, opened.attachments if opened else ())), opened
                case bodies.Change() as change:
                    return await self._deliver(parcel, await self._changed(parcel, change, names)), None
        except NanoclawError as error:
            return Undelivered(error.message, permanent=not isinstance(error, Unavailable)), opened
        except Exception:
            log.exception("a row could not be carried out", extra=self._about(parcel.row.id))
            return Undelivered("something unexpected went wrong"), opened
        finally:
            if opened is not None:
                opened.close()

    async def report(self, row_id: str, report: bodies.Report) -> None:
        """Pass on what an agent reports. It holds nothing up: what can't be taken now is lost and journalled."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._rules.reported(self._session, row_id, report.content)
        except Exception as error:
            log.warning("a report of an agent was lost: %s", error or type(error).__name__, extra=self._about(row_id))

    async def withdraw(self, parcel: Parcel) -> None:
        """A row has failed for good: nobody will answer a question that was never shown."""
        if not isinstance(parcel.meaning, bodies.Question):
            return
        try:
            await self._rules.question_failed(self._session, parcel.row.id)
        except Exception:
            log.exception("a question could not be withdrawn", extra=self._about(parcel.row.id))

    async def target(self, change: bodies.Change, names: Mapping[int, str]) -> Target:
        """Find the message that a row wants to change.

        Raises:
            NotFound: there is none.
            Refused: the platform has no name for it, or it never got there.
            Unavailable: it is not there yet.
        """
        heard, own = await self._files.read(lambda inbound: _look_up(inbound, change.target, names))
        if heard is not None:
            if heard.platform_message_id is None or heard.address is None:
                raise Refused("that message can't be changed: its channel has no name for it")
            return Target(heard.platform_message_id, (heard.address.channel_type, heard.address.platform_id), own=False)
        if own is None:
            raise NotFound(f"there is no message {str(change.target)[:80]}")
        if own.status in ("pending", "sending"):
            raise Unavailable("the message that it changes has not been delivered yet")
        if own.status != "delivered" or own.platform_message_id is None or own.chat is None:
            raise Refused("that message can't be changed: it was not delivered, or its channel has no name for it")
        return Target(own.platform_message_id, own.chat, own=True)

    async def _request(self, row: OutboundRow) -> Delivered | Undelivered:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._rules.request(self._session, row)
        except TimeoutError:
            # It may have been done in part: not again.
            return Undelivered(f"the appliance was not done with it after {REQUEST_SECONDS:g} s", permanent=True)
        return Delivered()

    async def _changed(self, parcel: Parcel, change: bodies.Change, names: Mapping[int, str]) -> Body:
        target = await self.target(change, names)
        address = _required(parcel.address)
        # The ids of a platform are unique in their chat only: in another they could mean anybody's message.
        if target.chat != (address.channel_type, address.platform_id):
            raise Refused("the message that it changes is in another chat")
        if change.emoji is not None:
            return Reaction(target.platform_message_id, change.emoji)
        if not target.own:
            raise Refused("only messages of its own can be edited")
        return Edit(target.platform_message_id, change.text or "")

    async def _deliver(self, parcel: Parcel, body: Body) -> Delivered | Undelivered:
        row = parcel.row
        return await self._port.deliver(
            self._session, Outgoing(row.id, body, _required(parcel.address), row.timestamp, row.in_reply_to)
        )

    def _about(self, row_id: str) -> dict[str, str]:
        return about(session=self._session.id, group=self._session.group, message=row_id)


def _required(address: Address | None) -> Address:
    if address is None:
        raise Refused("it has no address")
    return address


def _look_up(inbound: Inbound, reference: int | str, names: Mapping[int, str]) -> tuple[Heard | None, Delivery | None]:
    """Find a message in the host's own books: one that came in, or one that went out."""
    heard = inbound.heard(reference)
    row_id = names.get(reference) if isinstance(reference, int) else reference
    if heard is not None or row_id is None:
        return heard, None
    return None, inbound.deliveries([row_id]).get(row_id)
