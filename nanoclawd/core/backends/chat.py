"""Behind io.nanoclaw.Chat: the terminal channel.

Who writes is who the kernel says (SO_PEERCRED), never a claimed name (W-75).
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.terminal import CHANNEL_TYPE, TerminalChannel, platform_id
from nanoclawd.control.api import ChatScreen
from nanoclawd.control.values import FilePart, Peer, Sent, TurnState, Uploaded, UploadedFile
from nanoclawd.errors import Refused
from nanoclawd.routing.decision import Action, EventDecision
from nanoclawd.routing.event import InboundEvent, InboundFile, Sender
from nanoclawd.routing.router import Routed, Router
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import agent_groups, chats, host_messages
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage

_STATES = {
    "completed": TurnState.COMPLETED,
    "delivered": TurnState.COMPLETED,
    "failed": TurnState.FAILED,
}


class _AnsweredError(Exception):
    """The message was the answer to a card, which is closed by now: told again it would be a message to the agent."""

    def __init__(self, answer: HostMessage) -> None:
        super().__init__()
        self.answer = answer


class ChatBackend:
    """The terminal channel."""

    def __init__(self, database: Database, router: Router, sessions: Sessions, terminal: TerminalChannel) -> None:
        self._database = database
        self._router = router
        self._sessions = sessions
        self._terminal = terminal

    async def send(
        self, peer: Peer, group: str, text: str, client_token: str, files: Sequence[UploadedFile] = ()
    ) -> Sent:
        """Accept a message, once per token; return after the commit.

        Raises:
            NotFound: a file was not uploaded.
            Refused: nobody hears it; the message says why.
        """
        chat = platform_id(peer.user_name, group)

        def first(connection: apsw.Connection) -> None:
            _prepare(connection, chat, peer, group)
            answer = host_messages.answer_to(connection, CHANNEL_TYPE, client_token)
            if answer is not None:
                raise _AnsweredError(answer)

        try:
            if files:
                await self._database.run(first)
            enclosed = await asyncio.to_thread(self._enclosed, peer, files) if files else ()
            event = InboundEvent(
                address=Address(CHANNEL_TYPE, chat),
                message_id=client_token,
                text=text,
                sender=Sender(peer.user_id, peer.user_name),
                files=enclosed,
            )
            # In one visit of the database's thread with all else, as every message pays for it.
            routed = await self._router.route(event, first=first)
        except _AnsweredError as found:
            return Sent(client_token, _STATES.get(found.answer.status, TurnState.ACCEPTED))
        return await self._sent(routed)

    async def upload(self, peer: Peer, upload: str, offset: int, part: bytes) -> Uploaded:
        """Keep a part of a file; raises as :meth:`~nanoclawd.channels.terminal_files.TerminalFiles.upload`."""
        return Uploaded(await asyncio.to_thread(self._terminal.files.upload, peer.user_name, upload, offset, part))

    async def download(self, peer: Peer, file: str, offset: int) -> FilePart:
        """Return a part of a file that was sent to this user; raises NotFound."""
        part, found = await asyncio.to_thread(self._terminal.files.download, peer.user_name, file, offset)
        return FilePart(found.name, found.size, base64.b64encode(part).decode())

    def _enclosed(self, peer: Peer, files: Sequence[UploadedFile]) -> tuple[InboundFile, ...]:
        found = [(*self._terminal.files.reference(peer.user_name, one.upload), one.name) for one in files]
        return tuple(InboundFile(reference, name, size=size) for reference, size, name in found)

    @asynccontextmanager
    async def attach(self, peer: Peer, group: str, screen: ChatScreen) -> AsyncIterator[None]:
        """Show the chat, and the user's direct chat, on a screen while the context lasts."""
        chat = platform_id(peer.user_name, group)
        await self._database.run(_prepare, chat, peer, group)
        self._terminal.attach(chat, screen)
        try:
            yield
        finally:
            self._terminal.detach(chat, screen)

    async def _sent(self, routed: Routed) -> Sent:
        """Return how far a message has come: told twice, it may be answered already."""
        row = next((one for one in routed.stored if one.message_id == routed.message_id), None)
        if row is not None and row.stored:
            return Sent(row.message_id)
        if row is not None:
            actor = await self._sessions.actor(row.session)
            status = await actor.files.read(lambda inbound: inbound.status_of(row.message_id))
            return Sent(row.message_id, _STATES.get(status or "", TurnState.ACCEPTED))
        if routed.answered or routed.consumed:
            # The appliance's own answer ends the turn; where there is none to come, it has ended.
            answer = await self._database.run(host_messages.answer_to, CHANNEL_TYPE, routed.message_id)
            state = TurnState.COMPLETED if answer is None else _STATES.get(answer.status, TurnState.ACCEPTED)
            return Sent(routed.message_id, state)
        raise Refused(f"nobody answers this: {_why(routed.decision)}", hint="ncl wirings list")


def _prepare(connection: apsw.Connection, chat: str, peer: Peer, group: str) -> None:
    """Make and wire a terminal's chat with a group."""
    chats.ensure_terminal(
        connection, chat, f"{peer.user_name}'s terminal", agent_groups.by_folder(connection, group).id
    )


def _why(decision: EventDecision) -> str:
    """Return in words what the router decided: each agent's reason, or that of the whole message."""
    if decision.action is not Action.ROUTE:
        return decision.deciding.reason
    return "; ".join(dict.fromkeys(f"{one.group}: {one.deciding.reason}" for one in decision.wirings))
