"""A server that is a program: it speaks lines of JSON, and is ended when it says too much.

The library's own way to start one has no bound on a line, and hands the runner's variables on.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from nanoclaw_runner.contract.agent_config import McpServer
from nanoclaw_runner.places import Places

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
MAX_BYTES_IN_PERIOD: Final = 64 * 1024 * 1024
MAX_LINES_IN_PERIOD: Final = 5000
PERIOD_SECONDS: Final = 5.0
END_SECONDS: Final = 0.3
"""A server has so long after its input has ended, before it is killed: the runner itself ends in less than a second."""

_TOO_MUCH: Final = "it sent more than anybody can read, and was ended"
_LAST_LINES: Final = 5
_LINE_CHARACTERS: Final = 300
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@asynccontextmanager
async def running(
    server: McpServer, places: Places, variables: Mapping[str, str], over: Callable[[str], None]
) -> AsyncGenerator[tuple[Any, Any]]:
    """Run a server's program; gives the streams of its messages.

    Args:
        server: what is run, with its own variables and no others but PATH, HOME, LANG and those of the way out.
        places: has the directory where it runs.
        variables: those of the way out.
        over: is told why there will be no more messages.

    Raises:
        OSError: it cannot be started.
    """
    environment = {"PATH": os.environ.get("PATH", _DEFAULT_PATH), "HOME": str(places.home), "LANG": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *(server.command, *server.args),
        cwd=places.workspace,
        env={**environment, **variables, **server.env},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=MAX_LINE_BYTES,
        start_new_session=True,
    )
    into, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write_stream, out_of = anyio.create_memory_object_stream[SessionMessage](0)
    last_words: deque[str] = deque(maxlen=_LAST_LINES)
    tasks = [
        asyncio.create_task(_hear(process, into, last_words, over)),
        asyncio.create_task(_tell(process, out_of)),
        asyncio.create_task(_note(process, last_words, over)),
    ]
    try:
        yield read_stream, write_stream
    finally:
        for stream in (into, read_stream, write_stream, out_of):
            stream.close()
        await _end(process)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Flood(Exception):  # noqa: N818  # what the server does, not an error of ours
    """It says more than anybody wants to know."""


class _Measure:
    """How much came within the present period."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._bytes = self._lines = 0

    def take(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._began > PERIOD_SECONDS:
            self._began, self._bytes, self._lines = now, 0, 0
        self._bytes += size
        self._lines += 1
        if self._bytes > MAX_BYTES_IN_PERIOD or self._lines > MAX_LINES_IN_PERIOD:
            raise _Flood


async def _hear(process: Process, into: Any, last_words: deque[str], over: Callable[[str], None]) -> None:
    stream = process.stdout
    if stream is None:
        return
    measure = _Measure()
    words = ""
    try:
        while line := await stream.readline():
            measure.take(len(line))
            await into.send(_message(line))
    except _Flood:
        words = _TOO_MUCH
    except ValueError:
        words = f"it sent a line of more than {MAX_LINE_BYTES // 1024} KiB, and was ended"
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        return
    if not words:
        words = await _how_it_ended(process, last_words)
    over(words)
    into.close()


async def _how_it_ended(process: Process, last_words: deque[str]) -> str:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    said = f": {' | '.join(last_words)}" if last_words else ""
    status = process.returncode
    if status is None:
        return f"it closed its output{said}"
    return f"it ended ({f'signal {-status}' if status < 0 else f'exit status {status}'}){said}"


def _message(line: bytes) -> Any:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        # Some programs print other things, too; the session passes over them.
        return error


async def _tell(process: Process, out_of: Any) -> None:
    pipe = process.stdin
    if pipe is None:
        return
    with contextlib.suppress(ConnectionError, anyio.ClosedResourceError):
        async for message in out_of:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            pipe.write(text.encode(errors="replace") + b"\n")
            await pipe.drain()


async def _note(process: Process, last_words: deque[str], over: Callable[[str], None]) -> None:
    """Keep the last lines that it prints for people: they often say why it ended."""
    stream = process.stderr
    if stream is None:
        return
    measure = _Measure()
    with contextlib.suppress(_Flood):
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                measure.take(MAX_LINE_BYTES)
                continue
            if not line:
                return
            measure.take(len(line))
            shown = " ".join(line[:_LINE_CHARACTERS].decode(errors="replace").split())
            if shown:
                last_words.append(shown)
    over(_TOO_MUCH)


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
    finally:
        # With everything that it has started.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
