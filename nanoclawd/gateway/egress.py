"""The way out: CONNECT and absolute-form requests of the agents, by the rules, to addresses that were checked."""

import asyncio
import logging
import re
import time
from typing import Final

import h11

from nanoclawd import paths
from nanoclawd.egress.rules import Asked
from nanoclawd.egress.targets import BadTarget, Target, parse_authority, parse_url
from nanoclawd.gateway import denials
from nanoclawd.gateway.asking import MAX_PREVIEW_BYTES, Approver
from nanoclawd.gateway.audit import Audit, Record
from nanoclawd.gateway.caller import Caller
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.forwarding import Forwarding, announced
from nanoclawd.gateway.leaving import leaving
from nanoclawd.gateway.limits import Limits, check_sent
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.policy import AgentDirectory
from nanoclawd.gateway.reaching import Reaching, Unreachable
from nanoclawd.gateway.refusals import Refusal, RefusalLog
from nanoclawd.gateway.tunnel import Tunnel
from nanoclawd.gateway.wire import Wire
from nanoclawd.journal import about

_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,19}", re.ASCII)
_UNKNOWN: Final = Target("-", 0)
_PREVIEW_SECONDS: Final = 2.0
"""The beginning of a body that is to be shown has so long to come."""

log = logging.getLogger(__name__)


class Way:
    """Serves connections of agents that want to go out."""

    def __init__(
        self, agents: AgentDirectory, idle: float, reaching: Reaching | None = None, approver: Approver | None = None
    ) -> None:
        self._agents = agents
        self._approver = approver or Approver(paths.REQUESTS_SOCKET)
        self._limits = Limits()
        self._idle = idle
        self._reaching = reaching or Reaching()
        self._audit = Audit()
        self._refusals = RefusalLog()
        self._waiting: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Write the audit's last sums, and let the look-ups go."""
        self._audit.close()
        self._reaching.close()

    def end_idle(self) -> None:
        """End the connections on which nothing is asked at the moment."""
        for task in list(self._waiting):
            task.cancel()

    async def serve(self, wire: Wire, uid: int) -> None:
        """Serve one connection until its end."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("it is served by a task")
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

    async def _serve_one(self, caller: Caller, uid: int, task: asyncio.Task[None]) -> bool:
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
        exchange = Exchange(request, uid)
        try:
            await self._answer(caller, exchange)
        except Denial as denial:
            exchange.outcome, exchange.status = denial.outcome, denial.status
            await caller.deny(denial, exchange.accept)
            return False
        except Exception:
            exchange.outcome, exchange.status = "failed", 500
            log.exception("a request failed inside the gateway", extra=about(group=exchange.group or None))
            await caller.deny(Denial(500, "gateway_error", "the gateway failed; its journal says why"), exchange.accept)
            return False
        finally:
            if exchange.group:
                self._audit.write(exchange.record())
        return not exchange.is_tunnel and caller.next_cycle()

    async def _refuse_unread(self, caller: Caller, uid: int, denial: Denial) -> None:
        try:
            group = self._agents.find(uid).group
            self._audit.write(Record(group, "-", 0, "-", "", 0, denial.outcome, status=denial.status))
        except Refusal as refusal:
            denial = _as_denial(refusal)
        await caller.deny(denial, b"")

    async def _answer(self, caller: Caller, exchange: "Exchange") -> None:
        try:
            # Who it is comes first: a stranger learns nothing, and is in no audit.
            exchange.group = self._agents.find(exchange.uid).group
            asked = exchange.read()
            exchange.session = caller.session(exchange.group)
            permit = Permit(self._agents, exchange.uid, asked, exchange.session)
        except Refusal as refusal:
            self._refusals.write(exchange.uid, exchange.group or None, refusal)
            raise _as_denial(refusal) from None
        decision = permit.decision
        exchange.rule = decision.rule.id if decision.rule is not None else 0
        if not decision.allowed and not decision.asks:
            raise denials.by_rule(exchange.group, asked, decision)
        self._limits.enter(permit)
        check_sent(permit, announced(exchange.request))
        if decision.asks:
            preview = b"" if asked.is_tunnel else await caller.preview(MAX_PREVIEW_BYTES, _PREVIEW_SECONDS)
            with leaving(caller.wire):
                decision = await self._approver.decide(permit, preview)
            exchange.approval = decision.approval
        try:
            connection = await self._reaching.connect(
                exchange.group, asked.target, may_be_private=decision.may_be_private
            )
        except Unreachable as error:
            if error.is_forbidden:
                raise denials.by_address(exchange.group, asked.target, error.message) from None
            status = 504 if error.kind.endswith("timeout") else 502
            raise Denial(status, error.kind, error.message, outcome=error.kind) from None
        _, wire = await asyncio.get_running_loop().create_connection(Wire, sock=connection)
        try:
            if asked.is_tunnel:
                await self._tunnel(caller, exchange, permit, wire)
            else:
                await Forwarding(caller, permit, wire, exchange, self._idle).run(exchange.request)
        except Denial:
            raise
        except (ConnectionError, TimeoutError):
            exchange.outcome = "broken"
            raise
        except asyncio.CancelledError:
            exchange.outcome = "left"
            raise
        finally:
            wire.close()

    async def _tunnel(self, caller: Caller, exchange: "Exchange", permit: Permit, host: Wire) -> None:
        exchange.status = 200
        await caller.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        tunnel = Tunnel(permit, self._idle)
        exchange.carried = tunnel.carried
        # What was sent before the answer belongs to the tunnel; no request is read from this connection any more.
        await tunnel.run(caller.wire, host, caller.http.trailing_data[0])
        exchange.outcome = tunnel.carried.outcome


class Exchange:
    """One request on its way, as the audit will tell it.

    Attributes:
        carried: what went through; a tunnel's own counts take its place.
    """

    def __init__(self, request: h11.Request, uid: int) -> None:
        self.request = request
        self.uid = uid
        self.group = self.session = self.approval = ""
        self.is_tunnel = request.method == b"CONNECT"
        self.accept = next((value for name, value in request.headers if name == b"accept"), b"")
        self.outcome = "left"
        self.status = 0
        self.rule = 0
        self.sent = self.received = 0
        self.carried: object = None
        self._begun = time.monotonic()
        self._asked = Asked(_UNKNOWN, "-", "")

    def read(self) -> Asked:
        """Return what is asked for.

        Raises:
            Denial: it can't be told.
        """
        text = self.request.target.decode("ascii", "replace")
        try:
            if self.is_tunnel:
                names = {name for name, _ in self.request.headers}
                if names & {b"content-length", b"transfer-encoding"}:
                    raise denials.malformed("CONNECT has no body")
                self._asked = Asked(parse_authority(text))
            else:
                method = self.request.method.decode("ascii", "replace")
                if not _METHOD.fullmatch(method) or method == "TRACE":
                    raise denials.malformed("this method is not forwarded", 405)
                if text.startswith("https://"):
                    raise denials.malformed("https is reached by CONNECT: HTTPS_PROXY is an http:// address, too")
                self._asked = Asked(*_read_url(method, text))
        except BadTarget as error:
            raise denials.malformed(str(error)) from None
        return self._asked

    def record(self) -> Record:
        """Return what the audit writes."""
        counts = self.carried or self
        return Record(
            group=self.group,
            host=self._asked.target.host,
            port=self._asked.target.port,
            method="CONNECT" if self.is_tunnel else self._asked.method or "-",
            path=(self._asked.path or "").partition("?")[0],
            rule=self.rule,
            outcome=self.outcome,
            sent=getattr(counts, "sent", 0),
            received=getattr(counts, "received", 0),
            milliseconds=round((time.monotonic() - self._begun) * 1000),
            status=self.status,
            session=self.session,
            approval=self.approval,
        )


def _nobody_waits() -> None:
    """The caller may go."""


def _read_url(method: str, text: str) -> tuple[Target, str, str]:
    target, path = parse_url(text)
    return target, method, path


def _as_denial(refusal: Refusal) -> Denial:
    return Denial(refusal.status, refusal.kind, refusal.message)
