"""One message, its replies, the end."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.files import described
from nanoclawd.cli.link import Link
from nanoclawd.cli.outcome import CommandError

_SETTLE_SECONDS = 0.5


@dataclass
class Answer:
    """What became of a message."""

    message_id: str = ""
    state: str = "accepted"
    replies: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)


async def ask(
    link: Link, text: str, seconds: float, *, quiet: bool = False, files: Sequence[dict[str, str]] = ()
) -> Answer:
    """Send a message and wait until the agent is done with it.

    Args:
        link: the chat.
        text: the message.
        seconds: to wait at most.
        quiet: collect the replies without printing them.
        files: that were uploaded and go with it.

    Raises:
        CommandError: refused, unreachable, or no end in time.
    """
    talk = _Talk(quiet=quiet, is_command=text.lstrip().startswith("/"), files=files)
    try:
        async with asyncio.timeout(seconds):
            await talk.run(link, text)
    except TimeoutError:
        raise CommandError(
            outcome.TIMEOUT,
            f"the agent is not done after {seconds:g} seconds; what it still says is kept",
            f"ncl chat {link.group}",
        ) from None
    return talk.answer


class _Talk:
    def __init__(self, *, quiet: bool, is_command: bool, files: Sequence[dict[str, str]]) -> None:
        self.answer = Answer()
        self._files = files
        self._quiet = quiet
        # The appliance answers most commands itself: its words are the result then, and otherwise they are about it.
        self._notify = show.say if is_command else show.complain
        self._token = secrets.token_hex(16)
        self._since = ""
        self._early: list[dict[str, Any]] = []
        self._aside: list[dict[str, Any]] = []
        self._ended = False

    async def run(self, link: Link, text: str) -> None:
        happened: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(maxsize=100)
        sends = 0
        async with _in_background(self._listen(link, happened)) as listener:
            sender: asyncio.Task[None] | None = None
            try:
                while not self._ended:
                    kind, found = await _next(happened, listener)
                    if kind == "sent":
                        self._on_sent(found)
                        if found["state"] != "accepted" and sends > 1:
                            # The turn ended while the daemon was away from us: its messages come now, no event will.
                            await self._settle(happened, found["state"])
                    elif kind == "refused":
                        raise found
                    elif found["type"] == "attached":
                        sends += 1
                        if sender is None or sender.done():
                            self._since = self._since or found["timestamp"]
                            sender = asyncio.create_task(self._send(link, text, happened))
                    else:
                        self._on_event(found)
            finally:
                if sender:
                    sender.cancel()
        self._print_the_rest()

    async def _listen(self, link: Link, happened: asyncio.Queue[tuple[str, Any]]) -> None:
        async for event in link.events():
            if event["type"] in {"attached", "message", "notice", "turn", "waiting"}:
                await happened.put(("event", event))

    async def _send(self, link: Link, text: str, happened: asyncio.Queue[tuple[str, Any]]) -> None:
        try:
            await happened.put(("sent", await link.send(text, self._token, self._files)))
        except CommandError as error:
            await happened.put(("refused", error))

    def _on_sent(self, found: dict[str, Any]) -> None:
        self.answer.message_id = found["message_id"]
        early, self._early = self._early, []
        for event in early:
            self._on_event(event)

    def _on_event(self, event: dict[str, Any]) -> None:
        if not self.answer.message_id:
            self._early.append(event)
            return
        ours = event.get("in_reply_to") == self.answer.message_id
        if event["type"] == "turn":
            if ours:
                self.answer.state = event["state"]
                self._ended = True
        elif event["type"] == "waiting":
            # A session's place in the queue names no message: it holds for all that wait in it.
            if event.get("in_reply_to") in {None, self.answer.message_id} and not self._quiet:
                show.complain(f"waiting: {clean_line(event['text'])}")
        elif not ours:
            self._aside.append(event)
        elif event["type"] == "message":
            self._reply(event)
        else:
            self.answer.notices.append(event)
            if not self._quiet:
                self._notify(event["text"])

    async def _settle(self, happened: asyncio.Queue[tuple[str, Any]], state: str) -> None:
        with contextlib.suppress(TimeoutError):
            while not self._ended:
                async with asyncio.timeout(_SETTLE_SECONDS):
                    kind, found = await happened.get()
                if kind == "event" and found["type"] != "attached":
                    self._on_event(found)
        self.answer.state = state
        self._ended = True

    def _reply(self, event: dict[str, Any]) -> None:
        self.answer.replies.append(event)
        if not self._quiet:
            show.say("\n".join(filter(None, [event["text"], *described(event)])))

    def _print_the_rest(self) -> None:
        """Print what was said meanwhile and names another message, or none.

        Messages that the agent took up together are answered together, and the answer names one of them: when none
        named ours, what was said since then is our answer. Anything else was for somebody else or is older.
        """
        answered = bool(self.answer.replies) or self.answer.state != "completed"
        for event in self._aside:
            if event["type"] == "message" and not answered and event["timestamp"] >= self._since:
                self._reply(event)
            elif not self._quiet:
                show.complain("\n".join(["(also said) " + event["text"], *described(event)]))


async def _next(happened: asyncio.Queue[tuple[str, Any]], listener: asyncio.Task[None]) -> tuple[str, Any]:
    """Return what happened next; what ends the listener ends us."""
    getting = asyncio.ensure_future(happened.get())
    await asyncio.wait((getting, listener), return_when=asyncio.FIRST_COMPLETED)
    if getting.done():
        return getting.result()
    getting.cancel()
    listener.result()
    raise RuntimeError("the chat's stream ended without a reason")


@contextlib.asynccontextmanager
async def _in_background(work: Any) -> AsyncIterator[asyncio.Task[None]]:
    task: asyncio.Task[None] = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
