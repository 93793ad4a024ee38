"""Takes requests to ``/hooks/<name>``: proven, paced, read, stored in the agent's conversation, and only then accepted.

A hook's message is data from a program: the router knows it as such, so that it is no command and answers no card. The
secret stands for a sender: whoever has it may say something to this one agent in this one chat, and nothing else.
"""

import asyncio
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.http_routes import HttpRoutes, Reply, Request
from nanoclawd.errors import NanoclawError
from nanoclawd.hooks import payload as reading
from nanoclawd.hooks.pace import Pace
from nanoclawd.hooks.payload import Payload, UnusableError
from nanoclawd.hooks.payload_files import PayloadFiles
from nanoclawd.hooks.proof import BEARER, DEFAULT_HEADER, proven
from nanoclawd.hooks.secret_files import SecretFiles
from nanoclawd.hooks.tickets import Tickets
from nanoclawd.journal import about
from nanoclawd.routing.event import Hook as Described
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.router import Routed
from nanoclawd.scheduling.background import Background
from nanoclawd.store import chats, hooks
from nanoclawd.store.database import Database
from nanoclawd.store.hooks import Hook

log = logging.getLogger(__name__)

PATH: Final = "/hooks"
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_STORE_SECONDS: Final = 20.0
"""A message that waits in its chat for longer is put off: the sender is to get an answer."""

_TOMORROW_SECONDS: Final = 3600
_TOLD_SECONDS: Final = 60.0

_UNKNOWN: Final = Reply(401, {"error": "there is no such hook, or this is not its secret"})
"""The same for both: who guesses names learns nothing."""


_NOT_NOW: Final = Reply(503, {"error": "it can't be stored now"}, {"Retry-After": "30"})


class Routing(Protocol):
    """What is needed of :class:`~nanoclawd.routing.router.Router`."""

    async def route(self, event: InboundEvent) -> Routed:
        """Decide about an event and carry it out; returns after the commits.

        Raises:
            Unavailable: it could not be stored: to be told again.
        """


type Refusal = Callable[[str, str], str | None]
"""Why a group (by id and folder) takes nothing now; None: it does."""


class HookIntake:
    """Answers the requests."""

    def __init__(
        self,
        database: Database,
        router: Routing,
        secret_files: SecretFiles,
        files: PayloadFiles,
        refusal: Refusal = lambda _group_id, _group: None,
        pace: Pace | None = None,
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            router: takes the messages.
            secret_files: the secrets of callers who sign.
            files: has long payloads at hand as files.
            refusal: why a group takes nothing now.
            pace: how often each hook takes something.
        """
        self.tickets = Tickets()
        self.pace = pace or Pace()
        self._database = database
        self._router = router
        self._secrets = secret_files
        self._files = files
        self._refusal = refusal
        self._used: Counter[str] = Counter()
        self._noting = False
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
        message_id = reading.message_id(hook.id, delivery)
        event = reading.event_of(request.headers, request.query)
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                routed = await self._route(hook, message_id, event, payload)
        except (NanoclawError, TimeoutError) as error:
            log.warning("hook %s could not hand a message on: %s", hook.name, error, extra=about(group=hook.group))
            return _NOT_NOW
        if not routed.stored:
            log.warning(
                "hook %s: %s does not hear %s:%s. Next: ncl wirings create %s:%s %s",
                hook.name,
                hook.group,
                *(hook.channel_type, hook.platform_id) * 2,
                hook.group,
                extra=about(group=hook.group),
            )
            return _NOT_NOW
        if any(one.stored for one in routed.stored):
            log.info("hook %s took a message", hook.name, extra=about(group=hook.group, message=message_id))
            self._count(hook.id)
        return Reply(202, {"accepted": message_id})

    async def _route(self, hook: Hook, message_id: str, event: str, payload: Payload) -> Routed:
        chat = await self._database.run(chats.by_id, hook.chat_id)
        with self._files.held(payload) as files:
            return await self._router.route(
                InboundEvent(
                    address=Address(hook.channel_type, hook.platform_id),
                    message_id=message_id,
                    text=payload.excerpt if payload.is_long else payload.text,
                    sender=Sender(None, hook.name),
                    is_group=chat.is_group,
                    files=files,
                    hook=Described(hook.name, event, hook.group),
                )
            )

    def _count(self, hook_id: str) -> None:
        self._used[hook_id] += 1
        if not self._noting:
            self._noting = True
            self._background.spawn(self._note())

    async def _note(self) -> None:
        """Write down what was taken since; what comes meanwhile is written with it."""
        try:
            while self._used:
                hook_id, count = self._used.popitem()
                await self._database.run(hooks.used, hook_id, count)
        finally:
            self._noting = False

    def _tell_of_refusal(self, hook: Hook | None) -> None:
        """Log a wrong secret, at most once a minute for a hook: whoever guesses must not fill the journal."""
        now = time.monotonic()
        if hook is None or now - self._told.get(hook.id, -_TOLD_SECONDS) < _TOLD_SECONDS:
            return
        self._told[hook.id] = now
        log.warning("hook %s: a request without its secret was refused", hook.name, extra=about(group=hook.group))
