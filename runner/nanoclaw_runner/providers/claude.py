"""Claude, by the Agent SDK and its real client, which reaches the model through the gateway and never sees a key.

The client stays connected from one query to the next; it is started again, with the conversation that it had, when the
instructions have changed, when it has died, and after a turn that was not brought to its end.
"""

import asyncio
import logging
import shutil
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base, claude_books, claude_tools
from nanoclaw_runner.providers.claude_books import Books
from nanoclaw_runner.providers.claude_link import ClientError, Ended, Link, Setup, StaleError, compaction_note
from nanoclaw_runner.providers.claude_messages import Outcome
from nanoclaw_runner.providers.claude_words import failed
from nanoclaw_runner.tools.clock import zone
from nanoclaw_runner.workshop import Workshop

_log = logging.getLogger(__name__)

SILENCE_SHARE: Final = 0.9
"""The provider gives up before the stall detector does: the person gets a sentence rather than a repeated turn."""

LONGEST_WAIT_SECONDS: Final = 900.0
"""Who is told to come back later than this is told so, instead of keeping the conversation waiting."""

NOTHING_KEPT: Final = "Nothing is kept of a conversation yet."
_STEP_SECONDS: Final = 15.0
_COMMAND_SECONDS: Final = 600.0
_KEPT = ("projects", "file-history", "todos", "session-env", "sessions", "shell-snapshots", "history.jsonl", "tasks")
_KEEP_IN_SUMMARY: Final = (
    "Keep the most recent message, task and webhook elements with all of their attributes (id, from, sender, time),"
    " word for word and in the order in which they came. Keep what was promised, to whom, and what is to be done.\n"
    "End the summary with this reminder: what is to reach somebody is written as the instructions about sending"
    " messages say, and the destinations are those that the instructions name.\n"
)


class Claude:
    """The provider."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._forwarder = workshop.way_out.forwarder
        self._link: Link | None = None
        self._starting: asyncio.Task[Link] | None = None

    def warm(self, continuation: str | None) -> None:
        """Begin to start the client; what comes of it shows when it is needed."""
        self._starting = asyncio.create_task(self._start(continuation))

    def query(self, prompt: Prompt, continuation: str | None) -> base.Query:
        """Begin an exchange."""
        return _Query(self, prompt, continuation)

    async def command(self, name: str, args: str, continuation: str | None) -> str | None:
        """Have the client carry out one of its own commands, or forget every conversation."""
        if name == "clear":
            await self.drop()
            await asyncio.to_thread(self._forget)
            return None
        if continuation is None:
            return NOTHING_KEPT
        try:
            link, is_new = await self.connected(continuation)
            if is_new:
                return NOTHING_KEPT
            words = await asyncio.wait_for(
                self._command(link, f"/{name} {' '.join(args.split())}".strip()), _COMMAND_SECONDS
            )
        except ClientError as error:
            return f"Error: {error}"
        except TimeoutError:
            await self.drop()
            return f"Error: /{name} was not done within {_COMMAND_SECONDS:.0f} s."
        return words

    async def connected(self, continuation: str | None) -> tuple[Link, bool]:
        """Return a client that carries a conversation on, and whether it had to begin a new one instead.

        Raises:
            ClientError: none can be started.
        """
        starting, self._starting = self._starting, None
        if starting is not None:
            try:
                self._link = await starting
            except (StaleError, ClientError):
                _log.info("the client that was started early is not there")
        link = self._link
        if link is not None and link.alive and link.clean and self._fits(link, continuation):
            link.drop_leftovers()
            return link, False
        await self.drop()
        try:
            self._link = await self._start(continuation)
        except StaleError:
            _log.warning("the conversation %s is gone: a new one is begun", continuation)
            self._link = await self._start(None)
            return self._link, True
        return self._link, False

    async def drop(self) -> None:
        """End the client, whatever it does."""
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def describe(self) -> str:
        """Return the model's name for people."""
        config = self._workshop.config
        return f"{config.endpoint}/{config.model}" if config.model else config.endpoint

    def failed(self, outcome: Outcome) -> base.Error:
        """Return the event of a turn that failed."""
        if outcome.failure is None:
            raise ValueError("it did not fail")
        return failed(outcome.failure, self.describe(), zone(self._workshop.config.timezone))

    @property
    def silence_seconds(self) -> float:
        """How long the client may say nothing while the model is to answer."""
        return self._workshop.config.silence_seconds * SILENCE_SHARE

    def _fits(self, link: Link, continuation: str | None) -> bool:
        return link.reader.session_id == continuation and link.setup.instructions == self._workshop.instructions()

    async def _start(self, continuation: str | None) -> Link:
        workshop = self._workshop
        try:
            gateway = await self._forwarder.open()
            note = compaction_note(workshop.places)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(_KEEP_IN_SUMMARY)
        except OSError as error:
            raise ClientError(f"Claude's client could not be started: {error.strerror}") from error
        books = claude_books.read(self._books_file, continuation)
        if books.begins_anew:
            books = claude_books.read(self._books_file, None)
        link = Link(
            Setup(
                config=workshop.config,
                places=workshop.places,
                tools=workshop.tools,
                gateway=gateway,
                instructions=workshop.instructions(),
                continuation=books.session,
                until=books.kept if books.refused else None,
            )
        )
        link.kept, link.reader.counted = books.kept, books.counted
        await link.open()
        return link

    def note(self, link: Link, outcome: Outcome) -> None:
        """Keep what is known of the conversation after a turn: it goes on from there when the client starts again."""
        reader = link.reader
        refused = False
        if outcome.failure is None:
            link.kept = reader.last_entry or link.kept
        else:
            # What was refused stays out until something was taken.
            refused = self.failed(outcome).trouble == "refused" or link.setup.until is not None
        Books(reader.session_id, reader.counted, link.kept, refused).write(self._books_file)

    @property
    def _books_file(self) -> Path:
        return self._workshop.places.home / ".claude" / "counted.json"

    async def _command(self, link: Link, command: str) -> str:
        identifier = str(uuid.uuid4())
        link.reader.compacted = ""
        link.say(command, identifier, command=True)
        while True:
            item = await link.items.get()
            if isinstance(item, Ended):
                raise ClientError("Claude's client ended while it carried this out.")
            for event in _events(link, item):
                if isinstance(event, Outcome) and (event.covers is None or identifier in event.covers):
                    link.clean = True
                    self.note(link, event)
                    if event.failure is not None:
                        return f"Error: {self.failed(event).message}"
                    return event.text or link.reader.compacted or "Done."

    def _forget(self) -> None:
        for name in _KEPT:
            path = self._workshop.places.home / ".claude" / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def create(workshop: Workshop) -> Claude:
    """Return the provider."""
    return Claude(workshop)


class _Query:
    def __init__(self, provider: Claude, prompt: Prompt, continuation: str | None) -> None:
        self._provider = provider
        self._continuation = continuation
        self._link: Link | None = None
        self._open: dict[str, Prompt] = {str(uuid.uuid4()): prompt}
        """Prompts without an answer by the ids under which the client knows them, oldest first."""

    def push(self, prompt: Prompt) -> None:
        identifier = str(uuid.uuid4())
        self._open[identifier] = prompt
        if self._link is not None:
            self._link.say(prompt.rendered(), identifier)

    async def passed_on(self) -> None:
        """Return when the client's pipe has it."""
        if self._link is not None:
            await self._link.passed_on()

    async def close(self) -> None:
        """Keep the client, unless it is in the middle of something that nobody waits for any more."""
        if self._link is None or self._open or not self._link.clean:
            await self._provider.drop()

    async def events(self) -> AsyncGenerator[base.Event]:
        try:
            link, is_new = await self._provider.connected(self._continuation)
        except ClientError as error:
            yield base.Error(str(error), retryable=True)
            return
        except base.UnusableProviderError as error:
            yield base.Error(str(error))
            return
        if is_new:
            yield base.Progress("the conversation so far is gone: a new one begins")
        link.watch.begin_turn()
        self._link = link
        for identifier, prompt in self._open.items():
            link.say(prompt.rendered(), identifier)
        async with aclosing(self._items(link)) as items:
            async for item in items:
                for found in _events(link, item):
                    if not isinstance(found, Outcome):
                        yield found
                        continue
                    event = self._settled(link, found)
                    try:
                        yield event
                    finally:
                        # Whoever waits for the answer does not wait for this.
                        self._provider.note(link, found)
                    if isinstance(event, base.Error):
                        return
                failure = self._failure(link, item)
                if failure is not None:
                    yield failure
                    return

    def _settled(self, link: Link, outcome: Outcome) -> base.Event:
        """Return what the end of a turn of the client's means here."""
        if outcome.failure is not None:
            # What concerns work in the background only has been told to the model.
            return self._provider.failed(outcome) if self._concerns(outcome) else base.Activity()
        covered = self._covered(outcome)
        for identifier in list(self._open)[:covered]:
            del self._open[identifier]
        link.clean = not self._open
        link.watch.begin_turn()
        if not covered and not outcome.text.strip():
            return base.Activity()
        return base.Result(outcome.text, covers=covered, usage=outcome.usage)

    async def _items(self, link: Link) -> AsyncGenerator[Any]:
        """Give what the client says, and signs of life where it is silent with a reason."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        step = min(_STEP_SECONDS, self._provider.silence_seconds / 10)
        while True:
            try:
                if link.items.empty():
                    async with asyncio.timeout(step):
                        item = await link.items.get()
                else:
                    item = link.items.get_nowait()
            except TimeoutError:
                if not self._open or link.watch.running:
                    last = loop.time()
                elif loop.time() < link.reader.wait_until:
                    last = loop.time()
                    yield base.Activity()
                elif loop.time() - last >= self._provider.silence_seconds:
                    yield Ended("silent")
                continue
            last = loop.time()
            yield item

    def _failure(self, link: Link, item: Any) -> base.Error | None:
        """Tell whether the exchange cannot go on."""
        model = f"the model {self._provider.describe()}"
        if isinstance(item, Ended):
            if item.words == "silent":
                seconds = self._provider.silence_seconds
                return base.Error(f"{model} gave no sign for {seconds:.0f} s", retryable=True, trouble="network")
            return base.Error("Claude's client ended while it worked on this. Please ask again.", retryable=True)
        if link.watch.denials > claude_tools.MAX_DENIALS:
            return base.Error(f"{model} called tools without end, and was stopped")
        wait = link.reader.wait_until - asyncio.get_running_loop().time()
        if wait > LONGEST_WAIT_SECONDS:
            return base.Error(
                f"{model} is at its rate limit for another {wait / 60:.0f} minutes: please try again then",
                retryable=True,
                trouble="rate-limit",
            )
        return None

    def _concerns(self, outcome: Outcome) -> bool:
        """Tell whether an outcome is about a prompt of this query, and not about work in the background."""
        return bool(self._open) and (outcome.covers is None or any(one in self._open for one in outcome.covers))

    def _covered(self, outcome: Outcome) -> int:
        """Return how many of the prompts, oldest first, an answer is about."""
        if outcome.covers is None:
            return 1 if self._open else 0
        return max((number for number, one in enumerate(self._open, start=1) if one in outcome.covers), default=0)


def _events(link: Link, item: Any) -> list[base.Event | Outcome]:
    if isinstance(item, Ended):
        return []
    if isinstance(item, base.Activity | base.ToolBegan | base.ToolEnded):
        return [item]
    return list(link.reader.read(item))
