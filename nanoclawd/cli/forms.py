"""How fields of objects are shown to people."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nanoclawd.cli import show
from nanoclawd.cli.clean import clean, clean_line
from nanoclawd.cli.spec import Column, Resource

_MOMENTS = ("_at", "_seen", "_active", "since")
_LIMITS = ("daily_tokens", "daily_cost")
_LONG_CHARACTERS = 100
_SHORT_CHARACTERS = 60
_CARD = {"none": "nobody to ask", "waiting": "not yet", "failed": "failed"}


def table(resource: Resource, records: Iterable[Mapping[str, Any]]) -> None:
    """Print a table; columns that are empty everywhere are left out."""
    rows = [[cell(column, record) for column in resource.columns] for record in records]
    kept = [number for number in range(len(resource.columns)) if any(row[number] for row in rows)]
    show.table(
        [resource.columns[number].title for number in kept],
        [[row[number] for number in kept] for row in rows],
        resource.empty,
    )


def cell(column: Column, record: Mapping[str, Any]) -> str:
    """Return a field as a table has it."""
    value = record.get(column.field)
    match column.form:
        case "place":
            return place(record)
        case "doing":
            return _text(record.get("status") or record.get("reason"))
        case "card":
            return _text(record.get("asked")) if value == "delivered" else _CARD.get(str(value), _text(value))
        case "ago":
            return moment(value)
        case "local":
            return local(value, record.get("zone"))
        case "short":
            return clean_line(_text(value), _SHORT_CHARACTERS)
        case "kind":
            return "group" if value else "direct"
        case "size":
            return show.size(value) if isinstance(value, int) else _text(value)
        case _:
            return _text(value)


def place(record: Mapping[str, Any]) -> str:
    """Return a chat as people type it."""
    chat = _text(record.get("chat"))
    return f"{record['channel']}:{chat}" if record.get("channel") else chat


def details(record: Mapping[str, Any]) -> None:
    """Print an object, a field a line; long texts stand below their names."""
    shown = {name: value for name, value in record.items() if value is not None and value != []}
    width = max((len(name) for name in shown), default=0) + 1
    for name, value in shown.items():
        label = f"{name.replace('_', ' ')}:"
        text = _detail(name, value)
        if "\n" in text or len(text) > _LONG_CHARACTERS:
            show.say("\n".join([label, *(f"    {line}" for line in text.splitlines())]))
        else:
            show.say(f"{label.ljust(width)} {text}")


def moment(text: str | None) -> str:
    """Return how long ago a moment was, or how far away it is."""
    if not text:
        return ""
    try:
        away = (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return text
    return f"in {show.duration(away)}" if away >= 1 else show.ago(text)


def local(text: str | None, zone: str | None) -> str:
    """Return a moment as a clock in its zone shows it."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text).astimezone(ZoneInfo(zone) if zone else None)
    except (ValueError, TypeError, OSError, ZoneInfoNotFoundError):
        return text
    return f"{moment:%Y-%m-%d %H:%M %Z}" if not moment.second else f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def _detail(name: str, value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "\n".join(f"{number}. {_option(one)}" for number, one in enumerate(value, start=1))
    if name in _LIMITS and not value:
        return "no limit"
    if isinstance(value, str) and name.endswith(_MOMENTS):
        return f"{clean_line(value)} ({moment(value)})"
    if isinstance(value, str):
        return clean(value)
    return _text(value)


def _option(value: Mapping[str, Any]) -> str:
    label, meaning = clean_line(str(value.get("label"))), clean_line(str(value.get("value")))
    return label if label == meaning else f"{label} ({meaning})"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    return str(value)
