"""Keeps a call to what its agent may touch, and names every object by its full id: an approval is for exactly these."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import apsw

from nanoclawd.control.agent_calls.rules import RULES, Access, Kind, Rule
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.store import agent_groups, resolve, tasks, users
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.names import check_group_name
from nanoclawd.store.sessions import Session
from nanoclawd.store.tasks import Task

_LISTED: Final = "io.nanoclaw.Groups.List"
_ALL: Final = 10_000
_RESTART: Final = "io.nanoclaw.Groups.Restart"


@dataclass(frozen=True, slots=True)
class AgentCaller:
    """An agent that calls, with what it may at this moment."""

    agent_group_id: str
    group: str
    scope: str
    session_id: str

    @property
    def user_id(self) -> str:
        """What rows and the journal remember."""
        return f"agent:{self.group}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A call that its agent may make.

    Attributes:
        parameters: with the agent's own group filled in, and objects named by their ids.
        shown: what the objects are called by people, where that is known, by parameter.
        beyond: it concerns more than the agent's own group.
        only_own: of what the reply lists only the agent's own group is for it.
        restarts_self: it restarts the calling session.
    """

    method: str
    rule: Rule
    parameters: dict[str, Any]
    shown: Mapping[str, str]
    beyond: bool
    only_own: bool = False
    restarts_self: bool = False

    @property
    def needs_approval(self) -> bool:
        """Whether somebody is asked first."""
        return self.rule.access is Access.APPROVAL and not (self.rule.free_at_home and not self.beyond)


def caller_of(connection: apsw.Connection, agent_group_id: str, session_id: str) -> AgentCaller:
    """Read what an agent may now.

    Raises:
        NotFound: its group was deleted.
    """
    group = agent_groups.by_id(connection, agent_group_id)
    return AgentCaller(group.id, group.folder, group.cli_scope, session_id)


def judge(
    connection: apsw.Connection, caller: AgentCaller, method: str, given: dict[str, Any], *, allowed: bool = False
) -> Judged:
    """Decide whether an agent may make a call.

    In scope ``group`` an object of another group and one that does not exist are told apart by nothing, before somebody
    has allowed the call.

    Raises:
        Refused: it may not.
        NotFound: an object is not there, or not for this agent.
        InvalidName: a name means several, or must be given in full.
    """
    rule = RULES.get(method)
    if caller.scope == "disabled" and (rule is None or not rule.even_disabled):
        raise Refused("this agent may not use ncl: its cli_scope is disabled")
    if rule is None:
        raise Refused(f"{method[:80]} is for operators, not for agents")
    narrow = caller.scope != "global"
    if narrow:
        _check_narrow(rule, method, given)
    parameters, shown = dict(given), {}
    own = _own_group(connection, caller, rule, parameters, narrow=narrow)
    own = _own_objects(connection, caller, rule, parameters, narrow=narrow) and own
    for name, kind in rule.refers.items():
        if isinstance(text := parameters.get(name), str):
            found = _exact(connection, kind, text, allowed=allowed) if narrow else _found(connection, kind, text)
            parameters[name], shown[name] = found
    if method == _RESTART and not own:
        raise Refused("an agent restarts its own session only")
    only_own = narrow and method == _LISTED
    if only_own:
        parameters = {"limit": _ALL}
    beyond = rule.beyond or not own or bool(rule.raises_scope & parameters.keys())
    return Judged(method, rule, parameters, shown, beyond, only_own=only_own, restarts_self=method == _RESTART)


def _check_narrow(rule: Rule, method: str, given: Mapping[str, Any]) -> None:
    if not rule.in_group_scope:
        raise Refused(f"{method} reaches beyond this agent's group, which is all that its cli_scope allows")
    forbidden = sorted(rule.not_in_group_scope & given.keys())
    if forbidden:
        raise Refused(f"an agent with cli_scope group may not give {forbidden[0]}")


def _own_group(
    connection: apsw.Connection, caller: AgentCaller, rule: Rule, parameters: dict[str, Any], *, narrow: bool
) -> bool:
    """Fill in or check the group that a call is about; tell whether it is the agent's own."""
    if rule.group is None:
        return True
    text = parameters.get(rule.group)
    if text is None:
        # Global agents see everything that they don't narrow themselves; what they change is their own, if not named.
        if narrow or rule.access is Access.APPROVAL:
            parameters[rule.group] = caller.group
        return True
    if not isinstance(text, str):
        return True
    if text in (caller.group, caller.agent_group_id):
        parameters[rule.group] = caller.group
        return True
    if narrow:
        raise NotFound(f"there is no group {text[:60]!r}")
    parameters[rule.group] = resolve.group(connection, text).folder
    return bool(parameters[rule.group] == caller.group)


def _own_objects(
    connection: apsw.Connection, caller: AgentCaller, rule: Rule, parameters: dict[str, Any], *, narrow: bool
) -> bool:
    """Name the session and the task of a call by their ids; tell whether they are the agent's own."""
    own = True
    if rule.here and rule.session is not None and rule.group is not None and parameters[rule.group] == caller.group:
        parameters.setdefault(rule.session, caller.session_id)
    if rule.session is not None and isinstance(text := parameters.get(rule.session), str):
        session = _session(connection, caller, text, narrow=narrow)
        parameters[rule.session] = session.id
        own = session.agent_group_id == caller.agent_group_id
    if rule.task is not None and isinstance(text := parameters.get(rule.task), str):
        task = _task(connection, caller, text, narrow=narrow)
        parameters[rule.task] = task.id
        own = own and task.agent_group_id == caller.agent_group_id
    return own


def _session(connection: apsw.Connection, caller: AgentCaller, text: str, *, narrow: bool) -> Session:
    if not narrow:
        return resolve.session(connection, text)
    own = session_rows.of_group(connection, caller.agent_group_id)
    fitting = [one for one in own if text and one.id.startswith(text)]
    if not fitting:
        raise NotFound(f"there is no session {text[:60]!r}")
    if len(fitting) > 1:
        raise InvalidName(f"{text[:60]!r} can mean several sessions of this agent")
    return fitting[0]


def _task(connection: apsw.Connection, caller: AgentCaller, text: str, *, narrow: bool) -> Task:
    if not narrow:
        return resolve.task(connection, text)
    fitting = tasks.of_prefix(connection, caller.agent_group_id, text) if text else []
    if not fitting:
        raise NotFound(f"there is no task {text[:60]!r}")
    if len(fitting) > 1:
        raise InvalidName(f"{text[:60]!r} can mean several tasks of this agent")
    return fitting[0]


def _exact(connection: apsw.Connection, kind: Kind, text: str, *, allowed: bool) -> tuple[str, str]:
    """Return what an agent of scope ``group`` may name outside of it: only what can mean one thing, and needs no look.

    Whether it exists is not said before somebody has allowed the call.
    """
    if kind is Kind.USER:
        return users.check_id(text), ""
    if kind is Kind.GROUP:
        # By its folder only: a shown name or the beginning of an id may mean another one by the time it is allowed.
        return (agent_groups.by_folder(connection, text).folder if allowed else check_group_name(text)), ""
    if kind is Kind.CHAT and not (":" in text and text.isprintable()):
        raise InvalidName("a chat is named CHANNEL:PLATFORM-ID here, in full")
    return text, ""


def _found(connection: apsw.Connection, kind: Kind, text: str) -> tuple[str, str]:
    """Return an object's id, and what people call it."""
    return _FIND[kind](connection, text)


def _chat(connection: apsw.Connection, text: str) -> tuple[str, str]:
    found = resolve.chat(connection, text)
    return found.id, f"{found.channel_type}:{found.platform_id}" + (f" “{found.name}”" if found.name else "")


def _wiring(connection: apsw.Connection, text: str) -> tuple[str, str]:
    found = resolve.wiring(connection, text)
    return found.id, f"{found.channel_type}:{found.platform_id} and {found.group}"


def _user(connection: apsw.Connection, text: str) -> tuple[str, str]:
    try:
        found = resolve.user(connection, text)
    except NotFound:
        return users.check_id(text), "not known yet"
    return found.id, f"“{found.display_name}”" if found.display_name else ""


def _group(connection: apsw.Connection, text: str) -> tuple[str, str]:
    found: AgentGroup = resolve.group(connection, text)
    return found.folder, f"“{found.name}”" if found.name != found.folder else ""


_FIND: Final[Mapping[Kind, Callable[[apsw.Connection, str], tuple[str, str]]]] = {
    Kind.CHAT: _chat,
    Kind.WIRING: _wiring,
    Kind.USER: _user,
    Kind.GROUP: _group,
}
