"""A session's unfinished messages, and what its people are told about them."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.sessions.drain import Drain, Drained, Problem
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.inbound import NewMessage, Notice, Pending
from nanoclawd.sessions.outbound import NOTICE_ID_PREFIX
from nanoclawd.sessions.ports import DeliveryPort, HostRules, SessionRef

_DONE: Final = frozenset({"completed", "failed"})


class Mailbox:
    """The rows of ``inbound.db`` that wait, kept in memory beside it while the session is at work."""

    def __init__(self, session: SessionRef, files: SessionFiles, port: DeliveryPort, rules: HostRules) -> None:
        self._session = session
        self._files = files
        self._port = port
        self._drain = Drain(session, files, port, rules)
        # One delivers at a time, or two would find the same row undelivered.
        self._delivering = asyncio.Lock()
        self._pending: dict[str, Pending] = {}
        self._unseen: frozenset[tuple[str, str]] = frozenset()
        self._behind: frozenset[tuple[str, str]] | None = None
        """None: nobody has looked since the session was asleep."""
        # What was accepted since the last load began: a load that was under way does not know of it.
        self._fresh: dict[str, Pending] = {}

    @property
    def waiting(self) -> int:
        """How many messages wait for an answer; what is planned for later does not."""
        return len(self.asked()) if self._pending else 0

    @property
    def busy(self) -> bool:
        """Whether any message waits for an answer."""
        return next(self._asked(), None) is not None

    @property
    def asking(self) -> Address | None:
        """Where the oldest message was written that can be answered now, or None where there is none."""
        moment = now_text()
        found = next((one for one in self._pending.values() if one.trigger and one.due(moment)), None)
        return None if found is None else found.address or self._session.address

    @property
    def unseen(self) -> frozenset[tuple[str, str]]:
        """The chats for which something waits until somebody sees them, as of the last look."""
        return self._unseen

    def is_behind(self, address: Address) -> bool:
        """Tell whether a chat has yet to get something that was said before, so that nothing newer is to be shown."""
        chat = (address.channel_type, address.platform_id)
        return self._delivering.locked() or self._behind is None or chat in self._unseen | self._behind

    async def load(self) -> None:
        """Read what waits."""
        self._fresh.clear()
        rows = await self._files.read(lambda inbound: inbound.pending())
        if self._behind is None:
            self._behind = await self._files.read(lambda inbound: inbound.chats_behind())
        self._pending = {row.id: row for row in rows} | self._fresh

    async def accept(self, message: NewMessage, check: Callable[[], None] = lambda: None) -> bool:
        """Store a message; False when it was stored before. Raises, and checks, as :meth:`SessionFiles.append`."""
        if not await self._files.append(message, check):
            return False
        entry = Pending(
            id=message.id,
            tries=0,
            trigger=message.trigger,
            process_after=message.process_after,
            timestamp=now_text(),
            address=message.address,
            held=message.on_wake,
        )
        self._fresh[message.id] = self._pending[message.id] = entry
        return True

    def due(self, *, held: bool = True) -> list[Pending]:
        """Return the messages that may be answered now, unless said otherwise with those that wait for a new container.

        Args:
            held: whether what no container that is there now can see is among them.
        """
        moment = now_text()
        waiting = [message for message in self._pending.values() if message.trigger and message.due(moment)]
        return [message for message in waiting if held or not message.held]

    def among(self, message_ids: frozenset[str]) -> list[Pending]:
        """Return the messages with these ids."""
        return [message for message in self._pending.values() if message.id in message_ids]

    def ids(self) -> list[str]:
        """Return the ids of the messages that wait for an answer."""
        return [message.id for message in self._pending.values() if message.trigger]

    def asked(self) -> list[str]:
        """Return the ids of the messages that are worked on, wait for their turn, or for another try."""
        return list(self._asked())

    def address_of(self, message_id: str) -> Address | None:
        """Return where a message was written; the session's own chat for one that is not known any more."""
        message = self._pending.get(message_id)
        return (message.address if message else None) or self._session.address

    async def release(self) -> None:
        """Let the container that begins now see what was kept for it."""
        if any(message.held for message in self._pending.values()):
            await self._files.write(lambda inbound: inbound.release())
            await self.load()

    async def drain(self) -> Drained:
        """Deliver what the agent has said; what is finished is told after its answers were delivered.

        Raises:
            DamagedError: the container's database breaks the contract.
            NotNowError: a write is under way there, or a journal waits for the runner.
        """
        async with self._delivering:
            drained = await self._drain.run(tuple(self._pending))
        self._unseen, self._behind = drained.unseen, drained.behind
        for message_id, ack in drained.finished.items():
            if message_id in drained.held:
                self._forget(message_id)
            else:
                await self._finish(message_id, completed=ack == "completed")
        await self._finish_late(drained.late)
        if drained.problems:
            await self._report(drained.problems)
            await self.deliver_notices()
        return drained

    async def deliver_notices(self) -> None:
        """Deliver the host's own words; the container's database is not touched."""
        async with self._delivering:
            drained = await self._drain.run_notices()
        self._unseen |= drained.unseen
        await self._finish_late(drained.late)

    async def tell(self, message_ids: Iterable[str], kind: str, text: str) -> None:
        """Store a notice for each message (or one for the chat): each kind once per message. Delivered later."""
        keys = list(message_ids)
        addressed: list[tuple[str, str | None, Address | None]] = [
            (f"{NOTICE_ID_PREFIX}{kind}-{key}", key, self.address_of(key)) for key in keys
        ]
        if not keys:
            addressed = [(f"{NOTICE_ID_PREFIX}{kind}", None, self._session.address)]
        for notice_id, key, address in addressed:
            if address is not None:
                await self._files.add_notice(Notice(notice_id, text, address, now_text(), in_reply_to=key))

    async def give_up(self, message_ids: list[str], kind: str, text: str) -> None:
        """End messages with a word to the person."""
        await self._files.write(lambda inbound: inbound.fail(message_ids))
        await self._speak_for_tools()
        await self.tell(message_ids, kind, text)
        await self.deliver_notices()
        for key in message_ids:
            await self._finish(key, completed=False)

    async def retry(self, messages: list[Pending]) -> list[str]:
        """Count a failed try of messages; return the ids of those that have no try left (they are still here)."""
        outcomes = await self._files.write(lambda inbound: inbound.retry(messages))
        await self._speak_for_tools()
        return [outcome.message.id for outcome in outcomes if outcome.failed]

    def _asked(self) -> Iterator[str]:
        moment = now_text()
        for message in self._pending.values():
            if message.trigger and not message.held and (message.tries or message.due(moment)):
                yield message.id

    async def _speak_for_tools(self) -> None:
        """A turn came to nothing: what its tools were to say of what failed nobody has heard."""
        await self._report(await self._drain.speak_for_tools())

    async def _report(self, problems: Iterable[Problem]) -> None:
        """Tell the people of each place what was never delivered there, or for them."""
        texts: dict[Address, list[str]] = {}
        for problem in problems:
            if problem.address is not None:
                texts.setdefault(problem.address, []).append(problem.text)
        for address, said in texts.items():
            notice_id = f"{NOTICE_ID_PREFIX}undelivered-{secrets.token_hex(6)}"
            await self._files.add_notice(Notice(notice_id, " ".join(said), address, now_text()))

    async def _finish_late(self, message_ids: Iterable[str]) -> None:
        """Say that messages are done with whose last answer could not be delivered when the agent had finished them."""
        for message_id in message_ids:
            if message_id in self._pending:
                continue
            heard = await self._files.heard(message_id)
            if heard is not None and heard.address is not None and heard.trigger and heard.status in _DONE:
                await self._port.end_turn(heard.address, message_id, completed=heard.status == "completed")

    def _forget(self, message_id: str) -> Pending | None:
        self._fresh.pop(message_id, None)
        return self._pending.pop(message_id, None)

    async def _finish(self, message_id: str, *, completed: bool) -> None:
        message = self._forget(message_id)
        if message is not None and message.address is not None and message.trigger:
            await self._port.end_turn(message.address, message_id, completed=completed)
