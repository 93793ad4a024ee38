"""What a run over several beds consists of: one part for each file of tests, in which order, and how each ended."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INSIDE = "/src/"
"""Where a bed has the repository."""

NOTHING_SELECTED = 5
"""pytest's exit status when no test was to be run."""

# options whose value is a word of its own, which may look like a path
_WITH_VALUE = frozenset(("-k", "-m", "-p", "-o", "-c", "-W", "--deselect", "--ignore", "--ignore-glob", "--rootdir"))
_COLLECTED = re.compile(r"^(\S+\.py)(?:: (\d+)|::.*)$")
_HEADING = re.compile(r"^=+ (warnings summary|short test summary info) .*=$")
_BAR = re.compile(r"^=.*=$|^-- Docs: ")
_COUNTS = re.compile(r"^=+ .* in [0-9.]+s.* =+$")
_NOTE = "not checked here: "


@dataclass(frozen=True)
class Part:
    """A file of tests, and what of it pytest is to run."""

    file: str
    """Relative to the repository."""
    targets: tuple[str, ...]
    tests: int | None = None
    """How many are selected; None: not known."""


@dataclass(frozen=True)
class Counts:
    """How many tests ended in which way."""

    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.errors + other.errors,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        said = [f"{number} {word}" for word, number in vars(self).items() if number]
        said = [one if one != "1 errors" else "1 error" for one in said]
        return ", ".join(said) or "no tests"


@dataclass(frozen=True)
class Outcome:
    """How a part ended."""

    part: Part
    bed: str
    status: int
    """pytest's exit status; negative: the number of the signal that ended it."""
    counts: Counts | None
    """None: pytest left no report, because it crashed."""
    seconds: float
    output: str

    @property
    def good(self) -> bool:
        """True if nothing failed, an empty selection included."""
        if self.status == NOTHING_SELECTED:
            return True
        return self.status == 0 and self.counts is not None and not self.counts.failed and not self.counts.errors

    def line(self, number: int, total: int, width: int) -> str:
        """Say it in one line; `width` is that of the longest file's name."""
        counts = str(self.counts) if self.counts is not None else "pytest crashed"
        word = "ok    " if self.good else "FAILED"
        status = "" if self.good else f" (exit status {self.status})"
        place = f"{number:>{len(str(total))}}/{total}"
        return f"{place}  {self.bed}  {word}  {self.part.file:<{width}}  {self.seconds:>6.1f} s  {counts}{status}"


@dataclass(frozen=True)
class Aside:
    """How a command ended that ran beside the beds."""

    command: str
    status: int
    seconds: float
    output: str

    @property
    def good(self) -> bool:
        """True if nothing failed."""
        return self.status == 0

    def line(self) -> str:
        """Say it in one line, with pytest's last one or the last of all."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        said = [line.strip("= ") for line in [line for line in lines if _COUNTS.match(line)] or lines]
        word = "ok    " if self.good else "FAILED"
        status = "" if self.good else f" (exit status {self.status})"
        return f"beside  {word}  {self.command}  {self.seconds:.1f} s  {said[-1] if said else ''}".rstrip() + status


def split(words: Sequence[str], repository: Path) -> tuple[list[str], list[str]]:
    """Part what was typed after a directory into paths, relative to the repository, and options of pytest.

    A path may be absolute as in the bed, and name a test (`file.py::test`).
    """
    paths: list[str] = []
    options: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        path = word.removeprefix(INSIDE)
        looks_like_one = "/" in path or path.partition("::")[0].endswith(".py")
        is_one = looks_like_one and before not in _WITH_VALUE and (repository / path.partition("::")[0]).exists()
        if is_one and not word.startswith("-"):
            paths.append(path.rstrip("/"))
        else:
            options.append(word)
    return paths, options


def collected(output: str, paths: Iterable[str]) -> list[Part]:
    """Read what `pytest --collect-only -qq` printed when it was asked for these paths."""
    found: dict[str, int] = {}
    for line in output.splitlines():
        if match := _COLLECTED.match(line):
            found[match[1]] = found.get(match[1], 0) + int(match[2] or 1)
    return [Part(file, _targets(file, paths), tests) for file, tests in found.items()]


def uncollected(paths: Iterable[str], repository: Path) -> list[Part]:
    """Every file that these paths name, where pytest could not say which of them have selected tests."""
    files: set[str] = set()
    for path in paths:
        place = repository / path.partition("::")[0]
        found = sorted(place.rglob("test_*.py")) if place.is_dir() else [place]
        files |= {str(one.relative_to(repository)) for one in found}
    return [Part(file, _targets(file, paths)) for file in sorted(files)]


def _targets(file: str, paths: Iterable[str]) -> tuple[str, ...]:
    """What of a file these paths name: all of it, or single tests."""
    single = [path for path in paths if path.startswith(f"{file}::")]
    whole = any(file == path or file.startswith(f"{path}/") for path in paths)
    return (file,) if whole or not single else tuple(single)


def in_order(parts: Iterable[Part], durations: Mapping[str, float], repository: Path) -> list[Part]:
    """The longest first, so that the beds end at about the same time.

    A file that was never timed goes before those that were; several such, the one first that has the most sources, with
    those that it imports from beside it.
    """

    def weight(part: Part) -> tuple[float, int]:
        return durations.get(part.file, float("inf")), _extent(repository / part.file)

    return sorted(parts, key=weight, reverse=True)


def _extent(file: Path) -> int:
    """How many bytes of sources are run with a file, of those in its own directory."""
    seen: dict[Path, int] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        seen[path] = len(text)
        for module, names in re.findall(rf"^from {file.parent.name}(?:\.(\w+))? import (.*)$", text, re.MULTILINE):
            found = [module] if module else re.findall(r"\w+", names)
            waiting += [file.parent / f"{name}.py" for name in found]
    return sum(seen.values())


def read_durations(path: Path) -> dict[str, float]:
    """How many seconds each file took in an earlier run; nothing where that is not known."""
    try:
        known = json.loads(path.read_text())
        return {str(file): float(seconds) for file, seconds in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # it only sets the order


def write_durations(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Remember how long these files took."""
    took = {one.part.file: round(one.seconds, 1) for one in outcomes if one.good}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(read_durations(path) | took, indent=1, sort_keys=True) + "\n")
    draft.replace(path)


def read_report(path: Path) -> Counts | None:
    """The counts in a JUnit report of pytest; None if there is no whole one."""
    try:
        suites = list(ET.parse(path).getroot().iter("testsuite"))
        total = Counts()
        for suite in suites:
            tests, failed, errors, skipped = (
                int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
            )
            total += Counts(max(0, tests - failed - errors - skipped), failed, errors, skipped)
    except (OSError, ET.ParseError, ValueError):
        return None
    return total if suites else None


def remarks(outcomes: Iterable[Outcome | Aside]) -> list[str]:
    """What pytest said at the end of what went well besides its counts, each line once."""
    said: dict[str, None] = {}
    for outcome in outcomes:
        if not outcome.good:
            continue  # its whole output was shown
        in_summary = False
        for line in outcome.output.splitlines():
            in_summary = in_summary or _HEADING.match(line) is not None
            if line.startswith(_NOTE) or (in_summary and line.strip() and not _BAR.match(line)):
                said[line] = None
    # a failed part's notes were shown with it, but belong to the whole run
    for outcome in outcomes:
        if not outcome.good:
            said.update((line, None) for line in outcome.output.splitlines() if line.startswith(_NOTE))
    return list(said)


def status_of(outcomes: Sequence[Outcome], total: int, asides: Sequence[Aside] = ()) -> int:
    """The exit status of a run of so many parts: 0, 1, or pytest's own for an empty selection."""
    if not all(one.good for one in outcomes) or not all(one.good for one in asides) or len(outcomes) < total:
        return 1
    return NOTHING_SELECTED if all(one.status == NOTHING_SELECTED for one in outcomes) else 0


def summary(outcomes: Sequence[Outcome], total: int, beds: int, seconds: float, asides: Sequence[Aside] = ()) -> str:
    """The last line of a run."""
    counts = str(sum((one.counts for one in outcomes if one.counts is not None), Counts()))
    crashed = sum(one.counts is None and not one.good for one in outcomes)
    left = total - len(outcomes)
    said = [counts]
    said += [f"{_files(crashed)} whose pytest crashed"] if crashed else []
    said += [f"{_files(left)} not run"] if left else []
    said += [f"failed beside them: {one.command}" for one in asides if not one.good]
    where = f"{_files(total)}, {beds} bed{'s' if beds != 1 else ''}"
    return f"{', '.join(said)} in {seconds:.0f} s ({where}; exit status {status_of(outcomes, total, asides)})"


def _files(number: int) -> str:
    return f"{number} file{'s' if number != 1 else ''}"
