"""What a person means by a text: an id, the unique beginning of one, or a name that says it as well.

Names of chats and people are chosen by strangers. So an id, folder or address comes first; a name never stands for
what has the form of an address or a user's id; and a name that is also the beginning of another's id is ambiguous.
Ids of users are never completed: ``telegram:12`` and ``telegram:123`` are two people.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import InvalidName, NotFound
from nanoclawd.store import agent_groups, approvals, chats, questions, sessions, tasks, users
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.approvals import Approval
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.questions import Question
from nanoclawd.store.sessions import Session
from nanoclawd.store.tasks import Task
from nanoclawd.store.users import User

_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of thing is found.

    Attributes:
        what: its name in sentences; with an s it is the command that lists them.
        prefix: what ids begin with and people may leave out; None where ids are not completed.
        keys: SQL for (key, id) of other texts that only one can have.
        names: SQL for (name, id) of texts that several can have.
    """

    what: str
    table: str
    prefix: str | None = ""
    id_column: str = "id"
    keys: str | None = None
    names: str | None = None


_CHAT = _Kind(
    "chat",
    "messaging_groups",
    prefix="mg-",
    keys="SELECT channel_type || ':' || platform_id, id FROM messaging_groups",
    names="SELECT platform_id, id FROM messaging_groups UNION ALL SELECT name, id FROM messaging_groups",
)
_GROUP = _Kind(
    "group",
    "agent_groups",
    prefix="ag-",
    keys="SELECT folder, id FROM agent_groups",
    names="SELECT name, id FROM agent_groups",
)
_USER = _Kind(
    "user",
    "users",
    prefix=None,
    names="SELECT display_name, id FROM users UNION ALL SELECT substr(id, instr(id, ':') + 1), id FROM users",
)
_WIRING = _Kind(
    "wiring",
    "messaging_group_agents",
    prefix="mga-",
    keys="SELECT m.channel_type || ':' || m.platform_id || '/' || g.folder, w.id FROM messaging_group_agents w"
    " JOIN messaging_groups m ON m.id = w.messaging_group_id JOIN agent_groups g ON g.id = w.agent_group_id",
    names="SELECT m.name || '/' || g.folder, w.id FROM messaging_group_agents w"
    " JOIN messaging_groups m ON m.id = w.messaging_group_id JOIN agent_groups g ON g.id = w.agent_group_id",
)
_SESSION = _Kind("session", "sessions")
_APPROVAL = _Kind("approval", "approvals")
_QUESTION = _Kind("question", "pending_questions", id_column="question_id")
_TASK = _Kind("task", "tasks")


def chat(connection: apsw.Connection, text: str) -> Chat:
    """Find a chat by id, the beginning of it, ``channel:platform id``, platform id or name.

    Raises:
        NotFound: none is meant; the hint names what is near.
        InvalidName: several are.
    """
    return chats.by_id(connection, _found(connection, _CHAT, text))


def group(connection: apsw.Connection, text: str) -> AgentGroup:
    """Find an agent group by folder, id, the beginning of it, or name.

    Raises:
        NotFound: none is meant; the hint names what is near.
        InvalidName: several are.
    """
    return agent_groups.by_id(connection, _found(connection, _GROUP, text))


def wiring(connection: apsw.Connection, text: str) -> Wiring:
    """Find a wiring by id, the beginning of it, ``channel:platform id/folder`` or ``chat's name/folder``.

    Raises:
        NotFound: none is meant; the hint names what is near.
        InvalidName: several are.
    """
    return chats.wiring_by_id(connection, _found(connection, _WIRING, text))


def user(connection: apsw.Connection, text: str) -> User:
    """Find a user by id, by its part after the colon, or by shown name.

    Raises:
        NotFound: none is meant; the hint names what is near.
        InvalidName: several are.
    """
    return users.by_id(connection, _found(connection, _USER, text))


def session(connection: apsw.Connection, text: str) -> Session:
    """Find a session by id or the beginning of it.

    Raises:
        NotFound: none is meant.
        InvalidName: several are.
    """
    return sessions.by_id(connection, _found(connection, _SESSION, text))


def approval(connection: apsw.Connection, text: str) -> Approval:
    """Find an approval, also a decided one, by id or the beginning of it.

    Raises:
        NotFound: none is meant.
        InvalidName: several are.
    """
    return approvals.by_id(connection, _found(connection, _APPROVAL, text))


def task(connection: apsw.Connection, text: str) -> Task:
    """Find a task, also one that has ended, by id or the beginning of it.

    Raises:
        NotFound: none is meant.
        InvalidName: several are.
    """
    return tasks.by_id(connection, _found(connection, _TASK, text))


def question(connection: apsw.Connection, text: str) -> Question:
    """Find a question by id or the beginning of it.

    Raises:
        NotFound: none is meant.
        InvalidName: several are.
    """
    return questions.by_id(connection, _found(connection, _QUESTION, text))


def _found(connection: apsw.Connection, kind: _Kind, text: str) -> str:
    # What UTF-8 can't say is no name of anything (SQLite would refuse it).
    sought = storable(text)
    keys = _pairs(connection, kind.keys)
    exact = connection.execute(f"SELECT {kind.id_column} FROM {kind.table} WHERE {kind.id_column} = ?", (sought,)).get
    if exact is not None:
        return str(exact)
    names = [(name, found) for name, found in _pairs(connection, kind.names) if ":" not in name]
    tiers = (
        {found for key, found in keys if key == sought},
        {found for name, found in names if name == sought} | _beginning_so(connection, kind, sought),
        {found for name, found in names if name.casefold() == sought.casefold()},
    )
    meant = next((tier for tier in tiers if tier), set())
    if not meant:
        raise NotFound(f"there is no {kind.what} {text[:60]!r}", hint=_hint(kind, sought, (*keys, *names)))
    if len(meant) > 1:
        shown = ", ".join(sorted(meant)[:5])
        raise InvalidName(f"{text[:60]!r} can mean several {kind.what}s: {shown}", hint=f"ncl {kind.what}s list")
    return meant.pop()


def _beginning_so(connection: apsw.Connection, kind: _Kind, text: str) -> set[str]:
    if kind.prefix is None or not text.removeprefix(kind.prefix):
        return set()
    begin = kind.prefix + text.removeprefix(kind.prefix)
    column = kind.id_column
    rows = connection.execute(
        f"SELECT {column} FROM {kind.table} WHERE {column} >= ? AND {column} < ? ORDER BY {column} LIMIT 5",
        (begin, begin + _LAST),
    )
    return {str(row[0]) for row in rows}


def _pairs(connection: apsw.Connection, sql: str | None) -> list[tuple[str, str]]:
    if sql is None:
        return []
    return [(str(name), str(found)) for name, found in connection.execute(sql) if name is not None]


def _hint(kind: _Kind, text: str, known: Iterable[tuple[str, str]]) -> str:
    """Say what is near, else which command lists them all."""
    plain = {name.casefold(): name for name, _ in known}
    near = difflib.get_close_matches(text.casefold()[:100], plain, n=3, cutoff=0.6)
    if not near:
        return f"ncl {kind.what}s list"
    return f"did you mean {' or '.join(plain[name] for name in near)}?"
