"""A provider without a model: each line of a message says what happens. It is for tests, benchmarks and probing.

A plain line is answered with ``echo: <line>``, a directive with what came of it; the answer has one line for each
(``!read`` may give several). A directive without its arguments says so. What went wrong is reported as
``<directive>: <error's name>: <words>``.

====================  ==================================================================================
``!sleep S``          waits, showing partial text; ``slept S s``
``!remember WORD``    continues the conversation under this name from now on; ``remembered WORD``
``!recall``           ``recall: <the name>``, ``recall: nothing`` in a new conversation
``!hang``             blocks the event loop for good
``!stall``            gives no further sign, with a live loop
``!crash [SIGNAL]``   kills the runner, by SIGKILL unless named (``SEGV``, ``SIGSEGV`` or ``11``)
``!error TEXT``       the query fails with TEXT
``!raw TEXT``         TEXT as it is
``!call TOOL JSON``   calls a tool; ``call TOOL: <its text>``
``!read PATH``        ``read PATH: <up to 64 KiB of text>``; a directory's sorted names
``!write PATH TEXT``  ``wrote N bytes to PATH``
``!connect HOST P``   ``connected to HOST P``; HOST ``unix``: P is the path of a stream socket
``!usage I O C M``    reports I tokens read, O written, at a cost of C millionths of a dollar (``-``: not reported),
                      by the model M (``scripted`` unless named) with the answer; ``usage: I O C M``
``!id``               ``id: uid=… gid=… groups=… CapEff=… CapBnd=… NoNewPrivs=… interfaces=…``
``!card JSON``        writes a card, whatever the JSON is; ``card: <the row's number>``
``!edit ID TEXT``     asks for the message with this number or id to be changed; ``edit: <row>``
``!react ID EMOJI``   reacts to it; ``react: <row>``
``!file NAME TEXT``   sends a file with this text; ``file: <row>``
``!to CHANNEL P T``   says T in the chat P of a channel; ``to: <row>``
``!system JSON``      asks the host for something; ``system: <row>``
``!ncl WORDS``        runs ``ncl``; what it printed, and ``(exit code N)`` unless that is 0
====================  ==================================================================================

Rows are written when their directive is played, before the answer. A note of the host's is never a directive.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base, probes
from nanoclaw_runner.providers.scripted_rows import Rows, ncl
from nanoclaw_runner.tools import shell
from nanoclaw_runner.tools.base import Toolbox, ToolError
from nanoclaw_runner.workshop import Workshop

PARTIAL_SECONDS = 0.2
LONGEST_SLEEP_SECONDS = 86_400.0
MAX_ANSWER_BYTES = 1024 * 1024


class _Failure(Exception):  # noqa: N818  # it is not an error of ours but the script's wish
    """The script says that the query fails."""


class Scripted:
    """The provider."""

    def __init__(self, tools: Toolbox, rows: Rows) -> None:
        self._tools = tools
        self._rows = rows

    def query(self, prompt: Prompt, continuation: str | None) -> base.Query:
        """Begin to play a prompt."""
        return _Query(prompt, self._tools, self._rows, continuation)

    async def command(self, name: str, args: str, continuation: str | None) -> str | None:
        """Tell what is remembered; a script has no cost, and nothing that could be made compact."""
        del args
        if name == "context":
            return f"A script remembers one word: {continuation or 'none yet'}."
        return None


def create(workshop: Workshop) -> Scripted:
    """Return the provider."""
    workshop.tools.add(shell.tools(workshop.places, workshop.way_out))
    return Scripted(workshop.tools, Rows(workshop.desk, workshop.places.outbound_files))


class _Query:
    def __init__(self, prompt: Prompt, tools: Toolbox, rows: Rows, continuation: str | None) -> None:
        self._word = continuation
        self._usage: base.Usage | None = None
        self._prompts: asyncio.Queue[Prompt] = asyncio.Queue()
        self._prompts.put_nowait(prompt)
        self._directives: dict[str, Callable[[str], Awaitable[str]]] = {
            "!hang": _hang,
            "!stall": _stall,
            "!crash": _crash,
            "!error": _fail,
            "!raw": _raw,
            "!call": _Caller(tools).call,
            "!read": probes.read,
            "!write": probes.write,
            "!connect": probes.connect,
            "!id": probes.identity,
            "!recall": self._recall,
            "!usage": self._report,
            "!card": rows.card,
            "!edit": rows.edit,
            "!react": rows.react,
            "!file": rows.file,
            "!to": rows.to,
            "!system": rows.system,
            "!ncl": ncl,
        }

    def push(self, prompt: Prompt) -> None:
        self._prompts.put_nowait(prompt)

    async def events(self) -> AsyncGenerator[base.Event]:
        while True:
            prompt = await self._prompts.get()
            done: list[str] = []
            try:
                for line in prompt.raw().splitlines():
                    if line.startswith("!sleep"):
                        async for partial in _sleep(line, done):
                            yield partial
                        continue
                    if line.startswith("!remember "):
                        self._word = line.removeprefix("!remember ").strip()
                        yield base.Init(self._word)
                        done.append(f"remembered {self._word}")
                        continue
                    done.append(await self._play(line))
                    yield base.Partial("\n".join(done))
            except _Failure as failure:
                yield base.Error(str(failure))
                return
            usage, self._usage = self._usage, None
            yield base.Result("\n".join(done), usage=usage)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _recall(self, _rest: str) -> str:
        return f"recall: {self._word or 'nothing'}"

    async def _report(self, rest: str) -> str:
        read, written, cost, model, *_ = [*rest.split(), "", "", "", ""]
        if not (read.isdigit() and written.isdigit() and (cost == "-" or cost.isdigit())):
            raise ValueError("needs IN OUT COST|- [MODEL]")
        micros = None if cost == "-" else int(cost)
        self._usage = base.Usage(model or "scripted", int(read), int(written), cost_micros=micros)
        return f"usage: {read} {written} {cost} {self._usage.model}"

    async def _play(self, line: str) -> str:
        name, _, rest = line.partition(" ")
        directive = self._directives.get(name)
        if directive is None:
            return f"echo: {line}"
        try:
            return (await directive(rest))[:MAX_ANSWER_BYTES]
        except (OSError, ValueError, ToolError) as error:
            return f"{name[1:]}: {type(error).__name__}: {error}"


async def _sleep(line: str, done: list[str]) -> AsyncGenerator[base.Event]:
    """Wait in small steps; the partial text grows by a dot with each."""
    loop = asyncio.get_running_loop()
    try:
        seconds = float(line.removeprefix("!sleep"))
    except ValueError:
        done.append(f"sleep: not a number of seconds: {line}")
        return
    if not 0 <= seconds <= LONGEST_SLEEP_SECONDS:
        done.append(f"sleep: not between 0 and {LONGEST_SLEEP_SECONDS:.0f} seconds: {line}")
        return
    end = loop.time() + seconds
    dots = ""
    while (remaining := end - loop.time()) > 0:
        dots += "."
        yield base.Partial("\n".join([*done, f"sleeping {seconds:g} s {dots}"]))
        await asyncio.sleep(min(remaining, PARTIAL_SECONDS))
    done.append(f"slept {seconds:g} s")
    yield base.Partial("\n".join(done))


async def _hang(_rest: str) -> str:
    time.sleep(LONGEST_SLEEP_SECONDS)  # noqa: ASYNC251  # that the loop is blocked is what is asked for
    return "hang: a day has passed"


async def _stall(_rest: str) -> str:
    await asyncio.Event().wait()
    return "stall: over"


async def _crash(rest: str) -> str:
    os.kill(os.getpid(), _signal(rest.strip() or "KILL"))
    await asyncio.sleep(0)
    return f"crash: survived {rest.strip()}"


def _signal(name: str) -> signal.Signals:
    if name.isdigit():
        return signal.Signals(int(name))
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise ValueError(f"no signal {name}") from None


async def _fail(rest: str) -> str:
    raise _Failure(rest or "the script says so")


async def _raw(rest: str) -> str:
    return rest


class _Caller:
    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools

    async def call(self, rest: str) -> str:
        name, _, text = rest.partition(" ")
        try:
            return f"call {name}: {await self._tools.call(name, text)}"
        except ToolError as error:
            return str(error)
