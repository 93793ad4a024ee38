"""Wirings as people make them: what is left out gets a sensible value, what can't work is refused at once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import apsw

from nanoclawd.errors import InvalidName
from nanoclawd.routing.engage import ALWAYS, check_pattern
from nanoclawd.routing.ports import AbilitiesOf
from nanoclawd.store import chats
from nanoclawd.store.chats import Wiring
from nanoclawd.store.database import Database

SESSION_MODES = ("shared", "per-thread", "agent-shared")
ENGAGE_MODES = ("pattern", "mention", "mention-sticky")
SENDER_SCOPES = ("all", "known")
IGNORED_MESSAGE_POLICIES = ("drop", "accumulate")
MAX_PRIORITY = 1_000_000


@dataclass(frozen=True, slots=True)
class WiringRules:
    """When an agent hears a chat, whom, and in which session. None is what a person has left out."""

    session_mode: str | None = None
    priority: int | None = None
    engage_mode: str | None = None
    engage_pattern: str | None = None
    sender_scope: str | None = None
    ignored_message_policy: str | None = None


def default_wiring(*, is_group: bool, threads: bool, registration: bool = False) -> WiringRules:
    """Return how a new wiring hears its chat, whoever makes it (F-178…180).

    A chat of two is heard whole; in a group the agent is spoken to, and where threads are conversations it stays in
    the one it was called into. ``is_group`` decides, never a thread (W-20).

    Args:
        is_group: several people can write there.
        threads: the channel's threads are conversations.
        registration: the chat was connected by an approval: only people who are known to the agent are heard, and what
            is said around them is context.
    """
    scope, policy = ("known", "accumulate") if registration else ("all", "drop")
    if not is_group:
        return WiringRules("shared", 0, "pattern", ALWAYS, scope, policy)
    return WiringRules("shared", 0, "mention-sticky" if threads else "mention", None, scope, policy)


def wire(connection: apsw.Connection, chat_id: str, agent_group_id: str, rules: WiringRules) -> Wiring:
    """Wire a chat to an agent by complete rules, in the caller's transaction if there is one.

    Raises:
        InvalidName: a rule can't be.
        AlreadyExists: they are wired already.
        NotFound: one of the two doesn't exist.
    """
    _check(rules)
    return chats.wire(
        connection,
        chat_id,
        agent_group_id,
        session_mode=rules.session_mode or "shared",
        priority=rules.priority or 0,
        engage_mode=rules.engage_mode or "mention",
        engage_pattern=rules.engage_pattern,
        sender_scope=rules.sender_scope or "all",
        ignored_message_policy=rules.ignored_message_policy or "drop",
    )


class WiringService:
    """Creates, changes and ends wirings, and has the agent's sessions know whom it may write to."""

    def __init__(self, database: Database, abilities: AbilitiesOf, project: Callable[[str], Awaitable[object]]) -> None:
        """Begin.

        Args:
            database: the central database.
            abilities: what a channel can.
            project: has the sessions of an agent group (by id) get its destinations.
        """
        self._database = database
        self._abilities = abilities
        self._project = project

    async def create(self, chat_id: str, agent_group_id: str, rules: WiringRules) -> Wiring:
        """Wire a chat to an agent; what ``rules`` leaves out is as :func:`default_wiring` says.

        Raises:
            InvalidName: a rule can't be.
            AlreadyExists: they are wired already.
            NotFound: one of the two doesn't exist.
        """
        chat = await self._database.run(chats.by_id, chat_id)
        threads = self._abilities(chat.channel_type).threads
        filled = _filled(rules, default_wiring(is_group=chat.is_group, threads=threads))
        wiring = await self._database.run(wire, chat_id, agent_group_id, filled)
        await self._project(agent_group_id)
        return wiring

    async def update(self, wiring_id: str, rules: WiringRules) -> Wiring:
        """Change what ``rules`` names.

        Raises:
            InvalidName: a rule can't be.
            NotFound: there is no such wiring.
        """
        return await self._database.run(_update, wiring_id, rules)

    async def delete(self, wiring_id: str) -> Wiring:
        """End a wiring and return what it was.

        Raises:
            NotFound: there is no such wiring.
        """
        wiring = await self._database.run(_delete, wiring_id)
        await self._project(wiring.agent_group_id)
        return wiring


def _update(connection: apsw.Connection, wiring_id: str, rules: WiringRules) -> Wiring:
    found = chats.wiring_by_id(connection, wiring_id)
    before = WiringRules(
        found.session_mode,
        found.priority,
        found.engage_mode,
        found.engage_pattern,
        found.sender_scope,
        found.ignored_message_policy,
    )
    new = _filled(rules, before)
    _check(new)
    changed = replace(
        found,
        session_mode=new.session_mode or found.session_mode,
        priority=found.priority if new.priority is None else new.priority,
        engage_mode=new.engage_mode or found.engage_mode,
        engage_pattern=new.engage_pattern,
        sender_scope=new.sender_scope or found.sender_scope,
        ignored_message_policy=new.ignored_message_policy or found.ignored_message_policy,
    )
    return chats.update_wiring(connection, changed)


def _delete(connection: apsw.Connection, wiring_id: str) -> Wiring:
    wiring = chats.wiring_by_id(connection, wiring_id)
    chats.unwire(connection, wiring_id)
    return wiring


def _filled(rules: WiringRules, base: WiringRules) -> WiringRules:
    """Return rules in which what is left out is taken from others. A pattern alone means the mode of patterns."""
    mode = rules.engage_mode or ("pattern" if rules.engage_pattern is not None else base.engage_mode)
    pattern = rules.engage_pattern
    if pattern is None and mode == "pattern" and base.engage_mode == "pattern":
        pattern = base.engage_pattern
    return WiringRules(
        rules.session_mode or base.session_mode,
        base.priority if rules.priority is None else rules.priority,
        mode,
        pattern,
        rules.sender_scope or base.sender_scope,
        rules.ignored_message_policy or base.ignored_message_policy,
    )


def _check(rules: WiringRules) -> None:
    for name, value, allowed in (
        ("session_mode", rules.session_mode, SESSION_MODES),
        ("engage_mode", rules.engage_mode, ENGAGE_MODES),
        ("sender_scope", rules.sender_scope, SENDER_SCOPES),
        ("ignored_message_policy", rules.ignored_message_policy, IGNORED_MESSAGE_POLICIES),
    ):
        if value is not None and value not in allowed:
            raise InvalidName(f"{name} is one of {', '.join(allowed)}, not {value[:40]!r}")
    if rules.priority is not None and abs(rules.priority) > MAX_PRIORITY:
        raise InvalidName(f"priority is between -{MAX_PRIORITY} and {MAX_PRIORITY}")
    if rules.engage_mode == "pattern":
        if rules.engage_pattern is None:
            raise InvalidName(f"engage_mode pattern needs an engage_pattern; '{ALWAYS}' engages on everything")
        check_pattern(rules.engage_pattern)
    elif rules.engage_pattern is not None:
        raise InvalidName(f"an engage_pattern goes with engage_mode pattern, not with {rules.engage_mode}")
