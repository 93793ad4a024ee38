"""A shell for agents whose provider has none of its own."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from nanoclaw_runner.places import Places
from nanoclaw_runner.tools.base import Tool, ToolError
from nanoclaw_runner.way_out import WayOut

DEFAULT_SECONDS: Final = 60
MAX_SECONDS: Final = 600
MAX_COMMAND_CHARACTERS: Final = 32 * 1024
HEAD_BYTES: Final = 12 * 1024
TAIL_BYTES: Final = 20 * 1024
"""Of what a command prints, its beginning and its end are kept."""

REAP_SECONDS: Final = 2.0
REST_SECONDS: Final = 0.1
_CHUNK_BYTES: Final = 64 * 1024
_PASSED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TERM")
"""Of the runner's own variables; nothing of systemd's or the provider's."""

_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class RunCommand(Struct, frozen=True):
    """Arguments of ``run_command``."""

    command: Annotated[
        str, Meta(min_length=1, max_length=MAX_COMMAND_CHARACTERS, description="what bash runs, in /workspace")
    ]
    timeout: Annotated[int, Meta(ge=1, le=MAX_SECONDS, description="seconds after which it is ended")] = DEFAULT_SECONDS


def tools(places: Places, way_out: WayOut) -> list[Tool[Any]]:
    """Return the tools of this family."""

    async def run_command(arguments: RunCommand) -> str:
        return await _run(arguments, places, await way_out.variables())

    description = (
        "Run a command with bash in /workspace and get what it prints (of much, the beginning and the end) and its exit"
        " status. Of the network it has the hosts that the owner allows, by the proxy that the environment names"
        " (ncl egress list). It is ended after `timeout` seconds, with everything that it has started."
    )
    return [Tool("run_command", description, RunCommand, run_command, timeout=MAX_SECONDS + 2 * REAP_SECONDS)]


class _Printed:
    """What a command prints, bounded."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def add(self, chunk: bytes) -> None:
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[max(room, 0) :]
        over = len(self._tail) - TAIL_BYTES
        if over > 0:
            del self._tail[:over]
            self._left_out += over

    def text(self) -> str:
        head, tail = (bytes(part).decode(errors="replace") for part in (self._head, self._tail))
        between = f"\n[… {self._left_out} bytes are left out here …]\n" if self._left_out else ""
        return f"{head}{between}{tail}".rstrip("\n")


async def _run(arguments: RunCommand, places: Places, variables: Mapping[str, str]) -> str:
    if "\0" in arguments.command:
        raise ToolError("run_command: a command has no NUL in it")
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    environment.setdefault("PATH", _DEFAULT_PATH)
    environment["HOME"] = str(places.home)
    environment["TMPDIR"] = str(places.temporary)
    environment.update(variables)
    try:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", arguments.command),
            cwd=places.workspace,
            env=environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
    except (OSError, UnicodeError) as error:
        raise ToolError(f"run_command: it could not be started: {error}") from None
    printed = _Printed()
    too_long = False
    try:
        async with asyncio.timeout(arguments.timeout):
            await _read(process, printed)
    except TimeoutError:
        too_long = True
    finally:
        # What it left behind in its group, too: nothing of a call outlives the call.
        await _end(process)
    if too_long:
        raise ToolError(f"ended after {arguments.timeout} s. Until then it printed:\n{printed.text()}")
    text = printed.text() or "(no output)"
    status = process.returncode
    if not status:
        return text
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{text}\n({how})"


async def _read(process: Process, printed: _Printed) -> None:
    """Read until the command is over; what it left in the background may keep the pipe open."""
    stream = process.stdout
    if stream is None:
        return
    with _ending(process.pid) as over:
        ending = asyncio.create_task(over.wait())
        try:
            while True:
                reading = asyncio.create_task(stream.read(_CHUNK_BYTES))
                try:
                    await asyncio.wait((reading, ending), return_when=asyncio.FIRST_COMPLETED)
                    if not reading.done():
                        # What it printed last is in the pipe already.
                        await asyncio.wait((reading,), timeout=REST_SECONDS)
                    if not reading.done() or not reading.result():
                        return
                    printed.add(reading.result())
                finally:
                    reading.cancel()
        finally:
            ending.cancel()


@contextmanager
def _ending(pid: int) -> Generator[asyncio.Event]:
    """Give an event of a process's end. asyncio's own waits for everybody who has its output open, too."""
    over = asyncio.Event()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        over.set()
        yield over
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(descriptor)
        over.set()

    loop.add_reader(descriptor, ended)
    try:
        yield over
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # A death that takes longer is the kernel's to finish.
    with suppress(TimeoutError):
        async with asyncio.timeout(REAP_SECONDS):
            await process.wait()
