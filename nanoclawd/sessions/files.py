"""A session's two databases as the daemon uses them: awaited, bounded, safe beside a hostile container."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import apsw

from nanoclawd.errors import Unavailable
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.attachments import Opened, open_all, remove
from nanoclawd.sessions.directory import FileIdentity, make, outbound_identity, replace_outbound
from nanoclawd.sessions.inbound import Delivery, Heard, Inbound, NewMessage, Notice
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import Outbound, OutboundReader
from nanoclawd.sessions.received import place

log = logging.getLogger(__name__)

LOCK_PATIENCE_SECONDS: Final = 5.0
"""A lock that is held longer is a misbehaving runner's (design: the other direction)."""

_PLACING_SECONDS: Final = 60.0
_LOCK_RETRY_SECONDS: Final = 0.05
_BROKEN: Final = (apsw.CantOpenError, apsw.IOError, apsw.NotADBError, apsw.CorruptError, apsw.ReadOnlyError)
"""What a dying disk, or a file system that the kernel has made read-only, looks like."""


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that a look at both databases found, before anything is delivered."""

    outbound: Outbound
    notices: tuple[Notice, ...]
    known: dict[str, Delivery]


class SessionFiles:
    """The databases of one session. ``end_locks`` is awaited when the container holds a lock for too long."""

    def __init__(
        self,
        session_id: str,
        paths: SessionPaths,
        jobs: SessionJobs,
        reader: OutboundReader,
        end_locks: Callable[[str], Awaitable[None]],
    ) -> None:
        self._session_id = session_id
        self._paths = paths
        self._jobs = jobs
        self._reader = reader
        self._end_locks = end_locks
        self._inbound: Inbound | None = None
        self._watermark = 0

    @property
    def watermark(self) -> int:
        """The seq up to which every outbound row has its final outcome."""
        return self._watermark

    async def write[T](self, function: Callable[[Inbound], T]) -> T:
        """Run a write on ``inbound.db``; a lock held for 5 s is ended by ending who holds it.

        Raises:
            Unavailable: the disk is full, or the database can't be written.
        """
        loop = asyncio.get_running_loop()
        gives_up = loop.time() + LOCK_PATIENCE_SECONDS
        ended = reopened = False
        while True:
            try:
                return await self._jobs.run(self._session_id, self._with_inbound, function)
            except (apsw.BusyError, apsw.LockedError) as error:
                if loop.time() < gives_up:
                    await asyncio.sleep(_LOCK_RETRY_SECONDS)  # a lock has no event; bounded by the patience above
                    continue
                if ended:
                    raise Unavailable("the session's database stays locked", hint="ncl doctor") from error
                await self._end_locks("it held a lock on inbound.db for more than 5 s")
                gives_up, ended = loop.time() + LOCK_PATIENCE_SECONDS, True
            except apsw.FullError as error:
                raise Unavailable("the disk is full: the message was not stored", hint="df -h; ncl doctor") from error
            except _BROKEN as error:
                await self.close()
                if not reopened:
                    # Another file may be in the place of the open one: a restored backup, a disk that came back.
                    reopened = True
                    continue
                raise Unavailable(
                    f"the session's database can't be written: {error}", hint="df -h; journalctl -u nanoclawd"
                ) from error

    async def read[T](self, function: Callable[[Inbound], T]) -> T:
        """Run a read on ``inbound.db``."""
        return await self.write(function)

    async def heard(self, reference: int | str) -> Heard | None:
        """Find a message that the agent was given, by its number or id."""
        return await self.read(lambda inbound: inbound.heard(reference))

    async def append(self, message: NewMessage, check: Callable[[], None] = lambda: None) -> bool:
        """Store a message, its files first; False when it was stored before. Raises as :meth:`write`.

        Args:
            message: the message.
            check: called in the thread before anything is stored; what it raises is raised here.
        """
        if message.files:
            await self._place(message, check)

        def store(inbound: Inbound) -> bool:
            check()
            return inbound.append(message)

        return await self.write(store)

    async def _place(self, message: NewMessage, check: Callable[[], None]) -> None:
        def placed() -> None:
            check()
            place(self._paths, message.id, message.files)

        try:
            # A slow card, and a copy where links are not to be had.
            await self._jobs.run(self._session_id, placed, deadline=_PLACING_SECONDS)
        except OSError as error:
            raise Unavailable(f"the message's files can't be stored: {error}", hint="df -h; ncl doctor") from error

    async def add_notice(self, notice: Notice) -> None:
        """Store words of the host. Raises as :meth:`write`."""
        await self.write(lambda inbound: inbound.add_notice(notice))

    async def look(self, pending_ids: Iterable[str]) -> Look:
        """Read the outbound rows above the watermark, what is known of them, and waiting notices.

        Raises:
            DamagedError: the container's database breaks the contract.
            NotNowError: a write is under way there, or a journal waits for the runner.
        """
        return await self._jobs.run(self._session_id, self._look, tuple(pending_ids))

    async def look_at_notices(self) -> Look:
        """Read waiting notices only."""
        return await self._jobs.run(self._session_id, self._look_at_notices)

    async def ids_of(self, seqs: Iterable[int]) -> dict[int, str]:
        """Read the ids of outbound rows by their numbers. Raises as :meth:`look`."""
        return await self._jobs.run(self._session_id, self._reader.ids_of, self._paths.outbound_db, tuple(seqs))

    async def open_files(self, names: Iterable[str]) -> Opened:
        """Open files that the agent sends. Raises as :func:`nanoclawd.sessions.attachments.open_all`."""
        return await self._jobs.run(self._session_id, open_all, self._paths.outbound_files, tuple(names))

    async def remove_files(self, opened: Opened) -> None:
        """Remove files that were sent, or never will be."""
        await self._jobs.run(self._session_id, remove, self._paths.outbound_files, opened)

    async def record(
        self, deliveries: Iterable[Delivery], *, acks: dict[str, str] | None = None, watermark: int | None = None
    ) -> None:
        """Write outcomes, acknowledgements and the watermark in one commit; nothing new costs nothing."""
        rows = tuple(deliveries)
        moved = watermark if watermark is not None and watermark > self._watermark else None
        if not rows and not acks and moved is None:
            return
        await self.write(lambda inbound: inbound.record(rows, acks=acks, watermark=moved))
        if moved is not None:
            self._watermark = moved

    async def make(self) -> None:
        """Make the session's directories and databases.

        Raises:
            Unavailable: the disk is full or not writable.
        """
        try:
            await self._jobs.run(self._session_id, make, self._paths)
        except (OSError, apsw.Error) as error:
            raise Unavailable(f"the session's directories can't be made: {error}", hint="df -h; ncl doctor") from error

    async def replace_outbound(self) -> str:
        """Move a damaged ``outbound.db`` aside, begin a new one, and return where the old one is."""

        def replace(inbound: Inbound) -> str:
            kept = replace_outbound(self._paths)
            inbound.reset_watermark()
            return str(kept)

        kept = await self.write(replace)
        self._watermark = 0
        return kept

    async def identity(self) -> FileIdentity | None:
        """Return what ``outbound.db`` looks like from outside."""
        return await self._jobs.run(self._session_id, outbound_identity, self._paths)

    async def close(self) -> None:
        """Close ``inbound.db``; the next use opens it again."""
        await self._jobs.run(self._session_id, self._close)

    def _with_inbound[T](self, function: Callable[[Inbound], T]) -> T:
        return function(self._open())

    def _open(self) -> Inbound:
        if self._inbound is None:
            inbound = Inbound(self._paths.inbound_db)
            try:
                self._watermark = inbound.watermark()
            except BaseException:
                inbound.close()
                raise
            self._inbound = inbound
        return self._inbound

    def _look(self, pending_ids: tuple[str, ...]) -> Look:
        inbound = self._open()
        if not self._paths.outbound_db.exists():
            # F-105: the container's file has gone. The new one's numbers may begin below those of the old one.
            make(self._paths)
            inbound.reset_watermark()
            self._watermark = 0
        outbound = self._reader.read(self._paths.outbound_db, after_seq=self._watermark, pending_ids=pending_ids)
        notices = tuple(inbound.undelivered_notices())
        known = inbound.deliveries([row.id for row in outbound.rows] + [notice.id for notice in notices])
        return Look(outbound, notices, known)

    def _look_at_notices(self) -> Look:
        inbound = self._open()
        notices = tuple(inbound.undelivered_notices())
        return Look(Outbound((), {}, more=False), notices, inbound.deliveries(notice.id for notice in notices))

    def _close(self) -> None:
        if self._inbound is not None:
            self._inbound.close()
            self._inbound = None
