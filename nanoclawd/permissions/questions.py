"""Agents' questions: a card in a chat, one answer from somebody whom the agent knows, or none in time (W-60).

The answer is a row in the session that asked. It is stored there first, under an id that is made of the question's: the
first answer counts, whoever gives it and however often the daemon dies in between. Then the question's end, the change
of its card and the words to whoever answered are one commit.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Final, Protocol
from weakref import WeakValueDictionary

import apsw

from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.clock import now_text, parse
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.delivery.outbox import HostOutbox, platform_edit
from nanoclawd.errors import NotFound, Refused, Unavailable
from nanoclawd.journal import about
from nanoclawd.permissions import cards, wording
from nanoclawd.permissions.approvals import Told
from nanoclawd.scheduling.background import Background
from nanoclawd.scheduling.timer import WallTimer
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import chats, host_messages, questions, roles
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage
from nanoclawd.store.names import card_id_of
from nanoclawd.store.questions import Question

log = logging.getLogger(__name__)

DEFAULT_HOURS: Final = 24
MAX_OPEN: Final = 50
"""Of one session."""

_AGAIN_SECONDS: Final = 60
_NO_MORE: Final = "This question is not open any more."


class Asker(Protocol):
    """What questions need of :class:`~nanoclawd.sessions.registry.Sessions`."""

    async def deliver_system(self, session_id: str, message: NewMessage) -> bool:
        """Store a row for a session and wake it; False when it is there already, or the session is closed or gone.

        Raises:
            Unavailable: it can't be stored now.
        """

    async def stored_content(self, session_id: str, row_id: str) -> str | None:
        """Return what a row says that a session was handed; None where it has none, is closed or gone."""

    async def platform_message_id(self, session_id: str, row_id: str) -> str | None:
        """Return the platform's id of a row that a session has delivered, or None where that is not known."""


class QuestionService:
    """All questions."""

    def __init__(
        self,
        database: Database,
        outbox: HostOutbox,
        asker: Asker,
        can_edit: cards.CanEdit,
        hours: float = DEFAULT_HOURS,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._asker = asker
        self._can_edit = can_edit
        self._hours = hours
        self._timer: WallTimer | None = None
        self._background = Background(log, "looking after questions", self._on_due, _AGAIN_SECONDS)
        self._expiring = asyncio.Lock()
        self._one_at_a_time: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self) -> None:
        """Carry on where the last daemon stopped."""
        self._timer = WallTimer(self._on_due, self._on_due)
        self._on_due()

    async def close(self) -> None:
        """Stop; everything is in the databases."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        await self._background.close()

    async def rest(self) -> None:
        """Return when nothing is under way any more."""
        await self._background.rest()

    async def asked(self, session_id: str, row_id: str, card: Card, address: Address) -> str:
        """Keep a question before its card is delivered; return the card's id, the same for the same row.

        A card may be delivered once more after a crash, when somebody has answered it already: it is not asked again.

        Raises:
            NotFound: there is no such session.
            Refused: the session has too many open questions.
            Unavailable: it is not known now whether there is an answer.
        """
        known = await self._database.run(questions.by_session_and_row, session_id, row_id)
        if known is not None:
            return known.id
        question_id = card_id_of(session_id, row_id)
        if await self._asker.stored_content(session_id, _answer_id(question_id)) is not None:
            return question_id
        question = await self._database.run(self._add, session_id, row_id, card, address)
        self._on_due()
        return question.id

    async def failed(self, session_id: str, row_id: str) -> None:
        """Forget a question whose card could not be delivered: the session tells its agent so itself."""
        question = await self._database.run(questions.by_session_and_row, session_id, row_id)
        if question is not None:
            await self._database.run(questions.take, question.id)

    async def answer(self, question_id: str, value: str, user_id: str, name: str, told: Told | None = None) -> str:
        """Answer as a person; return words for them.

        Args:
            question_id: which.
            value: the option's value, or ``#<number>``.
            user_id: who answers, as the channel vouches for them.
            name: what they are called.
            told: how the words are told as a message, in the commit that ends the question.

        Raises:
            NotFound: there is no such question.
            Unavailable: the answer can't be stored now.
        """
        question, refusal, known = await self._database.run(_judge, question_id, user_id)
        if refusal:
            return refusal
        option = cards.find_option(question.options, value, by_words=False)
        if option is None:
            return "There is no such choice."
        return await self._choose(question, option, user_id, known or name, told)

    async def decide(self, question_id: str, option: str, operator: str) -> str:
        """Answer in the place of the people asked.

        Args:
            question_id: which.
            option: an option's value, label or number.
            operator: the unix name.

        Raises:
            NotFound: there is no such question.
            Refused: it has no such option, or somebody was faster.
            Unavailable: the answer can't be stored now.
        """
        question = await self._database.run(questions.by_id, question_id)
        found = cards.find_option(question.options, option, by_words=True)
        if found is None:
            labels = ", ".join(wording.visible(one.value) for one in question.options)
            raise Refused(f"there is no such option; there are: {labels}", hint=f"ncl questions get {question.id}")
        said = await self._choose(question, found, f"terminal:{operator}", operator, None)
        if said == _NO_MORE:
            raise Refused("this question was answered already")
        return said

    async def _choose(self, question: Question, option: Option, user_id: str, name: str, told: Told | None) -> str:
        mine = {"value": option.value, "label": option.label, "userId": user_id, "userName": name}
        counts = await self._settle(question, mine, told)
        own = counts is not None and (counts["value"], counts["userId"]) == (option.value, user_id)
        return f"{option.done}." if own else _NO_MORE

    async def _settle(
        self, question: Question, answer: Mapping[str, object], told: Told | None = None
    ) -> Mapping[str, object] | None:
        """Store an answer and end the question; return the answer that counts.

        That is an earlier one where a daemon died between storing it and ending the question. None: nobody waits for
        an answer any more.

        Raises:
            NotFound: the question has ended.
            Unavailable: the answer can't be stored now.
        """
        async with self._one_at_a_time.setdefault(question.id, asyncio.Lock()):
            await self._database.run(questions.by_id, question.id)
            counts = await self._give(question, answer)
            rows = await self._closed_card(question, counts, told)
            if counts is not None and told is not None and counts == answer:
                rows.append(told.reply(f"{_done(question, counts)}."))
            await self._database.run(_end, question.id, rows)
        self._outbox.nudge()
        return counts

    async def _give(self, question: Question, answer: Mapping[str, object]) -> Mapping[str, object] | None:
        content = {
            "type": "question_response",
            "questionId": question.id,
            "reference": question.agent_reference,
            "title": question.title,
            **answer,
        }
        row = NewMessage(
            id=_answer_id(question.id),
            content=json.dumps(content, ensure_ascii=False),
            address=Address(question.channel_type, question.platform_id, question.thread_id),
            kind="system",
        )
        if await self._asker.deliver_system(question.session_id, row):
            return answer
        stored = await self._asker.stored_content(question.session_id, row.id)
        if stored is None:
            return None
        return {key: value for key, value in json.loads(stored).items() if key not in content or key in answer}

    async def _closed_card(
        self, question: Question, answer: Mapping[str, object] | None, told: Told | None
    ) -> list[HostMessage]:
        """Return what puts the answer in the card's place; nothing where the words are told as a message anyway.

        No answer: the session that asked is closed.
        """
        address = Address(question.channel_type, question.platform_id, question.thread_id)
        if told is not None and told.channel == address.channel_type and not self._can_edit(told.channel):
            return []
        try:
            shown = await self._asker.platform_message_id(question.session_id, question.message_out_id)
        except Exception as error:
            log.warning("the card of a question stays as it is: %s", error, extra=about(session=question.session_id))
            return []
        words = wording.NOBODY_ANSWERED
        if answer is None:
            words = _NO_MORE
        elif not answer.get("expired"):
            words = f"{_done(question, answer)} ({wording.who(str(answer['userId']), str(answer['userName']))})"
        text = "\n\n".join(part for part in (question.title, question.body, f"→ {words}") if part)
        return [platform_edit(f"closed-{question.id}", address, shown, text)]

    def _add(self, connection: apsw.Connection, session_id: str, row_id: str, card: Card, address: Address) -> Question:
        found = questions.by_session_and_row(connection, session_id, row_id)
        if found is not None:
            return found
        if sum(one.session_id == session_id for one in questions.every(connection)) >= MAX_OPEN:
            raise Refused(f"{MAX_OPEN} questions of this session are open already")
        question = Question(
            id=card_id_of(session_id, row_id),
            session_id=session_id,
            message_out_id=row_id,
            channel_type=address.channel_type,
            platform_id=address.platform_id,
            thread_id=address.thread_id,
            title=card.title,
            body=card.text,
            options=card.options,
            agent_reference=card.reference,
            created_at=now_text(),
            expires_at=now_text(plus_seconds=self._hours * 3600),
        )
        questions.add(connection, question)
        return question

    def _on_due(self) -> None:
        if self._timer is not None:
            self._background.spawn(self._expire())

    async def _expire(self) -> None:
        async with self._expiring:
            later = None
            for question in await self._database.run(questions.expired, now_text()):
                try:
                    await self._settle(question, {"value": "", "label": "", "userId": "", "expired": True})
                except NotFound:
                    log.debug("a question was answered at the last moment")
                except Unavailable as error:
                    log.warning("an expired question waits: %s", error, extra=about(session=question.session_id))
                    later = now_text(plus_seconds=_AGAIN_SECONDS)
            earliest = later or await self._database.run(questions.earliest_expiry)
            if self._timer is not None:
                self._timer.arm(None if earliest is None else parse(earliest).timestamp())


def _judge(connection: apsw.Connection, question_id: str, user_id: str) -> tuple[Question, str, str | None]:
    """Return a question, why somebody may not answer it (or nothing), and their name."""
    question = questions.by_id(connection, question_id)
    session = session_rows.by_id(connection, question.session_id)
    chat = chats.by_address(connection, question.channel_type, question.platform_id)
    open_to_all = chat is not None and chat.unknown_sender_policy == "public"
    known = roles.standing(connection, user_id).may_access(session.agent_group_id)
    refusal = "" if known or open_to_all else "You may not answer this: the agent doesn't know you."
    if not refusal and question.expires_at <= now_text():
        refusal = _NO_MORE
    return question, refusal, cards.display_name(connection, user_id)


def _answer_id(question_id: str) -> str:
    return f"answer-{question_id}"


def _end(connection: apsw.Connection, question_id: str, rows: list[HostMessage]) -> None:
    with writing(connection):
        if questions.take(connection, question_id) is None:
            return
        for row in rows:
            host_messages.post(connection, row)


def _done(question: Question, answer: Mapping[str, object]) -> str:
    """Return an answer's outcome in words."""
    return next((one.done for one in question.options if one.value == answer["value"]), str(answer["label"]))
