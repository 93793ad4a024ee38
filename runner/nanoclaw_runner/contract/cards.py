"""Cards: a title, a text and options to choose from. Agents ask with them, and so does the appliance itself.

A card row's content is ``{"title", "text", "options": [{"label", "value", "done"}], "reference"}``. A channel that has
buttons shows them; elsewhere the options are numbered, and the number or the label is the answer.

A card that asks nothing has ``"fallback"`` in the place of options: what a channel without cards is given instead.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from nanoclaw_runner.contract.text import storable

MAX_TITLE_CHARACTERS = 200
MAX_TEXT_BYTES = 8 * 1024
MAX_OPTIONS = 10
MAX_LABEL_CHARACTERS = 60
MAX_VALUE_BYTES = 200
MAX_REFERENCE_CHARACTERS = 200
_MARKUP = re.compile(r"[\\`*_\[\]<>|~]|&#?\w+;")
_BEGINS_A_BLOCK = re.compile(r"[ #+=-]|[0-9]+[.)]")


@dataclass(frozen=True, slots=True)
class Option:
    """One choice: what the button says, what it means, and what stands in its place once it was chosen."""

    label: str
    value: str
    done: str


@dataclass(frozen=True, slots=True)
class Card:
    """A question, or without options a mere display.

    Attributes:
        reference: the asker's own name for a question, which comes back with the answer.
        fallback: what is shown in a display's place where there are no cards.
    """

    title: str
    text: str
    options: tuple[Option, ...]
    reference: str = ""
    fallback: str = ""

    def option(self, value: str) -> Option | None:
        """Return the option of a value."""
        return next((option for option in self.options if option.value == value), None)


def literal(text: str) -> str:
    """Return a line that somebody else chose as a card's text shows it exactly.

    Channels read a card's text as Markdown, which has ways to hide words: a link shows its name in the place of where
    it leads, a spoiler is black, a backslash vanishes.

    >>> literal("/a?to=[friend](https://foe.example)")
    '`/a?to=[friend](https://foe.example)`'
    >>> literal('{"to": "all"}')
    '{"to": "all"}'
    """
    if not _MARKUP.search(text) and not _BEGINS_A_BLOCK.match(text):
        return text
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    edge = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def to_content(card: Card) -> str:
    """Return a card row's content."""
    content: dict[str, object] = {"title": card.title, "text": card.text}
    if card.options:
        content["options"] = [{"label": one.label, "value": one.value, "done": one.done} for one in card.options]
        content["reference"] = card.reference
    else:
        content["fallback"] = card.fallback
    return json.dumps(content, ensure_ascii=False)


def from_content(content: str) -> Card:
    """Read a card row's content strictly: a card that can't be shown in full is refused, never shortened.

    An option may be a bare text, which is its label, value and outcome in one.

    Raises:
        ValueError: not a card, or one beyond its bounds; the message says what is wrong, for the agent.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("the card is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("the card is no JSON object")  # noqa: TRY004  # a malformed row, not a caller's mistake
    title = _text(found, "title", MAX_TITLE_CHARACTERS)
    text = found.get("text", "")
    if not isinstance(text, str) or len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        raise ValueError(f"a card's text is a string of at most {MAX_TEXT_BYTES} bytes")
    if "fallback" in found and not found.get("options"):
        return Card(title, storable(text), (), fallback=_fallback(found))
    options = found.get("options")
    if not isinstance(options, list) or not 1 <= len(options) <= MAX_OPTIONS:
        raise ValueError(f"a card has 1 to {MAX_OPTIONS} options")
    read = tuple(_option(one) for one in options)
    for kind in ("label", "value"):
        if len({_folded(getattr(one, kind)) for one in read}) < len(read):
            raise ValueError(f"two options of a card have the same {kind}")
    reference = found.get("reference", "")
    if not isinstance(reference, str) or len(reference) > MAX_REFERENCE_CHARACTERS:
        raise ValueError(f"a card's reference is a string of at most {MAX_REFERENCE_CHARACTERS} characters")
    return Card(title, storable(text), read, storable(reference))


def as_text(card: Card, *, tag: str = "") -> str:
    """Return a card as plain text with numbered options, for a channel without buttons.

    Args:
        card: what is asked.
        tag: short id that a person writes before the number where several cards are open.
    """
    if not card.options and card.fallback:
        return card.fallback
    lines = [card.title]
    if card.text:
        lines += ["", card.text]
    if not card.options:
        return "\n".join(lines)
    lines.append("")
    lines += [f"{number}. {option.label}" for number, option in enumerate(card.options, start=1)]
    lines.append("")
    also = f" If several questions are open, write {tag} before it." if tag else ""
    lines.append(f"Reply with the number of your choice, or its words.{also}")
    return "\n".join(lines)


def chosen(text: str, options: Sequence[Option]) -> Option | None:
    """Return the option that a text means: exactly its number or exactly its label, in any case.

    A text of nothing but full stops, as of a message with nothing but a picture, means none, whatever labels there are.
    """
    said = _folded(text)
    if not said:
        return None
    if said.isascii() and said.isdecimal() and len(said) <= len(str(MAX_OPTIONS)):
        number = int(said)
        return options[number - 1] if 1 <= number <= len(options) else None
    return next((option for option in options if _folded(option.label) == said), None)


def _option(found: object) -> Option:
    if isinstance(found, str):
        found = {"label": found}
    if not isinstance(found, dict):
        raise ValueError("an option is a string or an object with a label")  # noqa: TRY004  # as above
    label = _text(found, "label", MAX_LABEL_CHARACTERS)
    value, done = found.get("value", label), found.get("done", label)
    if not isinstance(value, str) or not value or len(value.encode(errors="replace")) > MAX_VALUE_BYTES:
        raise ValueError(f"an option's value is a string of 1 to {MAX_VALUE_BYTES} bytes")
    if not isinstance(done, str) or len(done) > MAX_TITLE_CHARACTERS:
        raise ValueError(f"an option's done is a string of at most {MAX_TITLE_CHARACTERS} characters")
    return Option(label, storable(value), storable(done))


def _fallback(found: dict[str, object]) -> str:
    value = found["fallback"]
    if not isinstance(value, str) or len(value.encode(errors="replace")) > MAX_TEXT_BYTES:
        raise ValueError(f"a card's fallback is a string of at most {MAX_TEXT_BYTES} bytes")
    return storable(value)


def _text(found: dict[str, object], key: str, limit: int) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        raise ValueError(f"a card needs a {key} of 1 to {limit} characters")
    return storable(value)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".)")
