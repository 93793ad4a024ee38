"""Bytes of a fuzzer as what a parser can get far with: numbers, texts, JSON with the right names in it."""

from collections.abc import Sequence
from typing import Any

PIECES = (
    "", " ", "\0", "\n", "\r", "\x1b[2J", "\x9b31m", "\x07", "\u202e", "\u2066", "\u200b", "\u2028", "\ud800", "\udc00",
    "\U0010ffff", "\ufeff", "..", "/", "a/b", ":", "loopback:", "@bot", "/clear", "/stop", "1", "-1", "1.", "0", "%s",
    "{}", "x" * 61, "x" * 201, "\u0301", "\ufdfa", "\u0130", "\u00df", "\uff0f", "\u212a", "null", "Allow", "main",
    "\\", '"', "'",
)  # fmt: skip
NUMBERS = (0, 1, 2, -1, 10, 255, 2**31, 2**53, 2**53 + 1, 2**63, -(2**63), 10**30)


class Shaped:
    """Reads values off bytes; when they are used up, everything is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def flag(self) -> bool:
        return bool(self.byte() & 1)

    def below(self, bound: int) -> int:
        return self.byte() % bound

    def choice[T](self, choices: Sequence[T]) -> T:
        return choices[
            (self.byte() << 8 | self.byte()) % len(choices) if len(choices) > 256 else self.below(len(choices))
        ]

    def text(self) -> str:
        """Return a text of some pieces, each a hostile one or letters as they come, seldom a very long one."""
        made = ""
        for _ in range(self.below(4)):
            kind = self.byte()
            if kind < 128:
                made += PIECES[kind % len(PIECES)]
            elif kind < 250:
                made += self._take(kind % 32).decode("utf-8", "surrogateescape")
            else:
                made += PIECES[self.below(len(PIECES))] * (1 << self.below(15))
        return made

    def maybe_text(self) -> str | None:
        return self.text() if self.flag() else None

    def value(self, depth: int = 3) -> Any:
        """Return JSON of any kind."""
        match self.below(9 if depth else 7):
            case 0:
                return None
            case 1:
                return self.flag()
            case 2:
                return self.byte()
            case 3:
                return NUMBERS[self.below(len(NUMBERS))]
            case 4:
                return self.byte() / 7
            case 5 | 6:
                return self.text()
            case 7:
                return [self.value(depth - 1) for _ in range(self.below(5))]
            case _:
                return {self.text(): self.value(depth - 1) for _ in range(self.below(5))}

    def fields(self, names: Sequence[str], *, right: float = 0.75) -> dict[str, Any]:
        """Return an object with some of these names; most values are texts, as most fields are."""
        made: dict[str, Any] = {}
        for name in names:
            kind = self.byte()
            if kind < 64:
                continue
            made[name] = self.text() if kind < 64 + 192 * right else self.value()
        if self.byte() > 240:
            made[self.text()] = self.value()
        return made

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken
