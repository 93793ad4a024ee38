"""Keeps in touch with OneCLI: agents are made there, their tokens known here, and whether it works is known at once.

The long poll for approvals is what the link lives by: while one stands, OneCLI is there. When anything fails, everybody
is told that it is away, and the whole meeting is tried again until it works: OneCLI tells nobody when it is back.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from nanoclawd.config import OneCli
from nanoclawd.egress.outside import Note, Outside
from nanoclawd.gateway.onecli.access import Access, checked_certificate, read_access
from nanoclawd.gateway.onecli.client import OneCliClient, OneCliError
from nanoclawd.gateway.onecli.messages import ApprovalRequest
from nanoclawd.gateway.policy import Agent, AgentDirectory
from nanoclawd.gateway.refusals import Refusal

PAUSE_SECONDS: Final = 5.0
"""After a failure; the published client's own."""

STANDS_AFTER_SECONDS: Final = 1.0
"""A poll that was not refused by then stands: the server holds it, and would say nothing for half a minute."""

CONNECT_SECONDS: Final = 10.0
_HELD_SECONDS: Final = 1.0
"""A poll that was held took longer."""

_MAX_NOTES_OF_A_KIND: Final = 50
_MAX_WORDS: Final = 1000

log = logging.getLogger(__name__)


class Approving(Protocol):
    """Has people decide about what OneCLI holds."""

    @property
    def in_flight(self) -> frozenset[str]:
        """The ids of what is being decided."""

    def take(self, gateway: str, requests: tuple[ApprovalRequest, ...]) -> bool:
        """Begin to ask about each; never waits. Tells whether any was news."""
        ...


class Link:
    """The one link of the gateway."""

    def __init__(
        self,
        settings: OneCli,
        client: OneCliClient,
        agents: AgentDirectory,
        approving: Approving,
        trust: Callable[[str], None],
        *,
        pause: float = PAUSE_SECONDS,
        stands_after: float = STANDS_AFTER_SECONDS,
    ) -> None:
        """Prepare; :meth:`run` begins.

        Args:
            settings: of the configuration.
            client: asks OneCLI; entered.
            agents: whom agents are made for.
            approving: has people decide.
            trust: takes the certificate by which OneCLI intercepts TLS, for the containers to trust.
            pause: after a failure, in seconds.
            stands_after: a poll that was not refused for so many seconds stands.
        """
        self._settings = settings
        self._client = client
        self._agents = agents
        self._approving = approving
        self._trust = trust
        self._pause = pause
        self._stands_after = stands_after
        self._gateway = ""
        self._looking: asyncio.Task[None] | None = None
        self._access: dict[str, asyncio.Task[Access]] = {}
        self._news: dict[str, Note] = {}
        self._faults: dict[str, Note] = {}
        self._broken: asyncio.Future[OneCliError] | None = None
        self._changed = asyncio.Event()
        self._ended = False
        self.state = Outside("starting", "OneCLI is being reached")

    async def run(self) -> None:
        """Keep the link, for ever."""
        while True:
            self._broken = asyncio.get_running_loop().create_future()
            try:
                await self._meet()
                await self._stay()
            except OneCliError as error:
                self._tell(Outside("away", error.message[:_MAX_WORDS], error.fix))
            # It tells nobody when it is back; the pause is the published client's own.
            await asyncio.sleep(self._pause)

    async def states(self) -> AsyncIterator[Outside]:
        """Yield how it stands now, and each time that this has changed, until the gateway stops."""
        while not self._ended:
            changed = self._changed
            yield self.state
            await changed.wait()

    def end(self) -> None:
        """The gateway stops: those who watch are let go."""
        if self._looking is not None:
            self._looking.cancel()
        self._ended = True
        self._changed.set()

    async def access(self, agent: Agent) -> Access:
        """Return an agent's way through OneCLI, having it made there first where it is new.

        Raises:
            OneCliError: there is none at the moment.
        """
        if self.state.state != "ready":
            raise OneCliError(self.state.reason, fix=self.state.fix)
        return await self._access_of(agent)

    def look_again(self) -> None:
        """The daemon has published its agents anew: those that are new to OneCLI are made there.

        Not by their first request: the program in the container has read by then whom to trust, and OneCLI's authority
        would not be among them.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def forget(self, agent: Agent) -> None:
        """OneCLI did not take an agent's token: the next access is asked for anew."""
        self._access.pop(agent.id, None)
        self._faults.pop(agent.group, None)

    def forget_all(self) -> None:
        """Know no agent's token any more."""
        for task in self._access.values():
            task.cancel()
        self._access.clear()

    def failed(self, error: OneCliError) -> None:
        """Whoever used the proxy could not connect to it."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(error)

    async def _meet(self) -> None:
        """Have everything that requests need.

        Raises:
            OneCliError: it does not work.
        """
        self.forget_all()
        self._faults.clear()
        # The first question of all is whether the key is taken.
        self._gateway = self._settings.proxy or await self._client.gateway_url()
        found: Access | None = None
        for agent in self._published():
            try:
                found = await self._access_of(agent)
            except OneCliError as error:
                if error.is_about_all:
                    raise
        if found is not None:
            await self._knock(found)

    async def _look(self) -> None:
        while self.state.state == "ready":
            new = next((agent for agent in self._published() if agent.id not in self._access), None)
            if new is None:
                return
            with suppress(OneCliError):  # it is in the notes, and its first request tries again
                await self._access_of(new)

    async def _stay(self) -> None:
        """Poll while that works.

        Raises:
            OneCliError: it does not any more.
        """
        broken = self._broken
        if broken is None:
            raise RuntimeError("run() comes first")
        polling = asyncio.create_task(self._poll())
        either: set[asyncio.Future[Any]] = {polling, broken}
        try:
            await asyncio.wait(either, timeout=self._stands_after, return_when=asyncio.FIRST_COMPLETED)
            if not polling.done() and not broken.done():
                self._ready()
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            polling.cancel()
        await asyncio.wait({polling})
        if broken.done():
            raise broken.result()
        await polling

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            found = await self._client.pending(self._gateway, self._approving.in_flight)
            self._ready()
            if not self._approving.take(self._gateway, found.requests) and loop.time() - began < _HELD_SECONDS:
                # It does not hold polls, or tells again what there is no room for: no reason to ask without a break.
                await asyncio.sleep(self._pause)

    async def _knock(self, access: Access) -> None:
        """See whether the proxy is there.

        Raises:
            OneCliError: it is not.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(access.host, access.port)
        except (OSError, TimeoutError) as error:
            raise unreachable(access, error) from None
        writer.close()

    def _published(self) -> tuple[Agent, ...]:
        try:
            return tuple(agent for agent in self._agents.everyone() if agent.id)
        except Refusal:
            # The daemon has published nothing yet: each agent is made when it first asks for something.
            return ()

    async def _access_of(self, agent: Agent) -> Access:
        if not agent.id:
            raise OneCliError("the daemon has not published the group's id yet")
        task = self._access.get(agent.id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            # One for all who ask at once; it goes on when the one who asked first goes.
            task = self._access[agent.id] = asyncio.create_task(self._make(agent))
            task.add_done_callback(_known)
        await asyncio.wait({task})
        if task.cancelled():
            raise OneCliError("OneCLI is being reached")
        return task.result()

    async def _make(self, agent: Agent) -> Access:
        try:
            made = await self._client.create_agent(agent.id, agent.name or agent.group)
            if made is not None:
                await self._greet(agent, made)
            given = await self._client.container_config(agent.id)
            self._trust(checked_certificate(given.ca_certificate))
            found = read_access(given, self._settings, self._gateway)
        except OneCliError as error:
            self._note(self._faults, agent, f"OneCLI has no way out for it: {error.message}", error.fix)
            if error.is_about_all:
                self.failed(error)
            raise
        return found

    async def _greet(self, agent: Agent, made: str) -> None:
        """Say of a new agent that it has nothing yet, or give it what the configuration says."""
        log.info("OneCLI has a new agent %s, for group %s", agent.id, agent.group)
        if self._settings.secrets == "all" and await self._client.give_all_secrets(made):
            return
        words = "it is new in OneCLI and has no secrets there yet, so what needs one is answered 401 or 403"
        fix = f"assign secrets to the agent {agent.id} at {self._settings.url}"
        if self._settings.secrets == "all":
            words += "; this OneCLI can't give an agent all secrets any more"
        log.warning("agent group %s: %s; %s", agent.group, words, fix)
        self._note(self._news, agent, words, fix)

    def _note(self, kept: dict[str, Note], agent: Agent, message: str, fix: str) -> None:
        if len(kept) < _MAX_NOTES_OF_A_KIND or agent.group in kept:
            kept[agent.group] = Note(agent.group, message[:_MAX_WORDS], fix[:_MAX_WORDS])
        if self.state.state == "ready":
            self._ready()

    def _ready(self) -> None:
        self._tell(Outside("ready", notes=(*self._news.values(), *self._faults.values())))

    def _tell(self, state: Outside) -> None:
        if state == self.state:
            return
        if state.state != self.state.state or state.reason != self.state.reason:
            level = logging.INFO if state.state == "ready" else logging.WARNING
            log.log(level, "OneCLI is %s%s", state.state, f": {state.reason}" if state.reason else "")
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()


def _known(task: asyncio.Task[Access]) -> None:
    """Take note of how it ended: whoever waited may be gone."""
    if not task.cancelled():
        task.exception()


def unreachable(access: Access, error: OSError | TimeoutError) -> OneCliError:
    """Say that OneCLI's proxy can't be connected to."""
    why = "no answer" if isinstance(error, TimeoutError) else error.strerror or "it failed"
    return OneCliError(
        f"OneCLI's proxy at {access.host}:{access.port} cannot be reached ({why.partition('[')[0].strip()})"
    )
