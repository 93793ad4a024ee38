"""Prompts for batches, as the agent's configuration wants them, with news for an agent whose query is open."""

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.destinations import Book, Destination, name_of
from nanoclaw_runner.instructions import news
from nanoclaw_runner.intake import Batch
from nanoclaw_runner.places import Places
from nanoclaw_runner.prompt import Prompt, View, from_note, from_rows
from nanoclaw_runner.store.inbox import Inbox, NotYetError
from nanoclaw_runner.store.outbox import Outbox
from nanoclaw_runner.tools.clock import zone


class Scribe:
    """Writes the prompts of one runner."""

    def __init__(self, config: AgentConfig, places: Places, book: Book, inbox: Inbox, outbox: Outbox) -> None:
        self._addressed = config.prompt == "addressed"
        self._zone = zone(config.timezone)
        self._zone_name = config.timezone if str(self._zone) == config.timezone else "UTC"
        self._style = config.prompt
        self._received = places.inbound_db.parent
        self._book = book
        self._inbox = inbox
        self._outbox = outbox
        self._told: tuple[Destination, ...] = ()

    def first(self, batch: Batch) -> Prompt:
        """Return the prompt with which a query begins: the system prompt of the moment lists the destinations."""
        known = self._known()
        self._told = known
        return from_rows(batch.asked_by.id, batch.rows, self._view(known))

    def next(self, batch: Batch) -> Prompt:
        """Return a prompt for an open query; destinations that are not those of its system prompt are told."""
        known = self._known()
        notes = (news(known),) if known != self._told else ()
        self._told = known
        return from_rows(batch.asked_by.id, batch.rows, self._view(known), notes)

    def note(self, reference: str, words: str) -> Prompt:
        """Return a prompt of the runner's own words."""
        return from_note(reference, words, self._view(self._told))

    def _known(self) -> tuple[Destination, ...]:
        return self._book.destinations() if self._addressed else ()

    def _view(self, known: tuple[Destination, ...]) -> View:
        return View(
            style=self._style,
            zone=self._zone,
            zone_name=self._zone_name,
            named=lambda address: name_of(known, address),
            numbered=self._numbered,
            received=self._received,
        )

    def _numbered(self, platform_id: str, address: Address) -> int | None:
        try:
            meant = self._inbox.meant(platform_id, address)
        except NotYetError:
            return None
        return self._outbox.number_of(meant) if isinstance(meant, str) else meant
