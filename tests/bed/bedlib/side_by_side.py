"""The `in-beds` command: runs a directory of tests in several fresh beds side by side, file by file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import parts
from .parts import INSIDE, NOTHING_SELECTED, Aside, Outcome, Part
from .settings import BED_SOURCES, REPOSITORY, BedError, Settings, from_environment

DURATIONS = REPOSITORY / "build" / "test-durations.json"
EPILOG = """\
environment:
  BEDS       how many beds (default: 2); 1: all tests by one pytest in one bed, whose output is seen as it comes
  BED_NAME   what the beds are called: NAME-1, NAME-2 … (default: test)
  KEEP       leaves the beds up if it is set

What pytest printed in a bed: BED_HOME/out/BED_NAME-1/results. How long each file took: build/test-durations.json,
by which the next run begins with the longest.

exit status: 0; 1 if a test or a bed failed or pytest crashed; 5 if no test was selected; 130 if interrupted
"""
PYTEST = ("python3", "-m", "pytest", "-p", "no:cacheprovider")
STOP_LIMIT = 20.0


@dataclass
class Run:
    """A run in several beds.

    Attributes:
        beds: the beds, none of which is taken to exist.
        bed: the program that boots and removes beds.
        paths: files or directories of tests, relative to the repository.
        options: more words for pytest.
        asides: commands for a shell that run one after another beside the beds.
        keep: leaves the beds up.
        durations: the file that says how long each file took.
        repository: what the beds have at /src.
    """

    beds: Sequence[Settings]
    bed: Path
    paths: Sequence[str]
    options: Sequence[str] = ()
    asides: Sequence[str] = ()
    keep: bool = False
    durations: Path = DURATIONS
    repository: Path = REPOSITORY
    _outcomes: list[Outcome] = field(default_factory=list)
    _ended: list[Aside] = field(default_factory=list)
    _begun: list[Settings] = field(default_factory=list)

    async def run(self) -> int:
        """Run everything and return the exit status; the beds are gone afterwards.

        Raises:
            BedError: a bed did not boot, or ended while tests were running in it.
        """
        start = time.monotonic()
        try:
            first, *others = self.beds
            await self._up(first, quiet=False)
            waiting = deque(await self._parts(first))
            total, beds = len(waiting), min(len(self.beds), max(1, len(waiting)))
            width = max((len(part.file) for part in waiting), default=0)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._work(first, waiting, total, width))
                    for other in others[: beds - 1]:
                        group.create_task(self._join(other, waiting, total, width))
                    group.create_task(self._beside())
            except* BedError as errors:
                # one bed's end ends the others; what they say then is no news
                raise BedError(str(errors.exceptions[0])) from None
            finally:
                if not self.options and not any("::" in path for path in self.paths):
                    parts.write_durations(self.durations, self._outcomes)
        finally:
            await self._end()
        if not total:
            print("no test was selected", flush=True)
            return NOTHING_SELECTED
        for line in parts.remarks([*self._outcomes, *self._ended]):
            print(line)
        print(parts.summary(self._outcomes, total, beds, time.monotonic() - start, self._ended), flush=True)
        return parts.status_of(self._outcomes, total, self._ended)

    async def _parts(self, bed: Settings) -> list[Part]:
        """Ask pytest which files have tests that are selected, and put them in order."""
        words = [*PYTEST, "--collect-only", "-qq", *self.options, *(INSIDE + path for path in self.paths)]
        status, output = await self._in_bed(bed, "collect", words)
        if status in (0, NOTHING_SELECTED):
            found = parts.collected(output, self.paths)
        elif status == 2:  # a file that cannot be imported, for one: it says so itself when its turn comes
            found = parts.uncollected(self.paths, self.repository)
        else:
            raise BedError(f"pytest cannot say which tests there are (exit status {status}):\n{output.rstrip()}")
        return parts.in_order(found, parts.read_durations(self.durations), self.repository)

    async def _join(self, bed: Settings, waiting: deque[Part], total: int, width: int) -> None:
        if waiting:
            await self._up(bed, quiet=True)
        await self._work(bed, waiting, total, width)

    async def _work(self, bed: Settings, waiting: deque[Part], total: int, width: int) -> None:
        """Run one part after another as long as there are any."""
        while waiting:
            outcome = await self._run_part(bed, waiting.popleft())
            self._outcomes.append(outcome)
            print(outcome.line(len(self._outcomes), total, width), flush=True)
            if outcome.good:
                continue
            print(outcome.output.rstrip(), flush=True)
            if outcome.counts is None and (await self._in_bed(bed, "alive", ["true"]))[0] != 0:
                raise BedError(f"the bed {bed.name!r} ended while {outcome.part.file} was running")
            if {"-x", "--exitfirst"} & set(self.options):
                waiting.clear()

    async def _beside(self) -> None:
        """Run the commands, which have a bed of their own by its name if they want one."""
        for number, command in enumerate(self.asides, start=1):
            log = self._results(self.beds[0]) / f"beside-{number}.log"
            start = time.monotonic()
            with log.open("wb") as file:
                status = await _run(["sh", "-c", command], file.fileno(), BED_NAME=f"{self.beds[0].name}-b")
            ended = Aside(command, status, time.monotonic() - start, log.read_text(errors="replace"))
            self._ended.append(ended)
            print(ended.line(), flush=True)
            if not ended.good:
                print(ended.output.rstrip(), flush=True)

    async def _run_part(self, bed: Settings, part: Part) -> Outcome:
        name = Path(part.file).stem
        report = self._results(bed) / f"{name}.xml"
        report.unlink(missing_ok=True)
        words = [*PYTEST, f"--junit-xml=/out/results/{name}.xml", *self.options]
        start = time.monotonic()
        status, output = await self._in_bed(bed, name, [*words, *(INSIDE + target for target in part.targets)])
        return Outcome(part, bed.name, status, parts.read_report(report), time.monotonic() - start, output)

    async def _in_bed(self, bed: Settings, name: str, words: Sequence[str]) -> tuple[int, str]:
        """Run a command in a bed and return its exit status and what it printed."""
        # into a file: a pipe would stay open with whatever a test leaves running
        log = self._results(bed) / f"{name}.log"
        with log.open("wb") as file:
            status = await self._bed(bed, ["exec", "--", *words], file.fileno())
        return status, log.read_text(errors="replace")

    async def _up(self, bed: Settings, *, quiet: bool) -> None:
        """Have a new bed; everything that beds share is there when the first is up."""
        self._begun.append(bed)
        for words in (["down"], ["up"]):
            log = self._results(bed) / f"{words[0]}.log"
            with log.open("wb") as file:
                status = await self._bed(bed, words, file.fileno() if quiet else sys.stderr.fileno())
            if status != 0:
                said = log.read_text(errors="replace").rstrip()
                raise BedError(f"the bed {bed.name!r} did not come up{':' if said else ''}\n{said}".rstrip())

    async def _end(self) -> None:
        if self.keep:
            for bed in self._begun:
                print(f"the bed is left up: BED_NAME={bed.name} tests/bed/bed shell", file=sys.stderr)
            return
        logs = [self._results(bed) / "end.log" for bed in self._begun]
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(log.open("wb")) for log in logs]
            downs = [self._bed(bed, ["down"], file.fileno()) for bed, file in zip(self._begun, files, strict=True)]
            statuses = await asyncio.gather(*downs)
        failed = [log.read_text(errors="replace") for log, status in zip(logs, statuses, strict=True) if status != 0]
        if failed:
            raise BedError("".join(failed).rstrip())

    async def _bed(self, bed: Settings, words: Sequence[str], output: int) -> int:
        """Run the bed's program and return its exit status."""
        return await _run([str(self.bed), *words], output, BED_NAME=bed.name, BED_HOME=str(bed.home))

    @staticmethod
    def _results(bed: Settings) -> Path:
        directory = bed.out / "results"
        directory.mkdir(parents=True, exist_ok=True)
        return directory


async def _run(words: Sequence[str], output: int, **variables: str) -> int:
    """Run a program and return its exit status; if this task is cancelled, it and all that it started are ended."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **variables},
        # Ctrl-C is for us, who tell the others
        start_new_session=True,
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_LIMIT)
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="in-beds",
        description="Shares the files of a directory of tests out over several fresh beds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="CMD",
        help="a shell's command to run meanwhile; several: in turn",
    )
    parser.add_argument("directory", help="of tests, relative to the repository: tests/system")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="paths that narrow it, and options of pytest")
    arguments = parser.parse_args(argv)
    try:
        paths, options = parts.split(arguments.words, REPOSITORY)
        paths = paths or [arguments.directory]
        beds = beds_named(os.environ.get("BEDS") or "2", os.environ.get("BED_NAME") or "test")
        if len(beds) == 1 and not arguments.beside:
            _in_one_bed(beds[0], [*options, *(INSIDE + path for path in paths)])
        run = Run(beds, BED_SOURCES / "bed", paths, options, arguments.beside, keep=bool(os.environ.get("KEEP")))
        return asyncio.run(until_told(run))
    except BedError as error:
        print(f"in-beds: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nin-beds: interrupted", file=sys.stderr)
        return 130


def beds_named(number: str, name: str) -> list[Settings]:
    """Settings of the beds that the environment asks for.

    Raises:
        BedError: it asks for none, or by a name that none can have.
    """
    if not number.isdecimal() or not 1 <= int(number) <= 9:
        raise BedError(f"BEDS={number} is no number of beds: 1 to 9")
    if int(number) == 1:
        return [from_environment(name)]
    return [from_environment(f"{name}-{one}") for one in range(1, int(number) + 1)]


def _in_one_bed(bed: Settings, words: Sequence[str]) -> None:
    """Become pytest in one bed."""
    program = str(BED_SOURCES / "in-fresh-bed")
    os.execve(program, [program, *PYTEST, *words], {**os.environ, "BED_NAME": bed.name})


async def until_told(run: Run) -> int:
    """Run it; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.create_task(run.run())
    told = False

    def tell() -> None:
        nonlocal told
        told = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
