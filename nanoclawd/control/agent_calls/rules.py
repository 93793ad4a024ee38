"""Which methods an agent may call, and how each is kept to the agent's own group. What is not here is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from nanoclaw_runner.contract.cards import Option
from nanoclawd.control.egress import ALWAYS, ONCE


class Access(StrEnum):
    """What a call costs."""

    OPEN = "open"
    """It reads; it is answered at once."""
    APPROVAL = "approval"
    """It changes something; somebody with the right to it is asked first."""


class Kind(StrEnum):
    """What a parameter names."""

    CHAT = "chat"
    WIRING = "wiring"
    USER = "user"
    GROUP = "group"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Rule:
    """How an agent may call one method.

    Attributes:
        effect: what an approver reads: what happens if it is allowed.
        group: the parameter that names the group which the call is about; filled in with the agent's own.
        session: the parameter that names a session.
        refers: other parameters that name objects, and what each names.
        in_group_scope: agents with scope ``group`` may call it, too.
        task: the parameter that names a task.
        beyond: its effect always reaches beyond the agent's own group.
        not_in_group_scope: parameters that scope ``group`` must leave out.
        raises_scope: parameters by which an agent would give itself more; their effect reaches beyond the group.
        free_at_home: what changes the agent's own group is done at once; what reaches beyond it needs somebody's word.
        even_disabled: agents without ncl may call it, too, as those of scope ``group`` may.
        here: where it names no session, it is about the one that calls.
        offers: what can be chosen in place of a mere yes.
        renews: where it has been done the session that asked is restarted, and its next container told this. Doing it
            again does no harm.
    """

    access: Access
    effect: str = ""
    group: str | None = None
    session: str | None = None
    refers: Mapping[str, Kind] = field(default_factory=lambda: MappingProxyType({}))
    in_group_scope: bool = False
    beyond: bool = False
    not_in_group_scope: frozenset[str] = frozenset()
    raises_scope: frozenset[str] = frozenset()
    task: str | None = None
    free_at_home: bool = False
    even_disabled: bool = False
    here: bool = False
    renews: str = ""
    offers: tuple[Option, ...] = ()


_OPEN: Final = Rule(Access.OPEN)
_NOTHING: Final[Mapping[str, Kind]] = MappingProxyType({})


def _own(access: Access, effect: str = "", *, group: str | None = None, session: str | None = None) -> Rule:
    """Return the rule of a method that concerns one group, and the agent's own in scope ``group``."""
    return Rule(access, effect, group, session, in_group_scope=True)


def _beyond(effect: str, refers: Mapping[str, Kind] = _NOTHING, *, group: str | None = None) -> Rule:
    """Return the rule of a method with an effect beyond any one group, which scope ``group`` has not."""
    return Rule(Access.APPROVAL, effect, group, refers=refers, beyond=True)


def _task(access: Access, effect: str = "", *, group: str | None = None, task: str | None = None) -> Rule:
    """Return the rule of a method of tasks: what an agent does at a time is its own affair, within the bounds."""
    return Rule(
        access,
        effect,
        group,
        in_group_scope=True,
        task=task,
        free_at_home=access is Access.APPROVAL,
        even_disabled=True,
    )


_TARGETS: Final = MappingProxyType({"chat": Kind.CHAT, "agent": Kind.GROUP})
_USER: Final = MappingProxyType({"user": Kind.USER})
_CHAT: Final = MappingProxyType({"chat": Kind.CHAT})
_WIRING: Final = MappingProxyType({"wiring": Kind.WIRING})
_ROLE: Final = MappingProxyType({"user": Kind.USER, "group": Kind.GROUP})

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        f"io.nanoclaw.{name}": rule
        for name, rule in {
            "Appliance.Status": _OPEN,
            "Groups.List": _own(Access.OPEN),
            "Groups.Get": _own(Access.OPEN, group="name"),
            "Groups.Create": _beyond("Another agent is made."),
            "Groups.Update": Rule(
                Access.APPROVAL,
                "The agent's own settings change; its running sessions take them over when they are restarted.",
                "name",
                in_group_scope=True,
                not_in_group_scope=frozenset({"cli_scope"}),
                raises_scope=frozenset({"cli_scope", "daily_tokens", "daily_cost"}),
            ),
            "Groups.Delete": _beyond("An agent is deleted, with its conversations and its workspace.", group="name"),
            "Groups.Restart": _own(Access.APPROVAL, "The session that asks is restarted, and no other.", group="name"),
            "Sessions.List": _own(Access.OPEN, group="group"),
            "Sessions.Get": _own(Access.OPEN, session="id"),
            "Sessions.Stop": _own(Access.APPROVAL, "A session's container is ended.", session="id"),
            "Sessions.Close": _own(Access.APPROVAL, "A session is ended for good.", session="id"),
            "Sessions.Reset": _own(Access.APPROVAL, "A session is released from quarantine.", session="id"),
            "Images.List": _OPEN,
            "Packages.List": _own(Access.OPEN, group="group"),
            "Packages.Add": _own(
                Access.APPROVAL, "Packages are noted for the next build of the agent's image.", group="group"
            ),
            "Packages.Remove": _own(
                Access.APPROVAL, "Packages are left out of the next build of the agent's image.", group="group"
            ),
            "Packages.Install": replace(
                _own(
                    Access.APPROVAL,
                    "The agent's own image is built anew with exactly these packages more and what they depend on, from"
                    " the sources that the appliance is set to. The session that asks is restarted, and no other.",
                    group="group",
                ),
                renews="You run in the new image now. Verify that what you asked for works, and report.",
            ),
            "Mcp.List": _own(Access.OPEN, group="group"),
            "Mcp.Add": _own(
                Access.APPROVAL, "The agent's sessions have this MCP server from their next start on.", group="group"
            ),
            "Mcp.Remove": _own(Access.APPROVAL, "The agent's sessions lose an MCP server.", group="group"),
            "Mcp.Install": replace(
                _own(
                    Access.APPROVAL,
                    "The agent's sessions have this MCP server from their next start on, in place of one that has its"
                    " name. A command is run in the agent's container. Only the session that asks is restarted.",
                    group="group",
                ),
                renews="You have the MCP server now. Verify that its tools work, and report.",
            ),
            "Skills.List": _own(Access.OPEN, group="group"),
            "Mounts.List": _own(Access.OPEN, group="group"),
            "Chats.List": _OPEN,
            "Chats.Get": _OPEN,
            "Chats.Create": _beyond("A chat is made known."),
            "Chats.Update": _beyond("A chat's settings change: who may write there without being known.", _CHAT),
            "Chats.Delete": _beyond("A chat is deleted, with all its wirings.", _CHAT),
            "Chats.Undeny": _beyond("Somebody is asked again to connect a chat that was refused.", _CHAT),
            "Wirings.List": _OPEN,
            "Wirings.Get": _OPEN,
            "Wirings.Create": _beyond("An agent hears a chat from then on, and may write to it.", _CHAT, group="group"),
            "Wirings.Update": _beyond("What an agent hears of a chat changes.", _WIRING),
            "Wirings.Delete": _beyond("An agent hears a chat no more.", _WIRING),
            "Users.List": _OPEN,
            "Users.Get": _OPEN,
            "Users.Dms": _OPEN,
            "Users.Create": _beyond("A person is made known."),
            "Users.Update": _beyond("A person's shown name changes.", _USER),
            "Users.Delete": _beyond("A person is deleted, with all roles and memberships.", _USER),
            "Users.Undeny": _beyond("A person who was refused for good may be asked about again.", _ROLE),
            "Roles.List": _OPEN,
            "Roles.Grant": _beyond("A person gets a role: the right to command agents and to decide.", _ROLE),
            "Roles.Revoke": _beyond("A person loses a role.", _ROLE),
            "Members.List": Rule(
                Access.OPEN, group="group", in_group_scope=True, not_in_group_scope=frozenset({"user"}), refers=_USER
            ),
            "Members.Add": Rule(
                Access.APPROVAL, "A person may talk to the agent.", "group", refers=_USER, in_group_scope=True
            ),
            "Members.Remove": Rule(
                Access.APPROVAL, "A person may talk to the agent no more.", "group", refers=_USER, in_group_scope=True
            ),
            "Destinations.List": _own(Access.OPEN, group="group"),
            "Destinations.Add": Rule(
                Access.APPROVAL,
                "The agent may write to another chat or agent.",
                "group",
                refers=_TARGETS,
                in_group_scope=True,
                beyond=True,
            ),
            "Destinations.Remove": _own(
                Access.APPROVAL, "The agent may not write there any more, by its own wish.", group="group"
            ),
            "Approvals.List": _OPEN,
            "Approvals.Get": _OPEN,
            "Questions.List": _OPEN,
            "Questions.Get": _OPEN,
            "Channels.List": _OPEN,
            "Channels.Conversations": _OPEN,
            "Routing.Explain": _OPEN,
            "Routing.ExplainMessage": _OPEN,
            "Routing.Dropped": _OPEN,
            # Where its own group may go; allowing is the owner's.
            "Egress.List": _own(Access.OPEN, group="group"),
            "Egress.Test": _own(Access.OPEN, group="group"),
            "Egress.Request": replace(
                _own(
                    Access.APPROVAL,
                    "The agent may reach this host for as long as you choose, and send it whatever it can read.",
                    group="group",
                ),
                offers=(
                    Option("Allow once (10 minutes)", ONCE, "Allowed for ten minutes"),
                    Option("Allow for an hour", "1h", "Allowed for an hour"),
                    Option("Allow always", ALWAYS, "Allowed always"),
                ),
            ),
            # What its own requests are given at the door; never a value, and binding is the owner's.
            "Secrets.List": _own(Access.OPEN, group="group"),
            "Usage.List": _own(Access.OPEN, group="group", session="session"),
            "Peers.List": _own(Access.OPEN, group="group"),
            # An agent that writes to it has its tools and uses up its limits: asked of who decides about all (W-26).
            "Peers.Create": Rule(
                Access.APPROVAL,
                "Another agent is made, with exactly these instructions. The two can write to each other.",
                "group",
                in_group_scope=True,
                beyond=True,
            ),
            "Tasks.List": _task(Access.OPEN, group="group"),
            "Tasks.Get": _task(Access.OPEN, task="task"),
            "Tasks.Create": Rule(
                Access.APPROVAL,
                "An agent does something at a time.",
                "group",
                "session",
                refers=_CHAT,
                in_group_scope=True,
                free_at_home=True,
                even_disabled=True,
                here=True,
            ),
            "Tasks.Update": _task(Access.APPROVAL, "What an agent does at a time changes.", task="task"),
            "Tasks.Pause": _task(Access.APPROVAL, "A task waits until it is resumed.", task="task"),
            "Tasks.Resume": _task(Access.APPROVAL, "A task runs again.", task="task"),
            "Tasks.Cancel": _task(Access.APPROVAL, "A task never runs again.", task="task"),
            "Tasks.Run": _task(Access.APPROVAL, "A task runs once more, now.", task="task"),
            "Tasks.Runs": _task(Access.OPEN, task="task"),
        }.items()
    }
)
"""Not here, and so refused to every agent: deciding approvals and answering questions (an agent would allow itself),
claiming ownership, building images, letting agents out to other hosts, binding secrets, giving directories of the
machine, hooks and their secrets, the operator's chat, and accounts on chat platforms but for their names and states:
what failed there may be anybody's words."""
