"""The way of a message in: cleaned → facts → decision → carried out. Decisions are kept for ``ncl explain``."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import apsw

from nanoclawd.config import Access
from nanoclawd.errors import NotFound, Unavailable
from nanoclawd.journal import about
from nanoclawd.routing import command_replies, ids, writes
from nanoclawd.routing.cleaning import cleaned, unusable
from nanoclawd.routing.decision import Action, EventDecision, Outcome, Step, WiringDecision
from nanoclawd.routing.drops import Drops
from nanoclawd.routing.engage import Patterns
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.facts import Facts, load, said
from nanoclawd.routing.letters import known_as, letter_of, row_of
from nanoclawd.routing.pipeline import decide, takes_time
from nanoclawd.routing.ports import AbilitiesOf, Approvals, Fetch, HostWords, Refusal, Subscribe
from nanoclawd.routing.spent import spared
from nanoclawd.sessions.received import Received
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session

log = logging.getLogger(__name__)

REMEMBERED = 2000
SUBSCRIBE_SECONDS = 10.0
_PATTERN_THREADS = 4

type First = Callable[[apsw.Connection], None]
_SOMETHING_WRONG = "Something went wrong with this message here. The journal of the appliance has the details."


def _nothing_first(_connection: apsw.Connection) -> None:
    """Nothing is to be done before an event is judged."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in one agent's session; ``stored`` is False where it was there already."""

    session: Session
    message_id: str
    stored: bool


@dataclass(frozen=True, slots=True)
class Routed:
    """What has become of an event.

    Attributes:
        message_id: under which id its turn ends: the first row's that an agent answers, or what the appliance's own
            answer is a reply to; otherwise the platform's.
        consumed: it was an answer or a name, and no message.
        answered: the appliance itself says something to it.
    """

    decision: EventDecision
    stored: tuple[Stored, ...]
    message_id: str
    consumed: bool = False
    answered: bool = False


class Router:
    """Decides about events and carries it out."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        approvals: Approvals,
        words: HostWords,
        abilities: AbilitiesOf,
        access: Access,
        subscribe: Subscribe,
        fetch: Fetch,
    ) -> None:
        """Begin.

        Args:
            database: the central database.
            sessions: where messages go.
            approvals: who is asked about strangers, and what answers cards.
            words: the appliance's own messages.
            abilities: a channel's abilities by its name.
            access: what becomes of unknown chats.
            subscribe: has a channel send everything of a thread.
            fetch: has a message's files at hand.
        """
        self._database = database
        self._sessions = sessions
        self._approvals = approvals
        self._words = words
        self._abilities = abilities
        self._access = access
        self._subscribe = subscribe
        self._fetch = fetch
        self.refusal: Refusal = lambda _group_id, _group: None
        """Says why an agent takes nothing now."""
        self._drops = Drops(database)
        self._patterns = Patterns()
        # Its own threads: a flood of slow patterns must not keep others' work waiting.
        self._threads = ThreadPoolExecutor(_PATTERN_THREADS, thread_name_prefix="patterns")
        self._chats: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._places: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()
        self._recent: deque[tuple[frozenset[str], EventDecision]] = deque(maxlen=REMEMBERED)

    async def close(self) -> None:
        """Write down what was counted and end the threads that match patterns."""
        await self._drops.flush()
        self._threads.shutdown(wait=False)

    async def flush_drops(self) -> None:
        """Write the counts of dropped messages down now: somebody wants to read them."""
        await self._drops.flush()

    async def route(self, event: InboundEvent, *, replay: bool = False, first: First = _nothing_first) -> Routed:
        """Decide about an event and carry it out. Returns after the commits.

        An event told twice comes to the same rows (F-167), answers and questions.

        Args:
            event: what the channel tells.
            replay: it was kept while somebody was asked: it is a message, no answer, and nobody is asked again.
            first: called with the database's connection in the visit in which the event is judged, before that; what it
                raises is raised here.

        Raises:
            TooLarge: the text is over 256 KiB of UTF-8.
            InvalidName: a field of the event is of a wrong type.
            Unavailable: for one agent at least it could not be stored: to be told again.
        """
        event, notes = cleaned(event)
        wrong = unusable(event.address)
        if wrong is not None:
            log.warning("a message was ignored: %s", wrong, extra=about(channel=event.address.channel_type))
            return self._done(_ignored(event, wrong, notes))
        # One after the other in a chat: messages keep their order, and what follows a mention knows of it.
        place = (event.address.channel_type, event.address.platform_id)
        async with self._chats.setdefault(place, asyncio.Lock()):
            decision, facts = await self._settled(event, notes, first, replay=replay)
            # From here on the thread counts only where the channel has threads (F-122).
            event = replace(event, address=replace(event.address, thread_id=facts.thread_id))
            taken = await self._at_wirings(event, decision, facts)
        # Not within: who is asked and what an answer sets going may come back to this chat.
        try:
            if decision.action is Action.ROUTE:
                return await self._after_wirings(event, decision, facts, taken, replay=replay)
            return await self._without_wirings(event, decision, facts, replay=replay)
        except Exception as error:
            await self._fail(event, [error])
            return self._done(decision)

    async def explain(self, event: InboundEvent) -> EventDecision:
        """Tell what would become of an event, and change nothing.

        Raises:
            TooLarge: the text is over 256 KiB of UTF-8.
            InvalidName: a field of the event is of a wrong type.
        """
        event, notes = cleaned(event)
        wrong = unusable(event.address)
        if wrong is not None:
            return _ignored(event, wrong, notes)
        decision, facts = await self._decide(event, intercept=True)
        if decision.action is Action.REGISTER and facts.default_group is not None:
            chat, notes = decision.chat, (*notes, decision.deciding)
            abilities = self._abilities(event.address.channel_type)
            facts = await self._database.run(
                writes.rehearse, event, facts.default_group, abilities.threads, abilities.buttons, self._access
            )
            decision = replace(await self._judge(event, facts), chat=chat)
        return replace(decision, steps=(*notes, *decision.steps))

    def recent(self, message_id: str) -> list[EventDecision]:
        """Return what was decided about a message, newest first: by the platform's id or a row's. Without its text."""
        return [decision for known, decision in reversed(self._recent) if message_id in known]

    async def _settled(
        self, event: InboundEvent, notes: tuple[Step, ...], first: First, *, replay: bool
    ) -> tuple[EventDecision, Facts]:
        """Decide, and where that is to wire the chat to the default agent, do so and decide again."""
        decision, facts = await self._decide(event, intercept=not replay, first=first)
        if decision.action is Action.REGISTER and facts.default_group is not None:
            notes = (*notes, decision.deciding)
            with contextlib.suppress(NotFound):  # the agent was deleted in this moment: there is no default then
                await self._register(event, facts.default_group)
            decision, facts = await self._decide(event, intercept=False)
        return replace(decision, steps=(*notes, *decision.steps)), facts

    async def _decide(
        self, event: InboundEvent, *, intercept: bool, first: First = _nothing_first
    ) -> tuple[EventDecision, Facts]:
        abilities = self._abilities(event.address.channel_type)

        def look(connection: apsw.Connection) -> Facts:
            first(connection)
            return load(connection, event, abilities.threads, abilities.buttons, self._access, intercept)

        facts = await self._database.run(look)
        return await self._judge(event, facts), facts

    async def _judge(self, event: InboundEvent, facts: Facts) -> EventDecision:
        if takes_time(event, facts):
            loop = asyncio.get_running_loop()
            decision = await loop.run_in_executor(self._threads, decide, event, facts, self._patterns)
        else:
            decision = decide(event, facts, self._patterns)
        return spared(decision, self.refusal)

    async def _register(self, event: InboundEvent, folder: str) -> None:
        """Wire an unknown chat to the default agent."""
        threads = self._abilities(event.address.channel_type).threads
        group_id = await self._database.run(writes.register, event, folder, threads, self._access)
        await self._sessions.project_destinations(group_id)

    async def _without_wirings(
        self, event: InboundEvent, decision: EventDecision, facts: Facts, *, replay: bool
    ) -> Routed:
        """Carry out what was decided before any wiring was asked."""
        match decision.action:
            case Action.ANSWER:
                if decision.answer is not None:
                    await self._approvals.answer(event, decision.answer)
                return self._done(decision, consumed=True)
            case Action.NAME:
                if facts.name_for is not None:
                    await self._approvals.name_given(event, facts.name_for)
                return self._done(decision, consumed=True)
            case Action.REPLY:
                words_id = ids.words_id("ask", event.address, event.message_id)
                await self._words.post(words_id, event.address, decision.reply, event.message_id)
                return self._done(decision, consumed=True, answered=True)
            case Action.ASK | Action.DROP:
                chat = decision.chat
                if chat is None:
                    chat = await self._database.run(writes.unheard, event, self._access)
                self._drops.count(event, decision.reason)
                if decision.action is Action.ASK and not replay:
                    await self._approvals.chat_unknown(event, chat)
                return self._done(replace(decision, chat=chat))
            case _:
                return self._done(decision)

    async def _at_wirings(self, event: InboundEvent, decision: EventDecision, facts: Facts) -> "_Taken":
        """Carry out what each wiring decided: side by side, and no failure of one touches another (F-162…164)."""
        chat = decision.chat
        if chat is None or not decision.wirings:
            return _Taken()
        stored, answer, sticking = await asyncio.gather(
            self._store(event, chat, decision),
            self._answer(event, chat, decision, facts),
            self._stick(event, decision, facts),
            return_exceptions=True,
        )
        failures = [one for one in (stored, answer, sticking) if isinstance(one, BaseException)]
        taken = _Taken() if isinstance(stored, BaseException) else stored
        replied_to = None if isinstance(answer, BaseException) else answer
        return replace(taken, replied_to=replied_to, failures=(*taken.failures, *failures))

    async def _after_wirings(
        self, event: InboundEvent, decision: EventDecision, facts: Facts, taken: "_Taken", *, replay: bool
    ) -> Routed:
        """Have people asked about a stranger, tell of failures, and write down what else the event tells."""
        asks = [one for one in decision.wirings if one.action is Action.ASK and not replay]
        if decision.chat is not None:
            for one in asks:
                await self._approvals.sender_unknown(event, decision.chat, one.wiring, one.group)
        await self._fail(event, taken.failures)
        reason, agent_group_id = writes.drop_reason(decision.wirings)
        if reason:
            self._drops.count(event, reason, agent_group_id)
        news = writes.news(event, decision, facts.shown_name)
        if news is not None:
            await self._database.run(writes.note, event, decision, news)
        message_id = taken.answered_as or taken.replied_to
        return self._done(decision, taken.rows, message_id, answered=taken.replied_to is not None)

    async def _store(self, event: InboundEvent, chat: Chat, decision: EventDecision) -> "_Taken":
        """Put the message into the session of each agent that takes it, side by side."""
        taken = [one for one in decision.wirings if one.stores]
        if not taken:
            return _Taken()
        if not event.files:
            return await self._put(event, chat, taken, ())
        async with self._fetch(event) as files:
            return await self._put(event, chat, taken, files)

    async def _put(
        self, event: InboundEvent, chat: Chat, taken: Sequence[WiringDecision], files: tuple[Received, ...]
    ) -> "_Taken":
        sessions = await asyncio.gather(*(self._session(chat, one) for one in taken), return_exceptions=True)
        failures = [found for found in sessions if isinstance(found, BaseException)]
        letters = [
            (one, session, letter_of(event, chat, one, files))
            for one, session in zip(taken, sessions, strict=True)
            if not isinstance(session, BaseException)
        ]
        outcomes = await self._sessions.accept_all([(session, letter) for _, session, letter in letters])
        rows = []
        answered_as = None
        for (one, session, letter), outcome in zip(letters, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failures.append(outcome)
                continue
            rows.append(Stored(session, letter.id, outcome))
            if one.action is not Action.ACCUMULATE:
                answered_as = answered_as or letter.id
            log.debug(
                "message stored",
                extra=about(session=session.id, group=one.group, channel=event.address.channel_type, message=letter.id),
            )
        return _Taken(tuple(rows), answered_as, failures=tuple(failures))

    async def _session(self, chat: Chat, one: WiringDecision) -> Session:
        """Return a wiring's session; made, or found where an event of the same place has made it at the same time."""
        if one.session is not None:
            return one.session
        shared = one.session_mode == "agent-shared"
        chat_id = None if shared else chat.id
        async with self._places.setdefault((one.agent_group_id, chat_id or "", one.thread_id or ""), asyncio.Lock()):
            found: Session | None
            if chat_id is None:
                found = await self._database.run(session_rows.find_agent_shared, one.agent_group_id)
            else:
                found = await self._database.run(session_rows.find_active, one.agent_group_id, chat_id, one.thread_id)
            if found is not None:
                return found
            try:
                return await self._sessions.create(
                    one.agent_group_id, one.group, chat_id, one.thread_id, one.session_mode
                )
            except apsw.ConstraintError as error:
                raise NotFound("this chat or its agent was deleted in this moment", hint="ncl groups list") from error

    async def _answer(self, event: InboundEvent, chat: Chat, decision: EventDecision, facts: Facts) -> str | None:
        """Say what the appliance itself has to say: once for an event. Returns what it is a reply to."""
        spoken = [one for one in decision.wirings if one.action in {Action.REPLY, Action.STOP_TURN}]
        if not spoken:
            return None
        answer_id = ids.command_answer_id(chat.id, known_as(chat, event.message_id))
        reply_to = row_of(event, chat, spoken[0])
        if any(one.action is Action.STOP_TURN for one in spoken) and await self._database.run(said, answer_id):
            # Told again: the turn that runs now is another one.
            return reply_to
        texts = [one.reply for one in spoken if one.reply]
        asked = [one for one in spoken if not one.reply]
        if asked and asked[0].command is not None:
            stopped = await self._stop([one for one in asked if one.action is Action.STOP_TURN])
            heard = {one.wiring.id for one in asked}
            agents = [agent for agent in facts.agents if agent.wiring.id in heard]
            states = {
                one.session.id: command_replies.State(actor.snapshot, actor.pending_count)
                for one in asked
                if one.session is not None and (actor := self._sessions.living(one.session.id)) is not None
            }
            texts.append(command_replies.reply(asked[0].command, event, facts, agents, states, stopped=stopped))
        await self._words.post(answer_id, event.address, "\n\n".join(dict.fromkeys(texts)), reply_to)
        return reply_to

    async def _stop(self, ones: Sequence[WiringDecision]) -> list[str]:
        """End the running turns of agents; return whose there was."""
        sessions = [(one.group, one.session) for one in ones if one.session is not None]
        ended = await asyncio.gather(*(self._sessions.stop_turn(session) for _, session in sessions))
        return [group for (group, _), did in zip(sessions, ended, strict=True) if did]

    async def _stick(self, event: InboundEvent, decision: EventDecision, facts: Facts) -> None:
        """Remember that agents were mentioned in this thread; the first time, have the channel send all of it (F-177).

        In this order: a crash in between subscribes once more, which does nothing.
        """
        thread_id = event.address.thread_id
        new = [one.wiring.id for one in decision.wirings if one.makes_sticky]
        known = {agent.wiring.id for agent in facts.agents if agent.is_sticky}
        if thread_id is None or not set(new) - known:
            return
        if not known:
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await self._subscribe(event.address)
            except Exception as error:
                log.warning(
                    "the thread could not be subscribed to, so its messages may not come: %s",
                    error or type(error).__name__,
                    extra=about(channel=event.address.channel_type),
                )
        await self._database.run(writes.stick, new, thread_id)

    async def _fail(self, event: InboundEvent, failures: Sequence[BaseException]) -> None:
        """Have what can be told again told again; log and tell what was not foreseen."""
        unforeseen = [error for error in failures if not isinstance(error, (Unavailable, NotFound))]
        for error in unforeseen:
            if not isinstance(error, Exception):
                raise error
            log.error("routing a message failed", exc_info=error, extra=about(channel=event.address.channel_type))
        if unforeseen:
            words_id = ids.words_id("failed", event.address, event.message_id)
            await self._words.post(words_id, event.address, _SOMETHING_WRONG)
        for error in failures:
            if isinstance(error, Unavailable):
                raise error

    def _done(
        self,
        decision: EventDecision,
        stored: tuple[Stored, ...] = (),
        message_id: str | None = None,
        *,
        consumed: bool = False,
        answered: bool = False,
    ) -> Routed:
        """Remember a decision, without what was said, and return it."""
        message_id = message_id or decision.event.message_id
        known = frozenset((decision.event.message_id, message_id, *(row.message_id for row in stored)))
        self._recent.append((known, _without_text(decision)))
        return Routed(decision, stored, message_id, consumed, answered)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the wirings of an event have come to: rows, the first that an agent answers, and what went wrong."""

    rows: tuple[Stored, ...] = ()
    answered_as: str | None = None
    replied_to: str | None = None
    failures: tuple[BaseException, ...] = ()


def _ignored(event: InboundEvent, why: str, notes: tuple[Step, ...]) -> EventDecision:
    return EventDecision(event, None, Action.IGNORE, "", (*notes, Step("address", Outcome.STOP, why, "address")))


def _without_text(decision: EventDecision) -> EventDecision:
    wirings = tuple(
        one if one.command is None else replace(one, command=replace(one.command, arguments=""))
        for one in decision.wirings
    )
    return replace(decision, event=replace(decision.event, text="", quote=None, files=()), wirings=wirings)
