"""What was measured, what it was to be, and how both are shown."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Of(Enum):
    """What a target bounds."""

    MEDIAN = "p50"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Target:
    """An upper bound that a result is held against. Missing it is a finding, not a failure of the run."""

    of: Of
    most: float

    def met_by(self, result: "Result") -> bool:
        """Tell whether a result keeps the bound."""
        value = result.p50 if self.of is Of.MEDIAN else result.ratio
        return value is not None and value <= self.most

    def __str__(self) -> str:
        return f"{self.of.value} ≤ {self.most:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement.

    Attributes:
        baseline: what it is compared with, in the same unit and measured in the same run; None without one.
        note: what a reader of the table should know beside the numbers.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    baseline: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def p99(self) -> float:
        """The 99th percentile: the nearest rank, so always a value that was measured."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    @property
    def ratio(self) -> float | None:
        """The median over the baseline."""
        return self.p50 / self.baseline if self.baseline else None

    def as_json(self) -> dict[str, object]:
        """Return what the result file holds."""
        return {
            "name": self.name,
            "unit": self.unit,
            "n": len(self.samples),
            "p50": self.p50,
            "p99": self.p99,
            "baseline": self.baseline,
            "ratio": self.ratio,
        }


def write_json(path: Path, results: Iterable[Result]) -> None:
    """Write the results as a list of objects."""
    text = json.dumps([result.as_json() for result in results], indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def table(results: Sequence[Result]) -> str:
    """Lay the results out for a person."""
    heads = ("name", "unit", "n", "p50", "p99", "baseline", "ratio", "target", "")
    rows = [heads, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"{result.name}: {result.note}" for result in results if result.note]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *notes])


def _row(result: Result) -> tuple[str, ...]:
    mark = "" if result.target is None else "met" if result.target.met_by(result) else "MISSED"
    return (
        result.name,
        result.unit,
        str(len(result.samples)),
        _number(result.p50),
        _number(result.p99),
        _number(result.baseline),
        _number(result.ratio),
        str(result.target or ""),
        mark,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
