"""Fuzzes the readers of frames and messages: ``make fuzz SECONDS=60 TARGETS='card body'``."""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fuzz.targets import CORPUS, TARGETS, WORDS

_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_LEFT = re.compile(r"Test unit written to (\S+)")
_COVERED = re.compile(r"cov: (\d+)")
_MOST_BYTES = 4096
_LONGEST_INPUT_SECONDS = 20
_MOST_MEMORY_MIB = 1024
_SHOWN_LINES = 40


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one target."""

    name: str
    ok: bool
    inputs: int
    seconds: int
    covered: int
    tail: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Coverage-guided fuzzing with atheris.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--place", type=Path, required=True, help="where corpora grow and failing inputs are left")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    given = parser.parse_args()
    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        running = [threads.submit(_run, name, given.place, given.seconds) for name in given.targets or TARGETS]
        results = []
        for one in running:
            results.append(result := one.result())
            said = "ok" if result.ok else "FAILED"
            counts = f"{result.inputs:>10} inputs {result.seconds:>5} s {result.covered:>5} branches"
            print(f"{result.name:<16} {counts}  {said}", flush=True)
    for result in results:
        if not result.ok:
            print(f"\n{result.name}:\n{result.tail}")
    return 0 if all(result.ok for result in results) else 1


def _run(name: str, place: Path, seconds: int) -> Result:
    grown, failed = place / "corpus" / name, place / "failed"
    for directory in (grown, failed):
        directory.mkdir(parents=True, exist_ok=True)
    known = CORPUS / name
    command = [
        *(sys.executable, "-m", "fuzz.one", name),
        f"-max_total_time={seconds}",
        f"-max_len={_MOST_BYTES}",
        f"-timeout={_LONGEST_INPUT_SECONDS}",
        f"-rss_limit_mb={_MOST_MEMORY_MIB}",
        f"-artifact_prefix={failed}/{name}-",
        f"-dict={WORDS}",
        *(str(directory) for directory in (grown, known) if directory.is_dir()),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    said = done.stdout + done.stderr
    if left := _LEFT.search(said):
        said += _again(name, Path(left[1]))
    counted, covered = _DONE.search(said), _COVERED.findall(said)
    return Result(
        name,
        done.returncode == 0 and counted is not None,
        int(counted[1]) if counted else 0,
        int(counted[2]) if counted else 0,
        int(covered[-1]) if covered else 0,
        "\n".join(said.splitlines()[-_SHOWN_LINES:]),
    )


def _again(name: str, failing: Path) -> str:
    """Give a target its failing input once more, without the fuzzer: its own output has no stack."""
    command = [sys.executable, "-X", "faulthandler", "-m", "fuzz.again", name, failing]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    return f"\n{done.stdout}{done.stderr}\nagain: python3 -m fuzz.again {name} {failing}\n"


if __name__ == "__main__":
    sys.exit(main())
