"""Requests that wait for somebody's word: held here, within bounds, while the daemon asks; nothing of them goes on.

The daemon's socket is systemd's, so a daemon that restarts is waited for: the same request is put to it again under
the same id, and it knows what it has asked. Nobody else waits for it.
"""

import asyncio
import contextlib
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from nanoclawd.egress.rules import Decision
from nanoclawd.gateway import denials
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.permit import Permit

MAX_HELD: Final = 64
MAX_HELD_OF_GROUP: Final = 8
MAX_PREVIEW_BYTES: Final = 1024
DEFAULT_SECONDS: Final = 300.0

_MAX_REPLY_BYTES: Final = 64 * 1024
_LATE_SECONDS: Final = 5.0
"""The daemon ends what has waited too long and says so; this much later nobody waits for its word any more."""

_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 30
_METHOD: Final = "io.nanoclaw.Requests.Hold"
_AWAY: Final = ("io.nanoclaw.Requests.Unavailable", "io.nanoclaw.Requests.Internal")

type Outcome = Literal["asked", "allowed", "denied", "expired", "unreachable", "crowded"]


class Answer(msgspec.Struct, frozen=True):
    """What became of it: see io.nanoclaw.Requests."""

    outcome: Outcome
    approval: Annotated[str, msgspec.Meta(max_length=100)] = ""
    until: float | None = None
    words: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class _Reply(msgspec.Struct, frozen=True):
    parameters: dict[str, Any] = {}
    continues: bool = False
    error: str = ""


class _AwayError(Exception):
    """The daemon can't answer at the moment."""


class Approver:
    """Has requests decided about that the rules hold."""

    def __init__(self, socket: Path, seconds: float = DEFAULT_SECONDS) -> None:
        """Prepare.

        Args:
            socket: the daemon's, for this.
            seconds: a request waits no longer.
        """
        self._socket = socket
        self._seconds = seconds
        self._held: Counter[str] = Counter()

    async def decide(self, permit: Permit, preview: bytes = b"") -> Decision:
        """Return what the rules say, once somebody has decided where they want that.

        The permit is allowed from then on as far as that goes. Cancelled, or where the caller's connection to this
        ends, nobody has to decide any more, and the card says so.

        Args:
            permit: of the request.
            preview: the beginning of its body, as the agent has sent it.

        Raises:
            Denial: it was refused, nobody decided in time, or there is nobody to ask.
        """
        if not permit.decision.asks:
            return permit.decision
        if permit.asked.override is not None:
            raise denials.malformed(
                "a header names another method than the request does: use that method, to be asked for"
            )
        async with self._room(permit.agent.group):
            answer = await self._ask(permit, preview)
        if answer.outcome != "allowed":
            raise _denied(permit, answer, self._seconds)
        permit.approve(answer.approval, answer.until)
        if not permit.holds():
            # The rules have changed while it waited.
            raise denials.by_rule(permit.agent.group, permit.asked, permit.decision)
        return permit.decision

    @asynccontextmanager
    async def _room(self, group: str) -> AsyncIterator[None]:
        if self._held[group] >= MAX_HELD_OF_GROUP or self._held.total() >= MAX_HELD:
            raise Denial(
                429,
                "too_many_held",
                "too many requests wait for somebody's word already: ask again when one of them is decided",
                outcome="crowded",
                retry_after=_RETRY_SECONDS,
            )
        self._held[group] += 1
        try:
            yield
        finally:
            self._held[group] -= 1
            if not self._held[group]:
                del self._held[group]

    async def _ask(self, permit: Permit, preview: bytes) -> Answer:
        return await self.put(_call(permit, preview), self._seconds)

    async def put(self, call: dict[str, Any], seconds: float) -> Answer:
        """Put a question until there is an answer, or the time is over.

        Args:
            call: the parameters of io.nanoclaw.Requests.Hold, without ``seconds``.
            seconds: somebody has so long to decide.

        Raises:
            Denial: nobody could be asked.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        pause = _FIRST_PAUSE_SECONDS
        try:
            async with asyncio.timeout_at(ends + _LATE_SECONDS):
                while True:
                    call["seconds"] = max(1.0, ends - loop.time())
                    try:
                        return await self._asked(call)
                    except (OSError, EOFError, _AwayError):
                        # Its socket waits for the next daemon; without its socket nothing tells when it is back.
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except TimeoutError:
            raise Denial(
                503,
                "approval_unavailable",
                "somebody has to decide about this request, and the appliance could not ask: try again later",
                outcome="unasked",
                retry_after=_RETRY_SECONDS,
            ) from None

    async def _asked(self, call: dict[str, Any]) -> Answer:
        """Ask once.

        Raises:
            OSError, EOFError: there is no daemon, or it went away.
            _AwayError: it can't at the moment.
            Denial: it does not understand.
        """
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=_MAX_REPLY_BYTES)
        try:
            frame = json.dumps({"method": _METHOD, "parameters": call, "more": True})
            writer.write(frame.encode() + b"\0")
            while True:
                answer = _answer(await reader.readuntil(b"\0"))
                if answer.outcome != "asked":
                    return answer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _call(permit: Permit, preview: bytes) -> dict[str, Any]:
    asked, rule = permit.asked, permit.decision.rule
    return {
        "id": secrets.token_hex(12),
        "group": permit.agent.group,
        "session": permit.session or None,
        "rule": rule.id if rule is not None else 0,
        "scheme": None if asked.is_tunnel else asked.scheme,
        "host": asked.target.host,
        "port": asked.target.port,
        "method": asked.method,
        "path": asked.path,
        "preview": preview[:MAX_PREVIEW_BYTES].decode("utf-8", "replace"),
    }


def _answer(frame: bytes) -> Answer:
    try:
        reply = msgspec.json.decode(frame[:-1], type=_Reply)
        if reply.error in _AWAY:
            raise _AwayError(reply.error)
        if not reply.error:
            return msgspec.convert(reply.parameters, Answer)
    except msgspec.MsgspecError:
        pass
    raise Denial(
        502, "approval_unavailable", "the appliance's daemon does not understand this gateway", outcome="failed"
    )


def _denied(permit: Permit, answer: Answer, seconds: float) -> Denial:
    asked = permit.asked
    what = f"the connection to {asked.target}" if asked.is_tunnel else f"{asked.method} to {asked.target}"
    held = f"{permit.decision.rule} held {what}"
    if answer.outcome == "denied":
        words = f"{held}, and somebody with the right to decide refused it"
        return Denial(403, "approval_denied", words, outcome="denied", brief="Refused by somebody with the right to it")
    if answer.outcome == "expired":
        words = f"{held}, and nobody decided within {seconds:.0f} seconds"
        return Denial(403, "approval_expired", words, outcome="expired", brief="Nobody decided in time")
    if answer.outcome == "crowded":
        words = f"{held}, and too many such requests are asked about: {answer.words}"
        return Denial(429, "too_many_held", words, outcome="crowded", retry_after=_RETRY_SECONDS)
    words = f"{held}, and there is nobody to decide about it: {answer.words}"
    return Denial(403, "no_approver", words, outcome="unasked", brief="Nobody can be asked about it")
