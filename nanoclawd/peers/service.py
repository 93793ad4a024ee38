"""Carries messages from agent to agent: the one side's row becomes a message in a session of the other's (F-76)."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import AGENT, Address
from nanoclawd.errors import NanoclawError, Unavailable
from nanoclawd.journal import about
from nanoclawd.peers.files import staged
from nanoclawd.peers.planning import Bounds, Going, NoSession, Refusal, Stopped, plan
from nanoclawd.sessions.inbound import Ancestry, NewMessage
from nanoclawd.sessions.ports import Delivered, Outgoing, SessionRef, Text, Undelivered
from nanoclawd.sessions.received import Received, entry
from nanoclawd.store import peers
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session

log = logging.getLogger(__name__)

DELIVERY_SECONDS: Final = 60.0
KEPT_SECONDS: Final = 30 * 86400
_PRUNED_AFTER: Final = 1000


class PeerSessions(Protocol):
    """What is needed of :class:`~nanoclawd.sessions.registry.Sessions`."""

    async def create(
        self, agent_group_id: str, group: str, chat_id: str | None, thread_id: str | None = None, mode: str = "shared"
    ) -> Session:
        """Make a session."""

    async def accept_all(self, messages: Sequence[tuple[Session, NewMessage]]) -> list[bool | Exception]:
        """Store messages, each in its session; False: it was there before."""

    async def deliver_system(self, session_id: str, message: NewMessage) -> bool:
        """Hand a session a row of the host's own, once."""

    async def ancestry(self, session_id: str, in_reply_to: str | None, other: str) -> Ancestry:
        """Find what a session's message to another agent follows from."""


class PeopleWords(Protocol):
    """What is needed of :class:`~nanoclawd.delivery.outbox.HostOutbox`."""

    async def post(self, message_id: str, address: Address, text: str, in_reply_to: str | None = None) -> bool:
        """Keep a text and deliver it; False when this id was posted before."""


class PeerService:
    """Delivers what agents say to agents; what goes wrong is an outcome, as on every channel."""

    def __init__(
        self,
        database: Database,
        sessions: PeerSessions,
        words: PeopleWords,
        staging: Path,
        bounds: Bounds,
        refusal: Refusal = lambda _group_id, _group: None,
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            sessions: of all agents.
            words: for the people who are told that agents were stopped.
            staging: a directory on the file system of the sessions.
            bounds: how much agents may say to each other.
            refusal: why a group takes nothing now.
        """
        self._database = database
        self._sessions = sessions
        self._words = words
        self._staging = staging
        self._bounds = bounds
        self._refusal = refusal
        self._making = asyncio.Lock()
        self._carried = 0

    async def deliver(self, session: SessionRef | None, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once; bounded in time; never raises."""
        if session is None:
            return Undelivered("the appliance itself does not talk to agents like this", permanent=True)
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                return await self._deliver(session, outgoing)
        except TimeoutError:
            return Undelivered("the other agent's session could not be written in time")
        except NanoclawError as error:
            return Undelivered(error.message, permanent=not isinstance(error, Unavailable))
        except Exception:
            log.exception(
                "a message could not be handed to another agent",
                extra=about(session=session.id, group=session.group, channel=AGENT, message=outgoing.id),
            )
            return Undelivered("something unexpected went wrong")

    async def _deliver(self, session: SessionRef, outgoing: Outgoing) -> Delivered | Undelivered:
        body = outgoing.body
        if not isinstance(body, Text):
            return Undelivered("an agent takes words and files only: ask in words", permanent=True)
        going = await self._plan(session, outgoing)
        if isinstance(going, Stopped):
            await self._tell(session, going)
            return Undelivered(going.reason, permanent=True)
        async with staged(self._staging, body.files) as files:
            letter = _letter(session, outgoing, body, going, files)
            (result,) = await self._sessions.accept_all([(going.target, letter)])
        if isinstance(result, Exception):
            raise result
        log.debug(
            "%s writes to %s, hop %d",
            session.group,
            going.target.group,
            going.message.hops,
            extra=about(session=going.target.id, group=going.target.group, channel=AGENT, message=letter.id),
        )
        await self._prune()
        return Delivered()

    async def _plan(self, session: SessionRef, outgoing: Outgoing) -> Going | Stopped:
        other = outgoing.address.platform_id
        ancestry = await self._sessions.ancestry(session.id, outgoing.in_reply_to, other)
        arguments = (session, outgoing.id, other, ancestry, self._bounds, self._refusal)
        found = await self._database.run(plan, *arguments)
        if not isinstance(found, NoSession):
            return found
        async with self._making:
            await self._make(found)
        found = await self._database.run(plan, *arguments)
        if isinstance(found, NoSession):
            raise Unavailable("the other agent's session was closed in this moment")
        return found

    async def _make(self, wanted: NoSession) -> None:
        if await self._database.run(session_rows.find_agent_shared, wanted.agent_group_id) is not None:
            return
        try:
            await self._sessions.create(wanted.agent_group_id, wanted.group, None, None, "agent-shared")
        except apsw.ConstraintError as error:
            # A message has made it at the same time, or the group has gone: the next look tells.
            raise Unavailable("the other agent's session is being made") from error

    async def _tell(self, session: SessionRef, stopped: Stopped) -> None:
        """Tell both sides and the people of a bound, each once: the agent that wrote is told with its failed row."""
        if not stopped.mark:
            return
        log.warning("%s", stopped.told, extra=about(session=session.id, group=session.group, channel=AGENT))
        if stopped.target is not None:
            content = json.dumps({"type": "note", "text": f"{stopped.told} Its last message did not come through."})
            note = NewMessage(
                id=f"peers-{stopped.mark}",
                content=content,
                address=Address(AGENT, session.group),
                kind="system",
                trigger=False,
            )
            await self._sessions.deliver_system(stopped.target, note)
        if stopped.origin is not None and stopped.origin.channel_type != AGENT:
            await self._words.post(f"peers-{stopped.mark}", stopped.origin, stopped.told)

    async def _prune(self) -> None:
        if self._carried % _PRUNED_AFTER == 0:
            await self._database.run(peers.prune, now_text(plus_seconds=-KEPT_SECONDS))
        self._carried += 1


def _letter(
    session: SessionRef, outgoing: Outgoing, body: Text, going: Going, files: tuple[Received, ...]
) -> NewMessage:
    """Return the row that the other agent gets, with the name by which people know the one that wrote (W-26)."""
    message_id = going.message.id
    content: dict[str, object]
    if outgoing.is_notice:
        # The host's own words, e.g. that there will be no answer: whoever asked is to know, and may say so.
        content = {"type": "note", "text": f"The agent {going.sender}: {body.text}"}
    else:
        content = {"text": body.text, "sender": going.sender, "senderId": f"agent:{session.group}"}
        if files:
            content["attachments"] = [entry(message_id, file) for file in files]
    return NewMessage(
        id=message_id,
        content=json.dumps(content, ensure_ascii=False),
        address=Address(AGENT, session.group),
        kind="system" if outgoing.is_notice else "chat",
        files=files,
        source_session_id=session.id,
    )
