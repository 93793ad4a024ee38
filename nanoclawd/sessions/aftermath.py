"""What becomes of the messages that a container left undone, and what their people are told."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from nanoclawd.errors import Unavailable
from nanoclawd.journal import Event, about
from nanoclawd.sessions.container import Container
from nanoclawd.sessions.ending import Ended, describe, given_up, start_trouble, tries_again
from nanoclawd.sessions.inbound import MAX_TRIES, Pending
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.supervision.admission import Hold

log = logging.getLogger(__name__)

STOPPED: Final = "I was told to stop, and have dropped this."
CLOSED: Final = "This conversation was closed before I could answer this."


class Aftermath:
    """Decides after each end of one session's container, and keeps what somebody wants dropped."""

    def __init__(self, session: SessionRef, container: Container, mailbox: Mailbox, around: Surroundings) -> None:
        self._session = session
        self._container = container
        self._mailbox = mailbox
        self._around = around
        self._dropped: frozenset[str] = frozenset()
        self._dropping = asyncio.Lock()

    def wanted(self) -> bool:
        """Tell whether there is a message to start a container for."""
        return any(message.id not in self._dropped for message in self._mailbox.due())

    def drop(self, message_ids: Iterable[str]) -> None:
        """Start no container for these messages from here on; :meth:`settle_dropped` ends them."""
        self._dropped |= frozenset(message_ids)

    async def settle_dropped(self) -> None:
        """End what somebody wants dropped and was not answered after all, whoever ended the container and why."""
        async with self._dropping:
            dropped = self._dropped
            if unanswered := [message.id for message in self._mailbox.among(dropped)]:
                await self._mailbox.give_up(unanswered, "stopped", STOPPED)
            self._dropped -= dropped

    async def settle(self, victims: list[Pending]) -> None:
        """Give the messages that a container did not finish another try, or end them with a word."""
        container, mailbox = self._container, self._mailbox
        ids = [message.id for message in victims if message.trigger]
        log.warning(
            "session %s: its container ended %s (%s) with %d messages unfinished",
            self._session.id,
            container.ended.value,
            container.ended_text or describe(container.unit),
            len(victims),
            extra=self._about(),
        )
        everything = [message.id for message in victims]
        match container.ended:
            case Ended.BY_OPERATOR:
                await mailbox.give_up(everything, "stopped", "The operator has stopped me while I worked on this.")
                return
            case Ended.FOR_TIME:
                minutes = self._around.timeouts.turn / 60
                text = f"I worked on this for {minutes:g} minutes, which is the limit, and was ended."
                await mailbox.give_up(everything, "time", text)
                return
            case _:
                pass
        without_a_try = await mailbox.retry(victims)
        again = [message.id for message in victims if message.tries and message.trigger]
        if container.ended is Ended.FOR_BOUND and container.ended_text and ids:
            await mailbox.tell(ids, "bound", f"My container was ended: {container.ended_text}.")
        elif not container.ever_active and ids:
            await self._tell_start_trouble(ids)
        elif again and not without_a_try:
            await mailbox.tell(again, "again", tries_again(container.unit))
        if without_a_try:
            text = given_up(MAX_TRIES + 1, container.unit, self._session.id, missing_image=await self._missing_image())
            await mailbox.give_up(without_a_try, "failed", text)
        else:
            await mailbox.deliver_notices()

    async def refuse(self, kind: str, text: str) -> None:
        """Answer every waiting message with why nobody will."""
        waiting = self._mailbox.ids()
        if waiting:
            await self._mailbox.give_up(waiting, kind, text)
        else:
            await self._mailbox.deliver_notices()

    async def stumbled(self, error: Exception, *, tell: bool) -> None:
        """Say of trouble with the session what it is: in the journal, and when it persists to who waits.

        Never raises: it is the trouble's own kind that would.
        """
        expected = isinstance(error, Unavailable)
        log.error(
            "session %s: %s",
            self._session.id,
            error,
            exc_info=None if expected else error,
            extra=self._about(Event.SESSION_START_FAILED),
        )
        if not tell:
            return
        text = error.message if isinstance(error, Unavailable) else "something unexpected went wrong"
        try:
            await self._mailbox.tell(
                self._mailbox.ids(), "stumbled", f"I can't work at the moment: {text}. I keep trying."
            )
            await self._mailbox.deliver_notices()
        except Exception:
            log.exception("session %s: the person could not be told", self._session.id, extra=self._about())

    async def held(self, hold: Hold) -> None:
        """Say to who waits why, once of an outage: they are answered when it is over, without another word.

        Never raises: the messages are stored, and wait.
        """
        try:
            ids = self._mailbox.asked()
            if not ids:
                return  # a task, or another agent: nobody looks at a screen
            text = (
                f"I can't work at the moment: {hold.reason}. Your message is kept; I go on by myself when that is over."
            )
            await self._mailbox.tell(ids[-1:], f"held-{hold.outage}", text)
            await self._mailbox.deliver_notices()
        except Exception:
            log.exception("session %s: the person could not be told", self._session.id, extra=self._about())

    async def _tell_start_trouble(self, message_ids: list[str]) -> None:
        trouble = start_trouble(
            self._container.unit,
            self._session.id,
            missing_image=await self._missing_image(),
            ready_seconds=self._around.timeouts.ready,
        )
        log.error("session %s: %s", self._session.id, trouble.what, extra=self._about(Event.SESSION_START_FAILED))
        await self._mailbox.tell(message_ids, "start", f"{trouble.sentence()}. I will try again.")

    async def _missing_image(self) -> str:
        """Return the command that builds the image for which no container began; empty where that is not why."""
        return "" if self._container.ever_active else await self._around.missing_image(self._session.group)

    def _about(self, event: Event | None = None) -> dict[str, str]:
        return about(session=self._session.id, group=self._session.group, event=event)
