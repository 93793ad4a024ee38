"""Where the agent's tools reach the host while a turn goes on: rows for people, and calls of the control interface.

A row that is written under a key is written once: a turn that is repeated after its container died makes the same keys,
and finds what was done already.
"""

import asyncio
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import apsw
import msgspec

from nanoclaw_runner.contract.clock import now, now_text, parse
from nanoclaw_runner.contract.rows import TOOL_PATIENCE_SECONDS, TOOL_ROW_PREFIX, Address
from nanoclaw_runner.destinations import Book
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import QUESTION, Batch, Intake
from nanoclaw_runner.store.inbox import NotYetError, Outcome
from nanoclaw_runner.store.outbox import Outbox, Reply
from nanoclaw_runner.tool_error import HostError, ToolError

CONTROL: Final = "control"
MAX_FRAME_BYTES: Final = 64 * 1024
MAX_CALLS: Final = 4
"""Calls of the host at once; more wait for one of these to be answered, within their own time."""

CALL_SECONDS: Final = 30.0
OUTCOME_SECONDS: Final = TOOL_PATIENCE_SECONDS
LOOK_SECONDS: Final = 0.05
"""Until the next look at a file that the host is writing just now."""

_KEY_DIGITS: Final = 40


class Desk:
    """Writes single rows, each at once and for good, and waits for what comes of them.

    Attributes:
        book: the places that the agent may write to.
    """

    def __init__(self, outbox: Outbox, intake: Intake, doorbell: Doorbell) -> None:
        self._asked: Batch | None = None
        self._asked_at = 0.0
        self._made: Counter[str] = Counter()
        self._outbox = outbox
        self._intake = intake
        self._doorbell = doorbell
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._rung = asyncio.Event()
        self.book = Book(intake.inbox)
        doorbell.listen(self._on_ring)

    @property
    def asked(self) -> Batch | None:
        """The batch that is being answered, None between turns."""
        return self._asked

    @asked.setter
    def asked(self, batch: Batch | None) -> None:
        if batch is not self._asked:
            self._made.clear()
            self._asked_at = asyncio.get_running_loop().time()
        self._asked = batch

    @property
    def asked_for(self) -> float:
        """For how many seconds the present question has been worked on."""
        return asyncio.get_running_loop().time() - self._asked_at if self._asked is not None else 0.0

    def key(self, tool: str, arguments: object, prefix: str = TOOL_ROW_PREFIX) -> str:
        """Return the key of a tool's call: the same for the same call when the turn is repeated.

        It is made of what is being answered, the tool, its arguments, and how many such calls were before it in the
        turn. Each call of this counts, so a tool asks once.

        Args:
            tool: its name.
            arguments: what it was called with.
            prefix: another than a tool's is for rows whose outcome nothing waits for.
        """
        if self._asked is None:
            return f"{prefix}{os.urandom(_KEY_DIGITS // 2).hex()}"
        call = f"{self._reference()}\0{tool}\0{msgspec.json.encode(arguments, order='sorted').decode()}"
        self._made[call] += 1
        digest = hashlib.sha256(f"{call}\0{self._made[call]}".encode()).hexdigest()
        return f"{prefix}{digest[:_KEY_DIGITS]}"

    def here(self) -> Address | None:
        """Return where the present turn was asked, with its thread; between turns the session's own chat."""
        if self._asked is not None:
            return self._intake.reply_address(self._asked)
        try:
            return self._intake.inbox.routing()
        except NotYetError:
            return None

    def write(self, kind: str, content: str, to: Address | None = None, *, key: str | None = None) -> int:
        """Write a row for a chat, by default the one that is being answered; return the row's number.

        Args:
            kind: of the row.
            content: its JSON.
            to: where it goes.
            key: from :meth:`key`; a row that is there already under it stays as it is, and its number is returned.

        Raises:
            apsw.Error: it could not be written (the disk is full).
        """
        if self._asked is None:
            return self._write(Reply(content=content, address=to, kind=kind, id=key))
        here = self._intake.reply_address(self._asked)
        reference = self._asked.asked_by.id if to in {None, here} else None
        return self._write(Reply(content=content, in_reply_to=reference, address=to or here, kind=kind, id=key))

    def written(self, key: str) -> int | None:
        """Return the number of the row under a key, None where there is none yet."""
        return self._outbox.number_of(key)

    def sent(self, number: int) -> Address | None:
        """Return where the agent's own message of a number went, None where there is none."""
        return self._outbox.message(number)

    def heard(self, number: int) -> Address | None:
        """Return where the message of a number was said to the agent, None where there is none.

        Raises:
            NotYetError: that cannot be looked at right now.
        """
        return self._intake.inbox.message(number)

    async def call(self, method: str, parameters: Mapping[str, object], key: str | None = None) -> dict[str, Any]:
        """Call a method of the host's control interface and return its reply's parameters.

        What the agent may call, and what somebody is asked about first, the host decides.

        Args:
            method: e.g. ``io.nanoclaw.Tasks.List``.
            parameters: its parameters; those that are None are left out.
            key: of a call that changes something, from :meth:`key`: a repeated one gets the first one's reply.

        Raises:
            ToolError: the host has refused it (:class:`HostError`), does not answer in time, or cannot be reached.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        frame = json.dumps({"method": method, "parameters": given}, ensure_ascii=False)
        size = len(frame.encode(errors="replace"))
        if size > MAX_FRAME_BYTES:
            raise ToolError(f"this is too long: the call has {size} bytes, {MAX_FRAME_BYTES} fit")
        try:
            async with asyncio.timeout(CALL_SECONDS):
                reply = await self.exchange(frame, key)
        except TimeoutError:
            raise ToolError(f"nanoclawd did not answer within {CALL_SECONDS:g} seconds") from None
        except apsw.Error as error:
            raise ToolError(f"the call could not be handed on: {error}") from None
        return _read(reply)

    async def exchange(self, frame: str, key: str | None = None) -> str:
        """Hand a call on to the host and return its reply's frame, empty where it can't be read; unbounded in time.

        Raises:
            apsw.Error: it could not be handed on.
        """
        identifier = key or os.urandom(12).hex()
        async with self._slots:
            with self._intake.waiting.expect(identifier) as reply:
                content = json.dumps({"action": CONTROL, "requestId": identifier, "frame": frame}, ensure_ascii=False)
                if key is not None and self.written(key) is not None:
                    known = await self._until_readable(lambda: self._intake.inbox.control_reply(key))
                    if known is not None:
                        return known
                self._write(Reply(content=content, kind="system", id=key))
                return await reply

    async def ask(self, content: str, key: str, seconds: float) -> str:
        """Write a card that asks the people where the present turn was asked; return the answer row's content.

        That the question is open is kept beside its row: a turn that is repeated, in another container even, waits on
        for the same answer, until the same time, and no prompt takes the answer away meanwhile (F-72).

        Args:
            content: of the card; its reference is the key.
            key: from :meth:`key`.
            seconds: how long to wait; an answer that comes later is a message like any other (W-6).

        Raises:
            TimeoutError: nobody has answered in time.
            ToolError: the card could not be delivered.
            apsw.Error: it could not be written.
        """
        name = f"{QUESTION}{key}"
        with self._intake.waiting.expect(key) as answer:
            answer.add_done_callback(lambda _answer: self._on_ring())
            kept = self._outbox.state(name)
            if self.written(key) is None:
                self._outbox.drop_state(*self._over())
                until = now_text(plus_seconds=seconds)
                to = self.here()
                reply = Reply(content, self._asked.asked_by.id if self._asked else None, to, "card", key)
                self._write(reply, (name, json.dumps({"asked": self._reference(), "until": until})))
            elif (given := await self._given(key)) is not None:
                self._outbox.drop_state(name)
                return given
            elif kept is None:
                raise TimeoutError
            else:
                until = str(json.loads(kept)["until"])
            try:
                async with asyncio.timeout((parse(until) - now()).total_seconds()):
                    await self._answered(key, answer)
            except TimeoutError:
                # It may have come at this very moment.
                found = await self._given(key)
                self._outbox.drop_state(name)
                if found is None:
                    raise
                return found
            except ToolError:
                self._outbox.drop_state(name)
                raise
            self._outbox.drop_state(name)
            return answer.result()

    async def outcome(self, key: str, seconds: float = OUTCOME_SECONDS) -> Outcome | None:
        """Wait for what becomes of the row under a key, for so many seconds at most; None: nothing yet."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    rung = self._rung
                    found = await self._until_readable(lambda: self._intake.inbox.outcome(key))
                    if found is not None:
                        return found
                    await rung.wait()
        except TimeoutError:
            return None

    async def _answered(self, key: str, answer: asyncio.Future[str]) -> None:
        """Return when a question has its answer, or raise where nobody will see it."""
        while not answer.done():
            rung = self._rung
            outcome = await self._until_readable(lambda: self._intake.inbox.outcome(key))
            if outcome is not None and outcome.status == "failed":
                raise ToolError(f"the question could not be delivered: {outcome.reason}")
            await rung.wait()

    async def _given(self, key: str) -> str | None:
        """Return the answer to a question that is there already, and see to it that no prompt shows it."""
        row = await self._until_readable(lambda: self._intake.inbox.answer(key))
        if row is None:
            return None
        if not self._outbox.is_finished(row.id):
            self._outbox.finish([], [row.id], 0)
        return row.content

    def _over(self) -> list[str]:
        """Return the kept questions of turns that were given up."""
        kept = self._outbox.states(QUESTION)
        return [
            name
            for name, value in kept.items()
            if name.removeprefix(QUESTION) not in self._intake.waiting
            and json.loads(value)["asked"] != self._reference()
        ]

    def _reference(self) -> str:
        """Return the id of what the present turn began with: the same when it is repeated with more to answer."""
        return next((row.id for row in self._asked.rows if row.trigger), "") if self._asked is not None else ""

    async def _until_readable[T](self, read: Callable[[], T]) -> T:
        """Read the inbox, again after a moment each time that the host is writing it just now."""
        while True:
            try:
                return read()
            except NotYetError:
                await asyncio.sleep(LOOK_SECONDS)  # a lock has no event; the caller's patience bounds it

    def _on_ring(self) -> None:
        # A new event for each ring: nobody can clear what somebody else has yet to hear.
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    def _write(self, reply: Reply, state: tuple[str, str] | None = None) -> int:
        number = self._outbox.add(reply, self._intake.highest_seq(), state=state)
        self._doorbell.ring()
        return number


def _read(reply: str) -> dict[str, Any]:
    """Return a reply's parameters, or raise what it says went wrong."""
    try:
        found = json.loads(reply)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ToolError("nanoclawd's answer cannot be read")
    parameters = found.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    name = found.get("error")
    if name is None:
        return parameters
    raise HostError(str(name), _words(str(name), parameters), parameters)


def _words(name: str, parameters: Mapping[str, object]) -> str:
    """Return an error's words for the agent."""
    message, hint, parameter = (parameters.get(key) for key in ("message", "hint", "parameter"))
    if message:
        return f"{message} ({hint})" if hint else str(message)
    if parameter:
        return f"the parameter {parameter} is not right"
    return f"nanoclawd answered {name}"
