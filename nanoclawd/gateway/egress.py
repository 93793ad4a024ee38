"""The way out: CONNECT and absolute-form requests of the agents, by the rules, to addresses that were checked."""

import asyncio
import logging
import time
import traceback
from typing import Final

import h11

from nanoclawd import paths
from nanoclawd.egress.rules import Asked, decide, may_be_allowed
from nanoclawd.egress.secrets import for_host
from nanoclawd.gateway import denials
from nanoclawd.gateway.asking import MAX_PREVIEW_BYTES, Approver
from nanoclawd.gateway.audit import Audit, Record
from nanoclawd.gateway.caller import Caller
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.http2 import GroupStreams, StreamCaller, Streams
from nanoclawd.gateway.door.injection import Charged
from nanoclawd.gateway.door.inside import Door
from nanoclawd.gateway.exchange import Exchange, Within
from nanoclawd.gateway.forwarding import Forwarding, Onward, ProxyRefused, Refused, Stale, announced, cleaned
from nanoclawd.gateway.judging import Judging
from nanoclawd.gateway.leaving import leaving
from nanoclawd.gateway.limits import Limits, check_sent
from nanoclawd.gateway.onecli.through import Through, token_refused
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.policy import Agent, AgentDirectory
from nanoclawd.gateway.reaching import Reaching, Unreachable
from nanoclawd.gateway.refusals import Refusal, RefusalLog
from nanoclawd.gateway.secure import Line, SecureWire
from nanoclawd.gateway.sessions import Sessions
from nanoclawd.gateway.tunnel import Tunnel
from nanoclawd.gateway.wire import BareWire, Side, Wire
from nanoclawd.journal import about

_PREVIEW_SECONDS: Final = 2.0
"""The beginning of a body that is to be shown has so long to come."""

_UNWATCHED_SECONDS: Final = 0.02
"""Who leaves while a connection begins is seen to leave so much later, and beginning is so much shorter."""

type Answering = Caller | StreamCaller

log = logging.getLogger(__name__)


class Way:
    """Serves connections of agents that want to go out."""

    def __init__(
        self,
        agents: AgentDirectory,
        idle: float,
        reaching: Reaching | None = None,
        door: Door | None = None,
        approver: Approver | None = None,
        through: Through | None = None,
    ) -> None:
        self._agents = agents
        self._through = through
        self._approver = approver or Approver(paths.REQUESTS_SOCKET)
        self._limits = Limits()
        self._idle = idle
        self._reaching = reaching or Reaching()
        self._door = door
        self._judging = Judging(agents, door)
        self._audit = Audit()
        self._sessions = Sessions()
        self._refusals = RefusalLog()
        self._waiting: set[asyncio.Task[None]] = set()
        self._streams = GroupStreams()

    def close(self) -> None:
        """Write the audit's last sums, and let the look-ups go."""
        self._audit.close()
        self._reaching.close()

    def end_idle(self) -> None:
        """End the connections on which nothing is asked at the moment."""
        for task in list(self._waiting):
            task.cancel()

    async def serve(self, wire: Wire, uid: int) -> None:
        """Serve one connection until its end, or until its caller goes."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("it is served by a task")
        wire.gone = task.cancel
        caller = Caller(wire)
        try:
            while await self._serve_one(caller, uid, task):
                pass
            wire.gone = _nobody_waits  # who leaves by now leaves with an answer
            if caller.is_unheard:
                await caller.linger()
        except (ConnectionError, TimeoutError):
            log.debug("a connection of uid %d ended early", uid)
        finally:
            wire.close()

    async def _serve_one(
        self, caller: Caller, uid: int, task: "asyncio.Task[None]", within: Within | None = None
    ) -> bool:
        """Serve the next request; tell whether there can be another one on this connection."""
        self._waiting.add(task)
        try:
            request = await caller.request()
        except Denial as denial:
            await self._refuse_unread(caller, uid, denial)
            return False
        finally:
            self._waiting.discard(task)
        if request is None:
            return False
        exchange = Exchange(request, uid, within)
        return await self._serve_exchange(caller, exchange) and not exchange.is_tunnel and caller.next_cycle()

    async def _serve_exchange(self, caller: Answering, exchange: Exchange) -> bool:
        """Answer a request whatever happens; tell whether the answer is one after which there can be another."""
        try:
            await self._answer(caller, exchange)
        except Denial as denial:
            exchange.outcome, exchange.status = denial.outcome, denial.status
            await caller.deny(denial, exchange.accept)
            return False
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            exchange.outcome, exchange.status = "failed", 500
            # Not what it says: libraries quote headers, and a secret may be in them by now.
            words, where = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
            log.error("a request failed inside the gateway: %s\n%s", words, where, extra=about(group=exchange.group))  # noqa: TRY400
            await caller.deny(Denial(500, "gateway_error", "the gateway failed; its journal says why"), exchange.accept)
            return False
        finally:
            if exchange.group and not exchange.was_inside:
                self._audit.write(exchange.record())
        return True

    async def _refuse_unread(self, caller: Answering, uid: int, denial: Denial) -> None:
        try:
            group = self._agents.find(uid).group
            self._audit.write(Record(group, "-", 0, "-", "", 0, denial.outcome, status=denial.status))
        except Refusal as refusal:
            denial = _as_denial(refusal)
        await caller.deny(denial, b"")

    async def _answer(self, caller: Answering, exchange: Exchange) -> None:
        try:
            # Who it is comes first: a stranger learns nothing, and is in no audit.
            agent = self._agents.find(exchange.uid)
            exchange.group = agent.group
            exchange.session = exchange.session or self._session_of(caller, agent)
            asked = exchange.read()
            judged = self._judging.tunnel(agent, asked) if asked.is_tunnel else None
            if judged is not None and judged.is_inside and isinstance(caller, Caller):
                await self._look_inside(caller, exchange, agent, asked)
                return
            permit = Permit(self._agents, exchange.uid, agent, asked, judged.decision if judged is not None else None)
        except Refusal as refusal:
            self._refusals.write(exchange.uid, exchange.group or None, refusal)
            raise _as_denial(refusal) from None
        decision = permit.decision
        exchange.rule = decision.rule.id if decision.rule is not None else 0
        if not decision.allowed and not decision.asks:
            raise denials.by_rule(exchange.group, asked, decision)
        permit.session = exchange.session
        self._limits.enter(permit)
        check_sent(permit, announced(exchange.request))
        watching = asyncio.get_running_loop().call_later(_UNWATCHED_SECONDS, _watch, caller)
        try:
            if decision.asks:
                exchange.approval = await self._decided(caller, permit)
            if isinstance(exchange.request, h11.Request) and not asked.is_tunnel:
                await self._forward(caller, exchange, exchange.request, permit)
            else:
                await self._tunnel(caller, exchange, permit)
        except Denial:
            raise
        except (ConnectionError, TimeoutError):
            exchange.outcome = "broken"
            raise
        except asyncio.CancelledError:
            exchange.outcome = "left"
            raise
        finally:
            watching.cancel()

    def _session_of(self, caller: Answering, agent: Agent) -> str:
        connection = caller.wire.find_socket() if isinstance(caller, Caller) and isinstance(caller.wire, Wire) else None
        return self._sessions.of(connection, agent.group) if connection is not None else ""

    async def _decided(self, caller: Answering, permit: Permit) -> str:
        """Have somebody decide about a request, of which nothing goes on before that; return the approval's id.

        Raises:
            Denial: it was refused.
        """
        preview = b"" if permit.asked.is_tunnel else await caller.preview(MAX_PREVIEW_BYTES, _PREVIEW_SECONDS)
        if not isinstance(caller, Caller):
            # Its connection is read on, because others are on it.
            return (await self._approver.decide(permit, preview)).approval
        with leaving(caller.wire if isinstance(caller.wire, Wire) else caller.wire.wire):
            return (await self._approver.decide(permit, preview)).approval

    async def _look_inside(self, caller: Caller, exchange: Exchange, agent: Agent, asked: Asked) -> None:
        """Be the host for an agent, and judge what it asks of it, request by request."""
        rules, target = self._agents.rules_of(agent), asked.target
        if not may_be_allowed(rules, agent.group, target, time.time()):
            raise denials.by_rule(agent.group, asked, decide(rules, agent.group, asked, time.time()))
        task = asyncio.current_task()
        if self._door is None or task is None:
            raise RuntimeError("it is served by a task, at a door")
        exchange.status = 200
        early = await caller.open_tunnel()
        secure = await self._door.welcome(caller, early, target)
        exchange.was_inside = True  # from here on there is a record for each request
        within = Within(target, exchange.session)
        try:
            if secure.protocol == "h2":
                await self._serve_streams(secure, exchange, task, within)
                return
            inner = Caller(secure, may_upgrade=True)
            while await self._serve_one(inner, exchange.uid, task, within):
                pass
            if inner.is_unheard:
                await inner.linger()
        finally:
            within.kept.close()
            secure.close()

    async def _serve_streams(
        self, secure: SecureWire, exchange: Exchange, task: "asyncio.Task[None]", within: Within
    ) -> None:
        """Serve a connection of HTTP/2: each stream is a request of its own."""

        async def handle(caller: StreamCaller, request: h11.Request) -> None:
            await self._serve_exchange(caller, Exchange(request, exchange.uid, within))

        async def refuse(caller: StreamCaller, denial: Denial) -> None:
            await self._refuse_unread(caller, exchange.uid, denial)

        def rest(*, idle: bool) -> None:
            (self._waiting.add if idle else self._waiting.discard)(task)

        try:
            await Streams(secure, self._streams.of(exchange.group), handle, refuse, rest).serve()
        finally:
            self._waiting.discard(task)

    async def _reached(self, exchange: Exchange, permit: Permit) -> tuple[Wire, bytes]:
        """Return a connection to the host; or one to OneCLI's proxy, with our authorization there, for plain http.

        Raises:
            Denial: there is none.
        """
        target, may_be_private = permit.asked.target, permit.decision.may_be_private
        through = self._way_through(permit)
        try:
            if through is not None:
                # What is no agent's to reach is not asked of OneCLI either.
                await self._reaching.look(exchange.group, target, may_be_private=may_be_private)
                is_plain = not exchange.is_tunnel and exchange.within is None
                return await through.reach(permit.agent, target, is_plain=is_plain)
            connection = await self._reaching.connect(exchange.group, target, may_be_private=may_be_private)
        except Unreachable as error:
            if error.is_forbidden:
                raise denials.by_address(exchange.group, target, error.message) from None
            status = 504 if error.kind.endswith("timeout") else 502
            raise Denial(status, error.kind, error.message, outcome=error.kind) from None
        return BareWire(connection), b""

    def _way_through(self, permit: Permit) -> Through | None:
        """Return OneCLI's way to a host, None where requests go there directly.

        They do where one of our own secrets may go: that is not for OneCLI to see.
        """
        if self._through is None:
            return None
        agent, asked = permit.agent, permit.asked
        own = any(for_host(self._agents.secrets_of(agent), agent.group, asked.scheme, asked.target))
        return None if own else self._through

    async def _forward(self, caller: Answering, exchange: Exchange, request: h11.Request, permit: Permit) -> None:
        """Carry a request and its answer."""
        through = self._way_through(permit)
        names = {name for name, _ in request.headers}
        if not names & {b"content-length", b"transfer-encoding"}:
            await caller.body(self._idle)  # says that there is none
        kept = exchange.within.kept if exchange.within is not None else None
        while True:
            charged = await self._charged(exchange, request, permit)
            # What was connected to under another word of the rules, or by another way, is of no use now.
            kind = (permit.decision.may_be_private, through is not None)
            line = kept.take(kind) if kept is not None else None
            was_kept, authorization = line is not None, b""
            if line is None:
                line, authorization = await self._line(exchange, permit, is_outside=through is not None)
            onward = Onward(line, exchange.authority, permit, self._idle, authorization, kept is not None, was_kept)
            forwarding = Forwarding(caller, onward, charged, exchange)
            try:
                await forwarding.run(request)
            except (Refused, Stale):
                continue
            except ProxyRefused:
                raise token_refused(through, permit.agent) from None
            finally:
                if kept is not None and forwarding.can_go_on:
                    kept.give(line, kind)
                else:
                    line.close()
            return

    async def _line(self, exchange: Exchange, permit: Permit, *, is_outside: bool) -> tuple[Line, bytes]:
        """Return a connection to the host, as it is spoken with, and our authorization on it.

        Args:
            exchange: what it is for.
            permit: allows it.
            is_outside: the other gateway has a look into it.

        Raises:
            Denial: there is none.
        """
        wire, authorization = await self._reached(exchange, permit)
        if self._door is None or exchange.within is None:
            return wire, authorization
        try:
            return await self._door.host(wire, exchange.target, is_outside=is_outside), authorization
        except BaseException:
            wire.close()
            raise

    async def _charged(self, exchange: Exchange, request: h11.Request, permit: Permit) -> Charged:
        headers = cleaned(request)
        if self._door is None:
            return Charged(permit.asked.path or "/", headers)
        secrets = self._agents.secrets_of(permit.agent)
        return await self._door.injection.charge(exchange.group, secrets, permit.asked, headers)

    async def _tunnel(self, caller: Answering, exchange: Exchange, permit: Permit) -> None:
        if not isinstance(caller, Caller) or not isinstance(caller.wire, Wire):
            raise denials.malformed("there is no tunnel within a tunnel")
        reached, _ = await self._reached(exchange, permit)
        host = await reached.detach()
        try:
            exchange.status = 200
            early = await caller.open_tunnel()
            agent = await caller.wire.detach()
        except BaseException:
            host.connection.close()
            raise
        tunnel = Tunnel(permit, self._idle, Side(agent.connection, early + agent.early), host)
        if isinstance(caller.wire, BareWire):
            caller.wire.hung_up = tunnel.hung_up
        exchange.carried = tunnel.carried
        try:
            await tunnel.run()
            exchange.outcome = tunnel.carried.outcome
        finally:
            tunnel.close()


def _watch(caller: Answering) -> None:
    if isinstance(caller, Caller) and isinstance(caller.wire, BareWire):
        caller.wire.watch()


def _nobody_waits() -> None:
    """The caller may go."""


def _as_denial(refusal: Refusal) -> Denial:
    return Denial(refusal.status, refusal.kind, refusal.message)
