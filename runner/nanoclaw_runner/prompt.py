"""A batch of rows as a provider gets it.

``addressed``: an element for each row, in the order in which they were written, whatever their kinds, with what the
agent needs to act on it: its number, where it came from, who said it and when. Everything from outside is escaped, so
no text looks like an element. ``plain``: bare words for models that elements only confuse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from html import escape
from pathlib import Path
from typing import Literal

from nanoclaw_runner.content import Attachment, Change, Quote, as_text, fields, read
from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.places import INBOUND_DB
from nanoclaw_runner.contract.rows import Address, InboundRow
from nanoclaw_runner.system_rows import SYSTEM, note_of

_CONTEXT_MARK = "[earlier, not addressed to you] "
_HOST_MARK = "[system] "
_CHANGED = {"edited": "edit", "deleted": "deletion", "reacted": "reaction"}
_CHANGED_PLAIN = {
    "edited": "(changes an earlier message to) ",
    "deleted": "(deletes an earlier message)",
    "reacted": "(reacts to an earlier message with) ",
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MAX_NAME_CHARACTERS = 200


def _nobody(_address: Address) -> str:
    return ""


def _no_number(_platform_id: str, _address: Address) -> int | None:
    return None


@dataclass(frozen=True, slots=True)
class View:
    """How rows are shown.

    Attributes:
        zone: the owner's.
        zone_name: its name, as the model is told.
        named: gives a place's name in the agent's own address book.
        numbered: gives the number of the message that has a platform's id in a place, None where it has none.
        received: the directory below which attachments lie.
        now: the present moment.
    """

    style: Literal["addressed", "plain"] = "plain"
    zone: tzinfo = UTC
    zone_name: str = "UTC"
    named: Callable[[Address], str] = _nobody
    numbered: Callable[[str, Address], int | None] = _no_number
    received: Path = INBOUND_DB.parent
    now: Callable[[], datetime] = clock.now


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a prompt.

    Attributes:
        sender: the host has none.
        context: it was said in the chat without asking the agent.
        quote: what it answers.
        attachments: the files that came with it, with their whole paths.
        change: it is no message but what was done to an earlier one.
    """

    sender: str
    text: str
    context: bool
    quote: Quote | None = None
    attachments: tuple[Attachment, ...] = ()
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a provider is asked.

    Attributes:
        reference: id of the message that is answered; a repeated turn has the same.
        lines: the messages, oldest first.
        text: all of them, for a model.
    """

    reference: str
    lines: tuple[Line, ...]
    text: str

    def rendered(self) -> str:
        """Return the prompt for a model."""
        return self.text

    def raw(self) -> str:
        """Return the bare texts, one after the other."""
        return "\n".join(line.text for line in self.lines)


def from_rows(
    reference: str, rows: Sequence[InboundRow], view: View | None = None, notes: Sequence[str] = ()
) -> Prompt:
    """Read the rows' contents into a prompt.

    Args:
        reference: id of the message that is answered.
        rows: oldest first.
        view: how they are shown.
        notes: the runner's own words to the agent, before everything else.
    """
    view = view or View()
    lines = tuple(_line(row, view) for row in rows)
    told = tuple(Line(sender="", text=f"{_HOST_MARK}{note}", context=False) for note in notes)
    if view.style == "plain":
        parts = [_plain(line, row) for line, row in zip(lines, rows, strict=True)]
        text = "\n".join([*(line.text for line in told), *parts])
    else:
        parts = [_element(row, line, view) for line, row in zip(lines, rows, strict=True)]
        notes_shown = [_tag("system", {}, note) for note in notes]
        now = _tag("context", {"timezone": view.zone_name, "now": shown_time(view.now(), view.zone)})
        text = "\n".join([now, *notes_shown, *parts])
    return Prompt(reference, (*told, *lines), text)


def from_note(reference: str, note: str, view: View) -> Prompt:
    """Return a prompt of the runner's own words."""
    return from_rows(reference, (), view, (note,))


def shown_time(moment: datetime, zone: tzinfo) -> str:
    """Return a moment in a zone, to the second and with its offset: the hour that a clock repeats is told apart."""
    try:
        local = moment.astimezone(zone)
    except (OverflowError, ValueError):
        return ""
    return f"{_DAYS[local.weekday()]} {local.isoformat(sep=' ', timespec='seconds')}"


def _line(row: InboundRow, view: View) -> Line:
    if row.kind == SYSTEM:
        return Line(sender="", text=f"{_HOST_MARK}{note_of(row)}", context=False)
    said = read(row.content)
    if row.kind == "webhook":
        said = replace(said, text=_payload(row), sender="")
    attachments = tuple(
        replace(one, path=str(view.received / one.path)) if one.path else one for one in said.attachments
    )
    return Line(said.sender, said.text, not row.trigger, said.quote, attachments, said.change)


def _payload(row: InboundRow) -> str:
    """Return what a program has sent, as text; a row without a payload is one itself."""
    return as_text(fields(row.content).get("payload", row.content))


def _element(row: InboundRow, line: Line, view: View) -> str:
    known: dict[str, str] = {}
    if row.seq:
        known["id"] = str(row.seq)
    if row.address is not None:
        known["from"] = view.named(row.address)
    time = _shown(row.timestamp, view)
    if row.kind == SYSTEM:
        return _tag("system", _without("from", known) | {"time": time}, note_of(row))
    if row.kind == "task":
        return _task(row, known | {"time": time}, line.text, view)
    if row.kind == "webhook":
        found = fields(row.content)
        also = {name: as_text(found.get(name, ""))[:_MAX_NAME_CHARACTERS] for name in ("source", "event")}
        files = [_attached(one) for one in line.attachments]
        return _wrapped("webhook", known | {"time": time} | also, [escape(line.text, quote=False), *files])
    known |= {"sender": line.sender, "time": time}
    if line.change is not None:
        known["of"] = _number(line.change.id, row, view)
        return _tag(_CHANGED[line.change.kind], known, line.text)
    if not row.trigger:
        known["context"] = "yes"
    parts: list[str] = []
    if line.quote is not None:
        known["reply_to"] = _number(line.quote.id, row, view)
        parts = [_tag("quoted_message", {"from": line.quote.sender}, line.quote.text)] if line.quote.text else []
    parts.append(escape(line.text, quote=False))
    parts += [_attached(one) for one in line.attachments]
    return _wrapped("message", known, parts)


def _number(platform_id: str, row: InboundRow, view: View) -> str:
    """Return the number by which the agent knows a message that the platform has an id for, or nothing."""
    if not platform_id or row.address is None:
        return ""
    return str(view.numbered(platform_id, row.address) or "")


def _task(row: InboundRow, known: Mapping[str, str], prompt: str, view: View) -> str:
    found = fields(row.content)
    known = dict(known)
    if isinstance(found.get("occurrence"), str):
        known["due"] = _shown(found["occurrence"], view)
    if found.get("late"):
        known["late"] = "yes"
    if isinstance(found.get("taskId"), str):
        known["task"] = found["taskId"]
    parts = []
    if found.get("scriptOutput") is not None:
        parts.append(_tag("script_output", {}, as_text(found["scriptOutput"])))
    return _wrapped("task", known, [*parts, escape(prompt, quote=False)])


def _plain(line: Line, row: InboundRow) -> str:
    if row.kind == SYSTEM:
        return line.text
    parts = [_CONTEXT_MARK if line.context else ""]
    if line.sender:
        parts.append(f"{_unmarked(line.sender)}: ")
    if line.quote is not None and line.quote.text:
        whose = f" {line.quote.sender}'s" if line.quote.sender else ""
        parts.append(f'[in answer to{whose} "{_unmarked(line.quote.text)}"] ')
    if line.change is not None:
        parts.append(_CHANGED_PLAIN[line.change.kind])
    parts.append(_unmarked(line.text))
    parts += [f"\n[attached: {_described(one)}]" for one in line.attachments]
    output = fields(row.content).get("scriptOutput") if row.kind == "task" else None
    if output is not None:
        parts.append(f"\n[the script says: {_unmarked(as_text(output))}]")
    return "".join(parts)


def _unmarked(text: str) -> str:
    """Return a person's text in which nothing passes for the host's words or an overheard message."""
    for mark in (_HOST_MARK, _CONTEXT_MARK):
        begin = mark.rstrip("] ")
        if begin in text:
            text = text.replace(begin, f"({begin[1:]}")
    return text


def _attached(one: Attachment) -> str:
    size = "" if one.size is None else str(one.size)
    shown = {"name": one.name, "type": one.type, "size": size, "path": one.path, "problem": one.problem}
    return _tag("attachment", shown)


def _described(one: Attachment) -> str:
    size = "" if one.size is None else f"{one.size} bytes"
    return ", ".join(part for part in (one.name, one.type, size, one.path, one.problem) if part)


def _shown(time: str, view: View) -> str:
    """Return a stored time as it is shown, empty for one that is none."""
    try:
        return shown_time(clock.parse(time), view.zone)
    except ValueError:
        return ""


def _tag(name: str, attributes: Mapping[str, str], text: str | None = None) -> str:
    begin = f"<{name}{_attributes(attributes)}"
    return f"{begin}/>" if text is None else f"{begin}>{escape(text, quote=False)}</{name}>"


def _wrapped(name: str, attributes: Mapping[str, str], parts: Sequence[str]) -> str:
    """Return an element of parts that are escaped already."""
    inner = "\n".join(part for part in parts if part)
    return f"<{name}{_attributes(attributes)}>{inner}</{name}>"


def _attributes(attributes: Mapping[str, str]) -> str:
    """Return attributes; those without a value are left out, and none has more than one line."""
    shown = {name: escape(" ".join(value.split())) for name, value in attributes.items() if value}
    return "".join(f' {name}="{value}"' for name, value in shown.items())


def _without(name: str, attributes: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if key != name}
