"""Everything about permissions in one place: what the router asks for, and what a choice on a card does."""

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Final, Protocol

from nanoclaw_runner.contract.text import storable
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.delivery.outbox import HostOutbox, words
from nanoclawd.errors import NotFound, Unavailable
from nanoclawd.journal import about
from nanoclawd.permissions.approvals import DEFAULT_HOURS, ApprovalService, Told
from nanoclawd.permissions.chats import ChatApprovals, ChatFacts, Project
from nanoclawd.permissions.direct_messages import DirectMessages, DmChannels
from nanoclawd.permissions.kept import Replay
from nanoclawd.permissions.naming import CreateGroup, Naming
from nanoclawd.permissions.questions import Asker, QuestionService
from nanoclawd.permissions.senders import SenderApprovals
from nanoclawd.routing.decision import CardAnswer
from nanoclawd.routing.event import Click, InboundEvent
from nanoclawd.routing.ids import words_id
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage

log = logging.getLogger(__name__)

_NOT_OPEN: Final = "This card is not open any more."
_LATER: Final = "That can't be done at the moment. Try again in a minute."
_WRONG: Final = "Something went wrong with this choice. The journal of the appliance has the details."


class Channels(DmChannels, ChatFacts, Protocol):
    """What permissions need of :class:`~nanoclawd.channels.manager.ChannelManager`."""

    def capabilities(self, name: str) -> Capabilities:
        """Return what a channel can."""

    async def made(self, name: str) -> None:
        """Return once that is known."""


class Permissions:
    """Approvals and questions, put together. Implements :class:`~nanoclawd.routing.ports.Approvals`."""

    def __init__(
        self,
        database: Database,
        outbox: HostOutbox,
        channels: Channels,
        *,
        replay: Replay,
        project: Project,
        create_group: CreateGroup,
        asker: Asker,
        hours: float = DEFAULT_HOURS,
    ) -> None:
        """Put together; other actions are registered with ``approvals`` before :meth:`start`.

        Args:
            database: the central database.
            outbox: for cards and notices.
            channels: all channels.
            replay: routes a kept message once more, without asking anybody again.
            project: has an agent group's (by id) sessions see its present destinations.
            create_group: makes an agent group of this folder that can start.
            asker: the sessions.
            hours: after so many an approval or a question has expired.
        """

        def can_edit(name: str) -> bool:
            return channels.capabilities(name).edits

        def has_threads(name: str) -> bool:
            return channels.capabilities(name).threads

        async def replay_where_known(event: InboundEvent) -> bool:
            # After a start: until its channel was made, a thread would count for nothing.
            await channels.made(event.address.channel_type)
            return await replay(event)

        self._outbox = outbox
        self.direct_messages = DirectMessages(database, channels)
        self.approvals = ApprovalService(database, outbox, self.direct_messages, can_edit, hours)
        self.questions = QuestionService(database, outbox, asker, can_edit, hours)
        self._senders = SenderApprovals(database, self.approvals, replay_where_known)
        self._chats = ChatApprovals(database, self.approvals, replay_where_known, project, channels, has_threads)
        self._naming = Naming(database, outbox, self.approvals, self._chats, create_group, channels.made)
        self._resuming: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Carry on where the last daemon stopped. After the outbox was started and before channels are."""
        await self.approvals.start()
        await self.questions.start()
        # It waits for channels, which come up after this.
        self._resuming = asyncio.create_task(self._naming.resume())

    async def close(self) -> None:
        """Stop; everything is in the databases."""
        if self._resuming is not None:
            self._resuming.cancel()
            await asyncio.gather(self._resuming, return_exceptions=True)
        await self.approvals.close()
        await self.questions.close()

    async def rest(self) -> None:
        """Return when nothing is under way any more."""
        if self._resuming is not None:
            await asyncio.wait({self._resuming})
        await self.approvals.rest()
        await self.questions.rest()
        await self._outbox.rest()

    def repost(self) -> None:
        """Somebody new may decide, or can be written to: post the cards that have reached nobody."""
        self.approvals.repost()

    async def sender_unknown(self, event: InboundEvent, chat: Chat, wiring: Wiring, group: str) -> None:
        """Ask whether a person may talk to an agent; keep the message."""
        await self._senders.ask(event, chat, wiring.agent_group_id, group)

    async def chat_unknown(self, event: InboundEvent, chat: Chat) -> None:
        """Ask which agent a chat is to have; keep the message."""
        await self._chats.ask(event, chat)

    async def answer(self, event: InboundEvent, answer: CardAnswer) -> None:
        """Carry out what a text has chosen, and tell the outcome where it was written."""
        user_id, name = event.sender.user_id or "", event.sender.name
        address = event.address
        if answer.kind == "question":
            said = await self._words(self.questions.answer(answer.card_id, answer.value, user_id, name, _told(event)))
        else:
            said = await self._words(self._decided(event, answer))
        row = _reply(event, said)
        # The id is the same where the words were posted with the decision.
        await self._outbox.post(row.id, address, said, row.in_reply_to)

    async def name_given(self, event: InboundEvent, approval_id: str) -> None:
        """Go on with a registration that waited for this text as a name."""
        await self._naming.given(event, approval_id)

    async def click(self, click: Click) -> str:
        """Carry out what a button says; return words for who clicked. Never raises."""
        card_id, value, user_id, name = map(storable, (click.card_id, click.value, click.user_id, click.sender_name))
        try:
            return (await self.approvals.click(card_id, value, user_id, name)).words
        except NotFound:
            log.debug("the card of a click is no approval's", extra=about(channel=click.address.channel_type))
        except Unavailable:
            return _LATER
        except Exception:
            log.exception("a click failed", extra=about(channel=click.address.channel_type))
            return _WRONG
        return await self._words(self.questions.answer(card_id, value, user_id, name))

    async def _decided(self, event: InboundEvent, answer: CardAnswer) -> str:
        sender = event.sender
        user_id = sender.user_id or ""
        outcome = await self.approvals.answer(answer.card_id, answer.value, user_id, sender.name, _told(event))
        return outcome.words

    async def _words(self, doing: Awaitable[str]) -> str:
        try:
            return await doing
        except NotFound:
            return _NOT_OPEN
        except Unavailable:
            return _LATER
        except Exception:
            log.exception("an answer to a card failed")
            return _WRONG


def _told(event: InboundEvent) -> Told:
    return Told(event.address.channel_type, partial(_reply, event))


def _reply(event: InboundEvent, said: str) -> HostMessage:
    return words(words_id("answer", event.address, event.message_id), event.address, said, event.message_id)
