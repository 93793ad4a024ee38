"""Who gets which part of an answer.

Where there is one place that an answer can go to, everything that is said goes there, with or without a tag. Where
there are several, what is for nobody in particular is for nobody, and the agent is asked once to say whom it meant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.rows import AGENT
from nanoclaw_runner.destinations import Destination, find
from nanoclaw_runner.output import Piece

MAX_MESSAGES: Final = 32
"""In one answer; of an answer with more, the rest is left out with a word."""

_SHOWN_NAME_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Sorted:
    """An answer's parts.

    Attributes:
        sent: what goes where, in order; None: to where it was asked.
        unknown: names that nobody has, with what was for them.
        loose: what was said to nobody, where somebody has to be named.
    """

    sent: tuple[tuple[Destination | None, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    loose: str = ""


def sort_out(
    pieces: Sequence[Piece],
    places: tuple[Destination, ...],
    asked: Destination | None,
    *,
    named: bool,
    strict: bool = True,
    spoken: bool = False,
) -> Sorted:
    """Sort an answer.

    Args:
        pieces: its parts.
        places: where it can go.
        asked: where the question came from; None: from nowhere that has a name.
        named: what is to be sent has to name its place.
        strict: a name that nobody has is a mistake, not one more way to say "you".
        spoken: the asker has been written to before, so that words around blocks are thoughts even if there is none.
    """
    sent: list[tuple[Destination | None, str]] = []
    unknown: list[tuple[str, str]] = []
    loose: list[str] = []
    for piece in pieces:
        place = find(places, piece.to) if piece.to else None
        if place is not None:
            sent.append((place, piece.text))
        elif piece.to and strict:
            unknown.append((piece.to, piece.text))
        elif not named:
            sent.append((asked, piece.text))
        elif piece.to is not None:
            loose.append(piece.text)
    if not sent and not unknown and not spoken:
        # Nothing was addressed, so the words around the addresses were no thoughts.
        loose = [piece.text for piece in pieces]
    if len(sent) > MAX_MESSAGES:
        left_out = f"[{len(sent) - MAX_MESSAGES} more messages were left out: an answer has at most {MAX_MESSAGES}]"
        sent = [*sent[:MAX_MESSAGES], (asked, left_out)]
    return Sorted(tuple(sent), tuple(unknown[:MAX_MESSAGES]), "\n\n".join(loose))


def shown(pieces: Iterable[Piece], places: tuple[Destination, ...], asked: Destination | None, *, named: bool) -> str:
    """Return what may be seen of an answer in the making: only what goes where it was asked."""
    texts = []
    for piece in pieces:
        place = find(places, piece.to) if piece.to else None
        if (place is not None and place == asked) or (not piece.to and not named):
            texts.append(piece.text)
    return "\n\n".join(texts)


def listed(places: Iterable[Destination]) -> str:
    """Return the places as a list for the agent."""
    lines = []
    for one in places:
        called = "" if one.display_name.casefold() == one.name else f" ({one.display_name})"
        kind = ", an agent" if one.address.channel_type == AGENT else ""
        lines.append(f"- {one.name}{called}{kind}")
    return "\n".join(lines) or "- none"


def correction(found: Sorted, places: Iterable[Destination]) -> str:
    """Return what the agent is told about an answer that could not be sent as it was."""
    names = ", ".join(f'"{_short(name)}"' for name, _ in found.unknown)
    what = [f"There is no destination {names}: what was for it has not been sent."] if names else []
    if found.loose:
        what.append("What you said outside of a named message has not been sent: there are several destinations.")
    what.append('Write <message to="NAME">...</message> around what is to be sent. The destinations are:')
    what.append(listed(places))
    again = "Everything else is sent: repeat only that." if found.sent else "Repeat your answer so."
    what.append(f"{again} If nothing more is to be sent, answer <internal>nothing</internal>.")
    return "\n".join(what)


def misdirected(name: str, text: str) -> str:
    """Return what the asker is told about a message that could go to nobody."""
    return f'[This was meant for "{_short(name)}", which is not one of my destinations.]\n\n{text}'


def _short(name: str) -> str:
    clean = "".join(character for character in name if character.isprintable())
    return clean[:_SHOWN_NAME_CHARACTERS]
