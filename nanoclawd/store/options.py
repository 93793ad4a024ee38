"""Options of a card as a column holds them."""

import json
from collections.abc import Sequence

from nanoclaw_runner.contract.cards import Option


def to_json(options: Sequence[Option]) -> str:
    """Return the column of some options."""
    return json.dumps([{"label": one.label, "value": one.value, "done": one.done} for one in options])


def from_json(text: str) -> tuple[Option, ...]:
    """Read the column, which only this appliance writes."""
    return tuple(Option(one["label"], one["value"], one["done"]) for one in json.loads(text))
