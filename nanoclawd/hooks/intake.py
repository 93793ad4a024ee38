"""Takes requests to ``/hooks/<name>``: proven, paced, read, stored in the agent's conversation, and only then accepted.

A hook's message is data from a program. It goes past the router, which asks who wrote and whether it is a command or an
answer to a card: whoever has the secret may say something to this one agent, and nothing else.
"""

import asyncio
import logging
import re
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.atomic_file import write_atomically
from nanoclawd.channels.http_routes import HttpRoutes, Reply, Request
from nanoclawd.errors import NanoclawError, Unavailable
from nanoclawd.hooks import payload as reading
from nanoclawd.hooks.pace import Pace
from nanoclawd.hooks.payload import Payload, UnusableError
from nanoclawd.hooks.places import HasThreads, session_for
from nanoclawd.hooks.proof import BEARER, DEFAULT_HEADER, proven
from nanoclawd.hooks.secret_files import SecretFiles
from nanoclawd.hooks.tickets import Tickets
from nanoclawd.journal import about
from nanoclawd.scheduling.background import Background
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.received import MODE, Received, entry
from nanoclawd.store import hooks
from nanoclawd.store.database import Database
from nanoclawd.store.hooks import Hook
from nanoclawd.store.sessions import Session

log = logging.getLogger(__name__)

PATH: Final = "/hooks"
KIND: Final = "webhook"
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LATER_SECONDS: Final = 30
_TOMORROW_SECONDS: Final = 3600
_TOLD_SECONDS: Final = 60.0

_UNKNOWN: Final = Reply(401, {"error": "there is no such hook, or this is not its secret"})
"""The same for both: who guesses names learns nothing."""


class HookSessions(Protocol):
    """What is needed of :class:`~nanoclawd.sessions.registry.Sessions`."""

    async def create(
        self, agent_group_id: str, group: str, chat_id: str | None, thread_id: str | None = None, mode: str = "shared"
    ) -> Session:
        """Make a session."""

    async def accept_all(self, messages: Sequence[tuple[Session, NewMessage]]) -> list[bool | Exception]:
        """Store messages, each in its session; False: it was there before."""


type Refusal = Callable[[str, str], str | None]
"""Why a group (by id and folder) takes nothing now; None: it does."""


class HookIntake:
    """Answers the requests."""

    def __init__(
        self,
        database: Database,
        sessions: HookSessions,
        secret_files: SecretFiles,
        staging: Path,
        has_threads: HasThreads,
        refusal: Refusal = lambda _group_id, _group: None,
        pace: Pace | None = None,
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            sessions: take the messages.
            secret_files: the secrets of callers who sign.
            staging: a directory on the file system of the sessions.
            has_threads: tells whether a channel's threads are conversations.
            refusal: why a group takes nothing now.
            pace: how often each hook takes something.
        """
        self.tickets = Tickets()
        self.pace = pace or Pace()
        self._database = database
        self._sessions = sessions
        self._secrets = secret_files
        self._staging = staging
        self._has_threads = has_threads
        self._refusal = refusal
        self._making = asyncio.Lock()
        self._used: Counter[str] = Counter()
        self._told: dict[str, float] = {}
        self._background = Background(log, "counting what hooks take")

    def begin(self, http: HttpRoutes) -> None:
        """Take what is sent to hooks."""
        http.register(PATH, self.handle)

    async def handle(self, request: Request) -> Reply:
        """Answer a request.

        Raises:
            Unavailable: it could not be stored now.
        """
        if request.method != "POST":
            return Reply(405, {"error": "a hook takes POST"}, {"Allow": "POST"})
        hook = await self._database.run(hooks.find, request.path) if NAME.fullmatch(request.path) else None
        is_test = hook is not None and self.tickets.redeem(hook.id, request.headers)
        if not self._proven(hook, request) and not is_test:
            self._tell_of_refusal(hook)
            return _UNKNOWN
        if hook is None:
            return _UNKNOWN
        if not hook.enabled:
            return Reply(403, {"error": "this hook is disabled"})
        seconds = self.pace.wait(hook.id, hook.per_minute)
        if seconds:
            return Reply(429, {"error": f"this hook takes {hook.per_minute} a minute"}, {"Retry-After": str(seconds)})
        try:
            payload = reading.read(request.headers.get("content-type", ""), request.body)
        except UnusableError as error:
            return Reply(error.status, {"error": error.message})
        return await self._accept(hook, request, payload)

    async def close(self, http: HttpRoutes) -> None:
        """Take nothing more, and write down what was counted."""
        http.unregister(PATH)
        await self._background.rest()

    def _proven(self, hook: Hook | None, request: Request) -> bool:
        if hook is None:
            proven(BEARER, DEFAULT_HEADER[BEARER], request.headers, request.body, None, None)
            return False
        secret = self._secrets.get(hook.id)
        return proven(hook.auth, hook.header, request.headers, request.body, hook.secret_hash, secret)

    async def _accept(self, hook: Hook, request: Request, payload: Payload) -> Reply:
        refused = self._refusal(hook.agent_group_id, hook.group)
        if refused is not None:
            log.warning("hook %s takes nothing now: %s", hook.name, refused, extra=about(group=hook.group))
            return Reply(503, {"error": "the agent takes nothing more today"}, {"Retry-After": str(_TOMORROW_SECONDS)})
        delivery = reading.delivery_of(request.headers) or secrets.token_hex(16)
        message_id = reading.row_id(hook.id, delivery)
        event = reading.event_of(request.headers, request.query)
        try:
            is_new, session = await self._store(hook, message_id, event, payload)
        except NanoclawError as error:
            log.warning("hook %s could not hand a message on: %s", hook.name, error, extra=about(group=hook.group))
            return Reply(503, {"error": "it can't be stored now"}, {"Retry-After": str(_LATER_SECONDS)})
        if is_new:
            log.info(
                "hook %s took a message",
                hook.name,
                extra=about(session=session.id, group=session.group, channel=KIND, message=message_id),
            )
            self._count(hook.id)
        return Reply(202, {"accepted": message_id})

    async def _store(self, hook: Hook, message_id: str, event: str, payload: Payload) -> tuple[bool, Session]:
        """Put a message into the conversation; False: it is there already.

        Raises:
            Unavailable: not now.
        """
        session = await self._session(hook)
        async with self._file(payload) as files:
            content = reading.content(hook.name, event, payload, [entry(message_id, one) for one in files])
            address = Address(hook.channel_type, hook.platform_id)
            letter = NewMessage(message_id, content, address, KIND, files=files)
            (result,) = await self._sessions.accept_all([(session, letter)])
        if isinstance(result, (apsw.Error, OSError)):
            raise Unavailable(str(result)) from result
        if isinstance(result, Exception):
            raise result
        return result, session

    async def _session(self, hook: Hook) -> Session:
        found = await self._database.run(session_for, hook, self._has_threads)
        if isinstance(found, Session):
            return found
        async with self._making:
            found = await self._database.run(session_for, hook, self._has_threads)
            if isinstance(found, Session):
                return found
            try:
                return await self._sessions.create(hook.agent_group_id, hook.group, found.chat_id, None, found.mode)
            except apsw.ConstraintError as error:
                # A message has made it at the same time, or the group has gone: the next look tells.
                found = await self._database.run(session_for, hook, self._has_threads)
                if isinstance(found, Session):
                    return found
                raise Unavailable("the conversation of this hook is being made or deleted") from error

    @asynccontextmanager
    async def _file(self, payload: Payload) -> AsyncGenerator[tuple[Received, ...]]:
        """Have a long payload at hand as a file; afterwards it is gone from here."""
        if not payload.is_long:
            yield ()
            return
        directory = await asyncio.to_thread(_stage, self._staging, payload)
        try:
            name = f"payload{payload.suffix}"
            yield (Received(name, payload.media_type, len(payload.text.encode()), directory / name),)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _count(self, hook_id: str) -> None:
        self._used[hook_id] += 1
        if self._used.total() == 1:
            self._background.spawn(self._note())

    async def _note(self) -> None:
        """Write down what was taken since; what comes meanwhile is written with it."""
        while self._used:
            hook_id, count = next(iter(self._used.items()))
            try:
                await self._database.run(hooks.used, hook_id, count)
            finally:
                self._used[hook_id] -= count
                self._used += Counter()  # without those of which nothing is left

    def _tell_of_refusal(self, hook: Hook | None) -> None:
        """Log a wrong secret, at most once a minute for a hook: whoever guesses must not fill the journal."""
        now = time.monotonic()
        if hook is None or now - self._told.get(hook.id, -_TOLD_SECONDS) < _TOLD_SECONDS:
            return
        self._told[hook.id] = now
        log.warning("hook %s: a request without its secret was refused", hook.name, extra=about(group=hook.group))


def _stage(staging: Path, payload: Payload) -> Path:
    try:
        directory = Path(tempfile.mkdtemp(dir=staging))
        write_atomically(directory / f"payload{payload.suffix}", payload.text, mode=MODE)
    except OSError as error:
        raise Unavailable(f"a payload can't be stored: {error}", hint="df -h; ncl doctor") from error
    return directory
