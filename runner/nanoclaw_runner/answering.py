"""From an answer's text to the rows that come of it, and what is seen of it while it is written."""

from collections.abc import Iterable
from dataclasses import dataclass

from nanoclaw_runner import addressing, content
from nanoclaw_runner.addressing import Sorted
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.destinations import Book, Destination, place_of
from nanoclaw_runner.intake import Batch
from nanoclaw_runner.output import Tokenizer, parse
from nanoclaw_runner.store.outbox import Reply


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer says.

    Attributes:
        sorted: whom.
        thought: it has thoughts, so that saying nothing is meant.
    """

    sorted: Sorted
    thought: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether it is known of everything for whom it is."""
        return not self.sorted.unknown and not self.sorted.loose


class Answering:
    """Sorts what is said in answer to one batch."""

    def __init__(self, batch: Batch, here: Address | None, book: Book, *, addressed: bool) -> None:
        """Prepare; the book is opened when it is needed, and again for the whole answer.

        Args:
            batch: what is answered.
            here: where it was asked.
            book: the places.
            addressed: the agent knows how to name a place, and has to where there are several.
        """
        self.batch = batch
        self.address = here
        self._book = book
        self._addressed = addressed
        self._places: tuple[Destination, ...] | None = None
        self._asked: Destination | None = None
        self._seen = ""
        self._tokenizer = Tokenizer()

    def places(self) -> tuple[Destination, ...]:
        """Return where the answer can go."""
        return self._look() if self._places is None else self._places

    def so_far(self, text: str) -> str:
        """Return what may be shown of an answer in the making, given all that there is of it."""
        if self._is_bare(text):
            return text
        places = self.places()
        if not text.startswith(self._seen):
            self._seen, self._tokenizer = "", Tokenizer()
        self._tokenizer.feed(text[len(self._seen) :])
        self._seen = text
        return addressing.shown(self._tokenizer.pieces(), places, self._asked, named=self._named)

    def beside(self, text: str) -> Sorted:
        """Sort what was said beside a call of a tool: only what stands in a message's block is for people."""
        if "<" not in text:
            return Sorted()
        pieces = [piece for piece in parse(text) if piece.to is not None]
        return addressing.sort_out(pieces, self._look(), self._asked, named=self._named, strict=self._addressed)

    def found(self, text: str, *, spoken: bool = False) -> Found:
        """Sort a whole answer.

        Args:
            text: the answer.
            spoken: something went to where it was asked before.
        """
        if self._is_bare(text):
            return Found(Sorted(((None, text),) if text.strip() else ()))
        places = self._look()
        tokenizer = Tokenizer()
        tokenizer.feed(text)
        pieces = tokenizer.finish()
        found = addressing.sort_out(
            pieces, places, self._asked, named=self._named, strict=self._addressed, spoken=spoken
        )
        return Found(found, tokenizer.thought)

    def rows(self, sent: Iterable[tuple[Destination | None, str]]) -> list[Reply]:
        """Return the rows of what goes somewhere."""
        return [self.here(text) if place in {None, self._asked} else self._there(place, text) for place, text in sent]

    def here(self, text: str, *, error: bool = False) -> Reply:
        """Return the row of what goes to where it was asked."""
        return Reply(content.write(text, error=error), in_reply_to=self.batch.asked_by.id, address=self.address)

    @property
    def _named(self) -> bool:
        return self._addressed and len(self.places()) > 1

    def _is_bare(self, text: str) -> bool:
        """Tell of an answer of nothing but words, from an agent that names no places."""
        return not self._addressed and "<" not in text

    def _there(self, place: Destination, text: str) -> Reply:
        thread, reference = self._book.newest(place.address)
        address = Address(place.address.channel_type, place.address.platform_id, thread)
        return Reply(content.write(text), in_reply_to=reference, address=address)

    def _look(self) -> tuple[Destination, ...]:
        self._places = self._book.around(self.address)
        self._asked = None if self.address is None else place_of(self._places, self.address)
        return self._places
