"""Takes agents' calls from their sessions, answers what they may read, and has people asked about the rest."""

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import apsw
import msgspec

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address, OutboundRow
from nanoclawd.control.agent_calls import wording
from nanoclawd.control.agent_calls.rules import RULES
from nanoclawd.control.agent_calls.scope import AgentCaller, Judged, caller_of, judge
from nanoclawd.control.calls import (
    Call,
    InvalidParameterError,
    decode_call,
    decode_parameters,
    encode_error,
    encode_reply,
)
from nanoclawd.control.faults import told
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.methods import Methods, Unary
from nanoclawd.control.wire import FrameError
from nanoclawd.errors import NanoclawError, NotFound, Refused
from nanoclawd.journal import about
from nanoclawd.permissions.actions import APPROVE, GLOBAL, REJECT, ActionHandler, Applied, Decider
from nanoclawd.permissions.approvals import ApprovalService, NewRequest
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store import approvals as approval_rows
from nanoclawd.store import places
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.approvals import Approval
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

ACTION: Final = "command"
MAX_FRAME_BYTES: Final = 64 * 1024
MAX_REPLY_BYTES: Final = 256 * 1024
MAX_RESULT_CHARACTERS: Final = 16 * 1024
_LAST_LINES: Final = 6
_LAST_CHARACTERS: Final = 160
MAX_PENDING: Final = 20
"""Commands of one agent that wait for somebody's word: a card each, so an agent can't bury a person in them."""

MAX_ASKED_BYTES: Final = 48 * 1024
"""Of a card: all of a call is on it, and a person is to read it."""

MAX_OF_A_KIND: Final = 10
"""Of one agent group in an hour, of what may be asked about once: different hosts, say."""

REFUSED_SECONDS: Final = 86_400
"""So long after it was refused the same is not asked about again."""

_HOUR_SECONDS: Final = 3600
_CONTROL: Final = "control"
_APPROVAL_PENDING: Final = "io.nanoclaw.Appliance.ApprovalPending"
_MALFORMED: Final = "io.nanoclaw.Appliance.Malformed"
_INVALID_PARAMETER: Final = "org.varlink.service.InvalidParameter"
_METHOD_NOT_FOUND: Final = "org.varlink.service.MethodNotFound"


class AgentSessions(Protocol):
    """What is needed of :class:`~nanoclawd.sessions.registry.Sessions`."""

    async def deliver_system(self, session_id: str, message: NewMessage) -> bool:
        """Hand a session a row of the host's own, once; False where it has it or is closed."""


class Restart(Protocol):
    """Has a session's container start anew after the turn that it is in; False where there is none."""

    async def __call__(self, session_id: str, note: NewMessage | None = None) -> bool:
        """Restart it; the note is for its next container, which begins for it in any case."""


type Rebuild = Callable[[str], Awaitable[bool]]
"""Build a group's own image; False where it has none."""


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    """What the row says: the container's word, so each field is checked."""

    action: str
    request_id: str
    frame: str


class AgentCalls(ActionHandler):
    """Agents' calls. It is the handler of its own approvals, whose action is ``command``."""

    def __init__(
        self,
        database: Database,
        methods: Methods,
        introspection: Introspection,
        approvals: ApprovalService,
        sessions: AgentSessions,
        restart: Restart,
        rebuild: Rebuild,
    ) -> None:
        """Begin; registers itself with the approvals, so before they are started."""
        self._database = database
        self._methods = methods
        self._introspection = introspection
        self._approvals = approvals
        self._sessions = sessions
        self._restart = restart
        self._rebuild = rebuild
        approvals.register(ACTION, self)

    async def request(self, session: SessionRef, row: OutboundRow) -> None:
        """Answer a call of a session's agent; the same row told twice is answered once.

        Raises:
            Refused: the row is no call.
            Unavailable: the answer can't be stored now.
        """
        try:
            request = msgspec.json.decode(row.content, type=_Request)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Refused("the request is no control call") from None
        if request.action != _CONTROL:
            raise Refused(f"there is no action {request.action[:40]!r}")
        if not 0 < len(request.request_id) <= 64:  # noqa: PLR2004  # the runner's are 24 characters
            raise Refused("the request is no control call: its id has 1 to 64 characters")
        frame = await self._answer(session, request.frame)
        address = row.address or session.address
        if address is None:
            address = await self._database.run(places.of_agent, session.agent_group_id, session.group)
        content = {"type": "control_reply", "requestId": request.request_id, "frame": frame.decode()}
        reply = NewMessage(
            id=f"control-{row.id}",
            content=json.dumps(content),
            address=address,
            kind="system",
            trigger=False,
        )
        await self._sessions.deliver_system(session.id, reply)

    async def _answer(self, session: SessionRef, frame: str) -> bytes:
        data = frame.encode(errors="replace")
        if len(data) > MAX_FRAME_BYTES:
            return encode_error(_MALFORMED, message=f"a call is {MAX_FRAME_BYTES // 1024} KiB at most", hint=None)
        try:
            call = decode_call(data)
        except FrameError as error:
            return encode_error(_MALFORMED, message=str(error), hint=None)
        if call.more or call.oneway or call.upgrade:
            return encode_error(_MALFORMED, message="an agent's call has one reply", hint=None)
        try:
            return await self._run(session, call)
        except InvalidParameterError as error:
            return encode_error(_INVALID_PARAMETER, parameter=str(error))
        except Exception as error:
            return told(self._introspection, call, error)

    async def _run(self, session: SessionRef, call: Call) -> bytes:
        method = self._methods.get(call.method)
        if not isinstance(method, Unary):
            return encode_error(_METHOD_NOT_FOUND, method=call.method[:200])
        given = decode_parameters(call, dict[str, Any])
        caller, judged = await self._database.run(_judged, session, call.method, given)
        parameters = _decoded(judged, method)
        if judged.needs_approval:
            if method.check is not None:
                with _without_hints(caller):
                    method.check(parameters)
            topic = ""
            if method.topic is not None:
                with _without_hints(caller):
                    topic = await method.topic(caller, parameters)
            return await self._ask(caller, judged, topic)
        log.debug("%s calls %s", caller.user_id, call.method, extra=about(group=caller.group, session=session.id))
        with _without_hints(caller):
            found = await method.run(caller, parameters)
        reply = encode_reply(_fitting(caller, judged, found))
        if len(reply) > MAX_REPLY_BYTES:
            raise Refused("the answer is too long: ask for less with limit, or for one thing")
        return reply

    async def _ask(self, caller: AgentCaller, judged: Judged, topic: str) -> bytes:
        """Have somebody asked. The same call that waits already, or another one about the same, is not asked twice."""
        subject = _subject(caller, judged, topic)
        await self._database.run(_check_room, caller)
        if topic:
            await self._database.run(_check_patience, caller, judged.method, subject)
        body = wording.body(caller, judged)
        if len(body.encode()) > MAX_ASKED_BYTES:
            raise Refused("this is too long for anybody to be asked about: say it with less")
        payload = {GLOBAL: judged.beyond, "method": judged.method, "parameters": judged.parameters}
        approval, new = await self._approvals.request(
            NewRequest(
                action=ACTION,
                subject=subject,
                title=wording.title(caller, judged),
                body=body,
                options=(*(judged.rule.offers or (APPROVE,)), REJECT),
                payload=payload,
                agent_group_id=caller.agent_group_id,
                session_id=caller.session_id,
            )
        )
        if new:
            log.info(
                "%s asks for %s: approval %s",
                caller.user_id,
                wording.command_line(judged.method, judged.parameters),
                approval.id,
                extra=about(group=caller.group, session=caller.session_id),
            )
        return encode_error(
            _APPROVAL_PENDING,
            message=f"somebody has to allow this first and is asked now (approval {approval.id});"
            " what comes of it is told to you as a message",
            hint=None,
            approval=approval.id,
        )

    def apply(self, connection: apsw.Connection, approval: Approval, option: Option, by: Decider) -> Applied:
        """Take note: what is chosen is done once that is written."""
        del connection, approval
        status = "rejected" if option.value == REJECT.value else "approved"
        return Applied(status, f"{option.done} by {by.name}.")

    async def finish(self, approval: Approval, *, resumed: bool) -> str | None:
        """Do what was allowed, and tell the agent and who was asked what came of it.

        What a session that is closed by now has asked for is done all the same, since somebody has allowed exactly
        this; nobody is left to be told, and the journal has it.

        Raises:
            Unavailable: the agent can't be told now.
        """
        command = wording.command_line(approval.payload["method"], approval.payload["parameters"])
        outcome, renewed = None, ""
        if approval.status == "approved":
            text, outcome, renewed = await self._carried_out(approval, command, resumed=resumed)
        elif approval.status == "rejected":
            text = f"Refused by somebody with the right to decide: {command}"
        else:
            text = f"Nobody decided in time, so this was not done: {command}"
        await self._tell(approval, f"{text}\n{renewed}" if renewed else text, afresh=bool(renewed))
        return outcome

    async def _tell(self, approval: Approval, text: str, *, afresh: bool) -> None:
        """Tell the agent that asked, if there is somebody left to be told; where it begins afresh, only then."""
        if approval.session_id is None or approval.agent_group_id is None:
            return
        try:
            address = await self._database.run(_address_of, approval.session_id)
        except NotFound:
            return  # the session was deleted since then
        content = json.dumps({"type": "note", "text": text})
        note = NewMessage(id=f"command-{approval.id}", content=content, address=address, kind="system", on_wake=afresh)
        if afresh:
            await self._restart(approval.session_id, note)
        else:
            await self._sessions.deliver_system(approval.session_id, note)

    async def _carried_out(self, approval: Approval, command: str, *, resumed: bool) -> tuple[str, str, str]:
        """Run an allowed call with what its agent may now.

        Returns:
            Its outcome in words for the agent and for a card, and what the agent's next container is told where the
            call has it begin afresh.
        """
        rule = RULES.get(approval.payload["method"])
        renews = rule.renews if rule is not None else ""
        if resumed and not renews:
            return (
                (
                    "Allowed, but nanoclawd was restarted while it was done; it is not known whether it was:"
                    f" {command}\n"
                    "Look before you ask for it again."
                ),
                "nanoclawd was restarted while it was done; it is not known whether it was.",
                "",
            )
        try:
            reply, message = await self._executed(approval)
        except NanoclawError as error:
            log.warning("an allowed command failed: %s: %s", command, error, extra=about(group=approval.group))
            hint = f" ({error.hint})" if error.hint else ""
            return f"Allowed, but it failed: {command}\n{error.message}{hint}", _failed(error.message), ""
        except InvalidParameterError as error:
            why = f"the parameter {error} is not right any more"
            return f"Allowed, but it failed: {command}\n{why}", _failed(why), ""
        except Exception:
            log.exception("an allowed command failed: %s", command, extra=about(group=approval.group))
            why = "it failed by a fault of the appliance, which is in its journal"
            return f"Allowed, but {why}: {command}", f"{why}.", ""
        log.info("done, as %s allowed: %s", approval.decided_by, command, extra=about(group=approval.group))
        shown = msgspec.json.format(encode_reply(reply)).decode()
        if len(shown) > MAX_RESULT_CHARACTERS:
            shown = f"{shown[:MAX_RESULT_CHARACTERS]}\n(cut here: {len(shown)} characters)"
        return f"Done: {command}\n{shown}", "it is done.", message or renews

    async def _executed(self, approval: Approval) -> tuple[object, str]:
        """Return what it replies, and what an agent that restarts itself wants to be told afterwards."""
        name, given = approval.payload["method"], approval.payload["parameters"]
        session = SessionRef(approval.session_id or "", approval.group or "", None, approval.agent_group_id or "")
        caller, judged = await self._database.run(_judged, session, name, given, True)
        if judged.beyond and approval.payload.get(GLOBAL) is not True:
            raise Refused("it reaches further by now than what was allowed")
        method = self._methods[name]
        if not isinstance(method, Unary):
            raise Refused(f"{name} is not for agents")
        if judged.restarts_self:
            _decoded(judged, method)
            rebuilt = judged.parameters.get("rebuild") is True and await self._rebuild(caller.group)
            if message := str(judged.parameters.get("message") or ""):
                return {"restarted": 1, "rebuilt": rebuilt}, message
            # A session without a container, or one that is closed, has nothing to restart.
            restarted = approval.session_id is not None and await self._restart(approval.session_id)
            return {"restarted": int(restarted), "rebuilt": rebuilt}, ""
        with _without_hints(caller):
            if method.chosen is not None:
                return await method.chosen(caller, _decoded(judged, method), approval.decision or ""), ""
            return await method.run(caller, _decoded(judged, method)), ""


def _subject(caller: AgentCaller, judged: Judged, topic: str) -> str:
    """Return what must not be asked about twice at once."""
    if topic:
        return f"{_kind(caller, judged.method)}{hashlib.sha256(topic.encode()).hexdigest()[:32]}"
    what = json.dumps([judged.method, judged.parameters], sort_keys=True)
    return f"{caller.session_id}:{hashlib.sha256(what.encode()).hexdigest()[:32]}"


def _kind(caller: AgentCaller, method: str) -> str:
    """Return what the subjects begin with of all that a group's agents have asked about by a method."""
    return f"{caller.agent_group_id}:{method}:"


def _check_patience(connection: apsw.Connection, caller: AgentCaller, method: str, subject: str) -> None:
    """See to it that nobody is asked over and over.

    Raises:
        Refused: this was refused lately, or too much of its kind was asked about.
    """
    before = approval_rows.newest(connection, ACTION, subject)
    if before is not None and before.status == "pending":
        return
    if before is not None and before.status == "rejected":
        since = now_text(plus_seconds=-REFUSED_SECONDS)
        if before.decided_at is not None and before.decided_at > since:
            raise Refused("somebody with the right to decide has refused this already; do not ask again today")
    _, recent = approval_rows.count_of_group(
        connection, ACTION, caller.agent_group_id, _HOUR_SECONDS, _kind(caller, method)
    )
    if recent >= MAX_OF_A_KIND:
        raise Refused(f"{MAX_OF_A_KIND} of these in an hour are enough: ask again later")


@contextmanager
def _without_hints(caller: AgentCaller) -> Iterator[None]:
    """To an agent that sees only its own group no hint names anything else."""
    try:
        yield
    except NanoclawError as error:
        if caller.scope != "global":
            error.hint = None
        raise


def _failed(why: str) -> str:
    """Return why in short, for a card: what was said first and, as a quotation, the end of what else was."""
    first, *rest = why.splitlines() or [""]
    end = [f"> {wording.visible(line.strip()[:_LAST_CHARACTERS])}" for line in rest[-_LAST_LINES:]]
    return "\n".join([f"it failed: {wording.visible(first)}", *end])


def _judged(
    connection: apsw.Connection, session: SessionRef, method: str, given: dict[str, Any], allowed: bool = False
) -> tuple[AgentCaller, Judged]:
    caller = caller_of(connection, session.agent_group_id, session.id)
    return caller, judge(connection, caller, method, given, allowed=allowed)


def _check_room(connection: apsw.Connection, caller: AgentCaller) -> None:
    waiting = [
        one
        for one in approval_rows.pending(connection)
        if one.action == ACTION and one.agent_group_id == caller.agent_group_id
    ]
    if len(waiting) >= MAX_PENDING:
        raise Refused(
            f"{MAX_PENDING} of this agent's requests wait for somebody's word; no more until they are decided"
        )


def _address_of(connection: apsw.Connection, session_id: str) -> Address:
    return places.of_session(connection, session_rows.by_id(connection, session_id))


def _decoded(judged: Judged, method: Unary) -> object:
    """Read the judged parameters as strictly as an operator's.

    Raises:
        InvalidParameterError: they don't fit the method.
    """
    return decode_parameters(
        Call(judged.method, msgspec.Raw(msgspec.json.encode(judged.parameters))), method.parameters
    )


def _fitting(caller: AgentCaller, judged: Judged, reply: object) -> object:
    """Leave of a list of all groups the agent's own."""
    if not judged.only_own or not isinstance(reply, dict):
        return reply
    return {"groups": [group for group in reply["groups"] if group.name == caller.group]}
