"""Texts that answer cards, on channels without buttons: an option's number or its words, with a tag where needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from nanoclaw_runner.contract.cards import MAX_LABEL_CHARACTERS, Option, chosen
from nanoclawd.routing.decision import CardAnswer

TAG_CHARACTERS = 4
MAX_ANSWER_CHARACTERS = 2 * MAX_LABEL_CHARACTERS
"""A longer text is no answer, and costs no look at what is open."""


@dataclass(frozen=True, slots=True)
class OpenCard:
    """A card that waits for an answer; ``agent_group_id`` is that of the agent who asks, None for an approval."""

    kind: str
    id: str
    options: tuple[Option, ...]
    agent_group_id: str | None = None

    @property
    def tag(self) -> str:
        """What a person writes before the answer where several cards are open."""
        return self.id[:TAG_CHARACTERS]


@dataclass(frozen=True, slots=True)
class AskBack:
    """The text fits several open cards: which one is meant?"""

    words: str


def find(text: str, cards: Sequence[OpenCard]) -> CardAnswer | AskBack | None:
    """Return what a text means to the open cards; None where it is an ordinary message."""
    if not cards or len(text) > MAX_ANSWER_CHARACTERS:
        return None
    first, _, rest = text.strip().partition(" ")
    for card in cards:
        if first.casefold() == card.tag and (option := chosen(rest, card.options)) is not None:
            return CardAnswer(card.kind, card.id, option.value)
    fitting = [(card, option) for card in cards if (option := chosen(text, card.options)) is not None]
    if not fitting:
        return None
    if len(cards) == 1:
        card, option = fitting[0]
        return CardAnswer(card.kind, card.id, option.value)
    tags = ", ".join(card.tag for card in cards)
    words = f"Several questions are open ({tags}). Write its tag and the number, like `{cards[0].tag} 1`."
    return AskBack(words)
