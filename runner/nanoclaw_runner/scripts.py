"""A task's script runs before its agent is called, and says whether that is worth it (§7.9 of the reference).

The last line that it prints is JSON: ``{"wakeAgent": true, "data": …}``. The data go into the prompt. Where it says
false, or can't say anything, the run is over without the agent, and the host is told why.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from nanoclaw_runner.content import object_of
from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, InboundRow
from nanoclaw_runner.contract.text import storable
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Batch, Intake
from nanoclaw_runner.store.outbox import Outbox, Reply

_log = logging.getLogger(__name__)

TASK: Final = "task"
SCRIPT_SECONDS: Final = 30.0
MAX_OUTPUT_BYTES: Final = 1024 * 1024
_MAX_REASON_CHARACTERS: Final = 300
_PIECE_BYTES: Final = 64 * 1024
_LAST_WORDS_SECONDS: Final = 1.0
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

type Variables = Callable[[], Awaitable[dict[str, str]]]


class _ScriptError(Exception):
    """The script could not say whether the agent is to be called; the message is for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a script has said."""

    wake: bool
    data: object = None


class Gate:
    """Lets batches through to the agent, without the tasks whose scripts call nobody."""

    def __init__(
        self,
        intake: Intake,
        outbox: Outbox,
        doorbell: Doorbell,
        workspace: Path,
        *,
        allowed: bool = True,
        seconds: float = SCRIPT_SECONDS,
        variables: Variables | None = None,
    ) -> None:
        """Prepare.

        Args:
            intake: knows the inbox's last number.
            outbox: takes the reports, and the acknowledgements of what is over.
            doorbell: is rung for them.
            workspace: where scripts run.
            allowed: whether scripts are run at all.
            seconds: how long one may take.
            variables: gives what scripts have in their environment besides the runner's own.
        """
        self._intake = intake
        self._outbox = outbox
        self._doorbell = doorbell
        self._workspace = workspace
        self._allowed = allowed
        self._seconds = seconds
        self._variables = variables

    async def pass_on(self, batch: Batch) -> Batch | None:
        """Run the scripts of a batch's tasks, one after the other; return what is left of it for the agent.

        What is over is acknowledged and reported at once. Context without a question waits for the next one.
        """
        if not any(row.kind == TASK for row in batch.rows):
            return batch
        # A script does things.
        self._intake.claim()
        left: list[InboundRow] = []
        for row in batch.rows:
            passed = await self._pass(row)
            if passed is not None:
                left.append(passed)
        if any(row.trigger for row in left):
            return Batch(rows=tuple(left))
        self._outbox.release(row.id for row in left)
        return None

    async def _pass(self, row: InboundRow) -> InboundRow | None:
        content = object_of(row.content) if row.kind == TASK else {}
        script = content.get("script")
        if not isinstance(script, str) or not script.strip():
            return row
        try:
            if not self._allowed:
                raise _ScriptError("scripts of tasks are not run here")
            more = await self._variables() if self._variables is not None else {}
            said = await run(script, self._workspace, self._seconds, more)
            shown = json.dumps({**content, "scriptOutput": said.data}, ensure_ascii=False)
            if len(storable(shown).encode()) > MAX_CONTENT_BYTES:
                raise _ScriptError(f"its data are longer than {MAX_CONTENT_BYTES // 1024} KiB")
        except _ScriptError as error:
            _log.warning("the script of %s failed: %s", row.id, error)
            self._finish(row, "failed", f"its script: {error}")
            return None
        if not said.wake:
            self._finish(row, "skipped", "its script says that there is nothing to do")
            return None
        return replace(row, content=shown)

    def _finish(self, row: InboundRow, outcome: str, reason: str) -> None:
        content = {"action": TASK, "row": row.id, "outcome": outcome, "reason": reason[:_MAX_REASON_CHARACTERS]}
        report = Reply(content=json.dumps(content, ensure_ascii=False), kind="system")
        self._outbox.finish([report], [row.id], self._intake.highest_seq())
        self._doorbell.ring()


async def run(
    script: str, workspace: Path, seconds: float = SCRIPT_SECONDS, variables: Mapping[str, str] = NOTHING
) -> _Said:
    """Run a script by bash and return what its last line says; all of its processes have ended then.

    Raises:
        _ScriptError: it failed, took too long, printed too much, or its last line says nothing.
    """
    path = await asyncio.to_thread(_write, script)
    output, errors = _Stream(), _Stream()
    try:
        await output.open()
        await errors.open()
        code = await _played(path, workspace, seconds, output, errors, {**os.environ, **variables})
    finally:
        output.close()
        errors.close()
        await asyncio.to_thread(Path(path).unlink, missing_ok=True)
    if output.is_over or errors.is_over:
        raise _ScriptError(f"it was ended because it printed more than {MAX_OUTPUT_BYTES // 1024} KiB")
    if code is None:
        raise _ScriptError(f"it was ended after {seconds:g} seconds")
    if code:
        last = " ".join(errors.text().split())[-_MAX_REASON_CHARACTERS // 2 :]
        raise _ScriptError(f"it ended with {code}{f': {last}' if last else ''}")
    return _read(output.text())


async def _played(
    path: str,
    workspace: Path,
    seconds: float,
    output: "_Stream",
    errors: "_Stream",
    environment: Mapping[str, str],
) -> int | None:
    """Run a script and return its exit status, None where it took too long; whatever it has started is ended."""
    try:
        process = await asyncio.create_subprocess_exec(
            "bash",
            path,
            cwd=workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output.writer,
            stderr=errors.writer,
            start_new_session=True,
        )
    except OSError as error:
        raise _ScriptError(f"it can't be started: {error}") from None
    reading = [asyncio.create_task(one.read(process.pid)) for one in (output, errors)]
    try:
        async with asyncio.timeout(seconds):
            code = await process.wait()
    except TimeoutError:
        code = None
    finally:
        _end(process.pid)
    await process.wait()
    # Who has left the group may hold a pipe open for ever: what was printed until now counts.
    _, unfinished = await asyncio.wait(reading, timeout=_LAST_WORDS_SECONDS)
    for task in unfinished:
        task.cancel()
    return code


class _Stream:
    """What a script prints, up to the bound. The pipe is ours: asyncio's own would be waited for until nobody has it.

    Attributes:
        writer: the script's end.
        is_over: it has printed more than it may.
    """

    def __init__(self) -> None:
        self.writer = -1
        self.is_over = False
        self._found = bytearray()
        self._stream = asyncio.StreamReader()
        self._transport: asyncio.ReadTransport | None = None

    async def open(self) -> None:
        """Make the pipe."""
        reader, self.writer = os.pipe()
        protocol = asyncio.StreamReaderProtocol(self._stream)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, os.fdopen(reader, "rb", buffering=0)
        )

    def close(self) -> None:
        """Let both ends go."""
        self._close_writer()
        if self._transport is not None:
            self._transport.close()

    async def read(self, group: int) -> None:
        """Keep what is printed until the end; a script that prints too much is ended."""
        self._close_writer()
        while piece := await self._stream.read(_PIECE_BYTES):
            if len(self._found) + len(piece) > MAX_OUTPUT_BYTES:
                self.is_over = True
                _end(group)
                return
            self._found += piece

    def text(self) -> str:
        """Return what was printed."""
        return self._found.decode(errors="replace")

    def _close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


def _end(group: int) -> None:
    """End a script and whatever it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _write(script: str) -> str:
    """Write a script to a file that nobody else reads (mkstemp: 0600, and the owner may run it)."""
    import tempfile  # with much behind it that hardly any container needs

    descriptor, path = tempfile.mkstemp(prefix="task-script-", suffix=".sh")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(storable(script))
        os.fchmod(file.fileno(), 0o700)
    return path


def _read(output: str) -> _Said:
    lines = [line for line in output.splitlines() if line.strip()]
    if not lines:
        raise _ScriptError("it printed nothing")
    try:
        found = json.loads(lines[-1])
    except (ValueError, RecursionError):
        raise _ScriptError("its last line is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("wakeAgent"), bool):
        raise _ScriptError('its last line has no "wakeAgent": true or false')
    return _Said(found["wakeAgent"], found.get("data"))
