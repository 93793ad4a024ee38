"""A batch of rows as a provider gets it."""

from collections.abc import Sequence
from dataclasses import dataclass

from nanoclaw_runner.content import read
from nanoclaw_runner.contract.rows import InboundRow
from nanoclaw_runner.system_rows import SYSTEM, note_of

_CONTEXT_MARK = "[earlier, not addressed to you] "
_HOST_MARK = "[system] "


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a prompt; context was said in the chat without asking the agent. The host has no sender."""

    sender: str
    text: str
    context: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a provider is asked.

    Attributes:
        reference: id of the message that is answered; a repeated turn has the same.
        lines: the messages, oldest first.
    """

    reference: str
    lines: tuple[Line, ...]

    def rendered(self) -> str:
        """Return the prompt for a model: who said what, context marked."""
        return "\n".join(_rendered(line) for line in self.lines)

    def raw(self) -> str:
        """Return the bare texts, one after the other."""
        return "\n".join(line.text for line in self.lines)


def from_rows(reference: str, rows: Sequence[InboundRow]) -> Prompt:
    """Read the rows' contents into a prompt."""
    return Prompt(reference=reference, lines=tuple(_line(row) for row in rows))


def _line(row: InboundRow) -> Line:
    if row.kind == SYSTEM:
        return Line(sender="", text=f"{_HOST_MARK}{note_of(row)}", context=False)
    said = read(row.content)
    return Line(sender=said.sender, text=said.text, context=not row.trigger)


def _rendered(line: Line) -> str:
    mark = _CONTEXT_MARK if line.context else ""
    return f"{mark}{line.sender}: {line.text}" if line.sender else f"{mark}{line.text}"
